import { createSigner, createVerifier } from "fast-jwt";

const REMEMBERED_MAX = 65536;

// An answer that is no success, from anywhere in a handler.
export class Refused extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

const unauthenticated = () => new Refused(401, "A good bearer token is needed.");

// A Map keeps the order of its keys: the oldest makes room.
function keep(known, key, value) {
  if (known.size >= REMEMBERED_MAX) known.delete(known.keys().next().value);
  known.set(key, value);
}

// Remembers verified tokens until they expire, and users' standings for `checkS` seconds.
export class Authenticator {
  #callers = new Map();
  #standings = new Map();
  #verify;
  #sign;
  #lookUp;
  #checkMs;

  constructor(secret, lookUp, checkS) {
    this.#verify = createVerifier({
      key: secret,
      algorithms: ["HS256"],
      requiredClaims: ["exp", "sub", "ver", "typ"],
    });
    this.#sign = createSigner({ key: secret, algorithm: "HS256" });
    this.#lookUp = lookUp;
    this.#checkMs = checkS * 1000;
  }

  // Who calls, from an Authorization header.
  async userId(authorization) {
    if (authorization === undefined) throw unauthenticated();
    const now = Date.now();
    let caller = this.#callers.get(authorization);
    if (caller === undefined || caller.exp * 1000 <= now) {
      caller = this.#claims(authorization);
      keep(this.#callers, authorization, caller);
    }
    let standing = this.#standings.get(caller.id);
    if (standing === undefined || standing.until < now || standing.version !== caller.ver) {
      const user = await this.#lookUp(caller.id);
      if (user === undefined) throw unauthenticated();
      standing = {
        version: user.token_version,
        disabled: user.disabled,
        until: now + this.#checkMs,
      };
      keep(this.#standings, caller.id, standing);
    }
    if (standing.disabled || standing.version !== caller.ver) throw unauthenticated();
    return caller.id;
  }

  #claims(authorization) {
    const [scheme, token] = authorization.split(" ", 2);
    let claims;
    try {
      claims = this.#verify(token);
    } catch {
      throw unauthenticated();
    }
    const id = Number(claims.sub);
    if (scheme.toLowerCase() !== "bearer" || claims.typ !== "access" || !(id > 0 && id < 2 ** 31)) {
      throw unauthenticated();
    }
    return { id, ver: claims.ver, exp: claims.exp };
  }

  // A token of kind `access` or `refresh`.
  sign(kind, user, lifeS) {
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: String(user.id), ver: user.token_version, typ: kind };
    return this.#sign({ ...claims, iat: now, exp: now + lifeS });
  }
}
