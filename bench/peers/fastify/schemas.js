// What goes in, checked by Ajv, and what comes out, for which fast-json-stringify makes functions.

const ID_MAX = Number.MAX_SAFE_INTEGER;
const integer = { type: "integer" };
const string = { type: "string" };
const optional = { type: "string", nullable: true };
const object = (properties) => ({ type: "object", properties });
const pageOf = (items, next) => object({ items: { type: "array", items }, next });
const nextId = { type: "integer", nullable: true };
// Its length in code points, and no NUL.
const text = (minLength, maxLength) => ({
  type: "string",
  minLength,
  maxLength,
  pattern: "^[^\\u0000]*$",
});

export const user = object({
  id: integer,
  username: string,
  first_name: string,
  last_name: string,
  birthdate: optional,
  bio: optional,
  city: optional,
  country: optional,
});
const post = object({
  id: integer,
  author_id: integer,
  content: string,
  privacy: string,
  created_at: string,
  updated_at: string,
});
export const message = object({
  id: integer,
  from_user_id: integer,
  to_user_id: integer,
  content: string,
  client_id: optional,
  created_at: string,
  read: { type: "boolean" },
});
export const userPage = pageOf(user, nextId);
export const postPage = pageOf(post, optional);
export const messagePage = pageOf(message, nextId);
export const tokens = object({
  access_token: string,
  refresh_token: string,
  token_type: string,
  expires_in: integer,
});

const limit = { type: "integer", minimum: 1, maximum: 100, default: 20 };
const after = { type: "integer", minimum: 0, maximum: ID_MAX };
export const userId = object({ id: { type: "integer", minimum: 1, maximum: 2 ** 31 - 1 } });
export const search = object({
  first_name: { ...text(0, 64), default: "" },
  last_name: { ...text(0, 64), default: "" },
  after: { ...after, default: 0 },
  limit,
});
export const feed = object({
  before: { type: "string", pattern: "^[1-9][0-9]{0,15}(-[0-9]{1,9})?$" },
  limit,
});
export const messages = object({
  before: { type: "integer", minimum: 1, maximum: ID_MAX },
  after,
  limit,
});
export const messageNew = {
  ...object({ content: text(1, 4096), client_id: { ...text(1, 64), nullable: true } }),
  required: ["content"],
  additionalProperties: false,
};
export const login = {
  ...object({ username: string, password: string }),
  required: ["username", "password"],
};
