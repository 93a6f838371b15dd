// The API as a good Node engineer would write it: Fastify and pg, on the same database and with the
// same statements, read from sql/postgres/queries, answering the same bytes.
//
// Only what bench/compare.py asks for is here. Run from the root of the repository; read from the
// environment: DATABASE_URL, HLFAST_SECRET, HLFAST_HTTP_PORT and, where set,
// HLFAST_DATABASE_POOL_SIZE, HLFAST_REVOCATION_CHECK_S, HLFAST_ACCESS_TOKEN_S,
// HLFAST_REFRESH_TOKEN_S, HLFAST_FEED_POSTS_MAX.

import { randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import formbody from "@fastify/formbody";
import { verify } from "@node-rs/argon2";
import Ajv from "ajv";
import Fastify from "fastify";
import { Authenticator, Refused } from "./auth.js";
import { Database } from "./database.js";
import * as schemas from "./schemas.js";
import { prefixEnd, searchKey } from "./search.js";

const ID_MAX = Number.MAX_SAFE_INTEGER;
const USER_ID_MAX = 2 ** 31 - 1;
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const accessLifeS = number("HLFAST_ACCESS_TOKEN_S", 900);
const refreshLifeS = number("HLFAST_REFRESH_TOKEN_S", 30 * 86400);
const feedPostsMax = number("HLFAST_FEED_POSTS_MAX", 1000);

const database = new Database(process.env.DATABASE_URL, number("HLFAST_DATABASE_POOL_SIZE", 8));
const auth = new Authenticator(
  process.env.HLFAST_SECRET,
  async (id) => (await database.query("user_account_status", [[id]]))[0],
  number("HLFAST_REVOCATION_CHECK_S", 20),
);

const processId = randomBytes(8).toString("hex");
let requests = 0;
const app = Fastify({
  bodyLimit: 65536,
  requestIdHeader: false,
  genReqId: (request) => {
    const own = request.headers["x-request-id"];
    if (own !== undefined && /^[A-Za-z0-9._-]{1,128}$/.test(own)) return own;
    return `${processId}-${(++requests).toString(16)}`;
  },
});
app.register(formbody);

// What is in a query string is text; JSON has types of its own, which are not bent.
const ofText = new Ajv({ coerceTypes: true, useDefaults: true });
const ofJson = new Ajv();
app.setValidatorCompiler(({ schema, httpPart }) =>
  (httpPart === "body" ? ofJson : ofText).compile(schema),
);

app.addHook("onRequest", (request, reply, done) => {
  reply.header("x-request-id", request.id);
  done();
});
app.decorateRequest("me", 0);
const me = async (request) => {
  request.me = await auth.userId(request.headers.authorization);
};

app.setErrorHandler((error, request, reply) => {
  let { statusCode: status = 503, message: detail } = error;
  let errors;
  if (error.validation) {
    status = error.validationContext === "params" ? 404 : 422;
    errors = error.validation.map((one) => ({
      loc: [error.validationContext, ...one.instancePath.split("/").slice(1)],
      msg: one.message,
      type: one.keyword,
    }));
  } else if (status >= 500) {
    console.error(error);
    detail = "Not now.";
    reply.header("retry-after", "1");
  }
  if (status === 401) reply.header("www-authenticate", "Bearer");
  problem(request, reply, status, detail, errors);
});
app.setNotFoundHandler((request, reply) => problem(request, reply, 404, "There is nothing here."));

function problem(request, reply, status, detail, errors) {
  const body = {
    type: "about:blank",
    title: STATUS_CODES[status],
    status,
    detail,
    instance: request.url.split("?", 1)[0],
    request_id: request.id,
  };
  reply
    .code(status)
    .header("cache-control", "no-store")
    .type("application/problem+json")
    .serializer(JSON.stringify)
    .send(errors === undefined ? body : { ...body, errors });
}

function answer(reply, body) {
  reply.header("cache-control", "no-store").type("application/json");
  return body;
}

// The last id leads on if the page was filled.
const page = (items, limit) => ({
  items,
  next: items.length === limit ? items[items.length - 1].id : null,
});

app.get(
  "/api/v1/users/search",
  { schema: { querystring: schemas.search, response: { 200: schemas.userPage } } },
  async (request, reply) => {
    const { after, limit } = request.query;
    const first = searchKey(request.query.first_name);
    const last = searchKey(request.query.last_name);
    if (!first && !last) throw new Refused(422, "One of the names must not be empty.");
    let statement = "user_search_first";
    let [lead, other] = [first, last];
    if (!first) {
      [statement, lead, other] = ["user_search_last", last, first];
    } else if (last) {
      // The longer prefix is likely the rarer one, counted in code points.
      const byFirst = [...first].length > [...last].length;
      statement = byFirst ? "user_search_first_then_last" : "user_search_last_then_first";
      if (!byFirst) [lead, other] = [last, first];
    }
    const values = [lead, prefixEnd(lead), after, limit];
    if (other) values.push(other, prefixEnd(other));
    return answer(reply, page(await database.query(statement, values), limit));
  },
);

app.get(
  "/api/v1/users/:id",
  { schema: { params: schemas.userId, response: { 200: schemas.user } } },
  async (request, reply) => {
    const { id } = request.params;
    const user = await existing(id);
    const etag = `"${id}-${user.version}"`;
    reply.header("etag", etag).header("cache-control", "private, no-cache");
    const wanted = request.headers["if-none-match"];
    if (wanted !== undefined && matches(wanted, etag)) return reply.code(304).send();
    reply.type("application/json");
    return user;
  },
);

const matches = (wanted, etag) =>
  wanted.split(",").some((one) => [etag, "*"].includes(one.trim().replace(/^W\//, "")));

async function existing(id) {
  const [user] = id > USER_ID_MAX ? [] : await database.query("user_by_ids", [[id]]);
  if (user === undefined) throw new Refused(404, "There is no such user.");
  return user;
}

app.get(
  "/api/v1/feed",
  { onRequest: me, schema: { querystring: schemas.feed, response: { 200: schemas.postPage } } },
  async (request, reply) => {
    const { before, limit } = request.query;
    const [id, soFar = 0] = before === undefined ? [ID_MAX] : before.split("-").map(Number);
    const wanted = Math.min(limit, feedPostsMax - soFar);
    const items = wanted > 0 ? await database.query("post_feed", [request.me, id, wanted]) : [];
    const seen = soFar + items.length;
    const more = items.length === limit && seen < feedPostsMax;
    return answer(reply, { items, next: more ? `${items[items.length - 1].id}-${seen}` : null });
  },
);

// The pair with its bits mixed, as hlfast/dialogs/dialog_ids.py has it.
function dialogId(one, other) {
  let id = (BigInt(Math.min(one, other)) << 31n) | BigInt(Math.max(one, other));
  id = BigInt.asUintN(62, (id ^ (id >> 31n)) * 0x3f58476d1ce4e5b9n);
  id = BigInt.asUintN(62, (id ^ (id >> 31n)) * 0x14d049bb133111ebn);
  // More than a double holds exactly: it goes to PostgreSQL as text.
  return String(id ^ (id >> 31n));
}

function pair(request) {
  const other = request.params.id;
  if (other === request.me) throw new Refused(422, "Nobody has a dialog with themselves.");
  return other;
}

app.get(
  "/api/v1/dialogs/:id/messages",
  {
    onRequest: me,
    schema: {
      params: schemas.userId,
      querystring: schemas.messages,
      response: { 200: schemas.messagePage },
    },
  },
  async (request, reply) => {
    const other = pair(request);
    const { before, after, limit } = request.query;
    if (before !== undefined && after !== undefined) {
      throw new Refused(422, "before and after exclude each other");
    }
    const [statement, from] =
      after === undefined ? ["dialog_page_before", before ?? ID_MAX] : ["dialog_page_after", after];
    const items = await database.query(statement, [dialogId(request.me, other), from, limit]);
    if (items.length === 0) await existing(other);
    for (const one of items) one.to_user_id = one.from_user_id === request.me ? other : request.me;
    return answer(reply, page(items, limit));
  },
);

app.post(
  "/api/v1/dialogs/:id/messages",
  {
    onRequest: me,
    schema: {
      params: schemas.userId,
      body: schemas.messageNew,
      response: { "2xx": schemas.message },
    },
  },
  async (request, reply) => {
    const other = pair(request);
    const { content, client_id = null } = request.body;
    const values = [dialogId(request.me, other), request.me, other, content, client_id, false];
    let [message] = await database.query("dialog_send", values);
    if (message.outcome === "absent") {
      await existing(other);
      values[5] = true;
      [message] = await database.query("dialog_send", values);
    }
    message.to_user_id = message.from_user_id === request.me ? other : request.me;
    reply.code(message.outcome === "sent" ? 201 : 200);
    return answer(reply, message);
  },
);

app.post(
  "/api/v1/login",
  { schema: { body: schemas.login, response: { 200: schemas.tokens } } },
  async (request, reply) => {
    const { username, password } = request.body;
    const [user] = await database.query("user_credentials", [username.toLowerCase()]);
    if (user === undefined || user.disabled || !(await verify(user.password_hash, password))) {
      throw new Refused(401, "The name or the password is wrong.");
    }
    return answer(reply, {
      access_token: auth.sign("access", user, accessLifeS),
      refresh_token: auth.sign("refresh", user, refreshLifeS),
      token_type: "bearer",
      expires_in: accessLifeS,
    });
  },
);

await database.connect();
await app.listen({ host: "127.0.0.1", port: number("HLFAST_HTTP_PORT") });
