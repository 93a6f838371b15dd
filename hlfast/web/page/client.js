/**
 * The reference client: everything that a page has to get right beyond calling `fetch`.
 *
 *   import {Client} from "http://127.0.0.1:8000/page/client.js";
 *   const client = new Client();                      // new Client("https://api.example.org")
 *   await client.login("demo", "its password");
 *   await client.get("/feed", {limit: 10});           // {items: [...], next: ...}
 *   client.on("message.created", (frame) => console.log(frame.message.content));
 *   client.connect();                                 // and it stays connected
 *
 * It knows nothing of any page: no element, no style. On a page of another origin the service has
 * to be told of that origin (HLFAST_ALLOWED_ORIGINS).
 */

/** The service refused: a problem of RFC 9457. `errors` says which fields of a 422 are wrong. */
export class Problem extends Error {
  constructor(problem, retryAfterS = null) {
    super(problem.detail ?? problem.title);
    this.name = "Problem";
    this.status = problem.status;
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id;
    this.retryAfterS = retryAfterS;
  }
}

/** No answer came. Whether the service did what was asked is not known. */
export class Unreachable extends Error {
  constructor(cause) {
    super("The service cannot be reached.", {cause});
    this.name = "Unreachable";
  }
}

const API = "/api/v1";
const ANSWER_MS = 20_000;
// A token is renewed so long before it expires, that of a websocket after this part of its life.
const EARLY_MS = 30_000;
const RENEWED_AFTER = 0.7;
const RECONNECT_FIRST_MS = 500;
const RECONNECT_MOST_MS = 20_000;
// Who was told to slow down waits at least so long.
const SLOW_DOWN_MS = 15_000;
const EVENT_IDS_MAX = 2000;
const LOOK_MS = 10_000;
// Longer than a browser slows down the timers of a page that nobody looks at.
const SLEPT_MS = 120_000;

/** A name for what is sent, so that sending it twice makes it once (`client_id`). */
export function newId() {
  // crypto.randomUUID is only there on https and on this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Client {
  #origin;
  #listeners = new Map();
  #renewing = null;
  #live = null;
  #websocket = null;

  constructor(origin = location.origin) {
    this.#origin = origin;
    this.session = new Session(`hlfast ${origin}`);
    // Another tab has renewed the tokens, logged out, or logged in as somebody else.
    this.session.onChange = (before, now) => {
      if (!now) this.#ended();
      else if (userOf(before) !== userOf(now)) this.#tell("switched");
      else this.#live?.renewed(now.access_token);
    };
  }

  /** The id of who is logged in, as far as this browser knows; null: nobody. */
  get userId() {
    return userOf(this.session.read());
  }

  /**
   * Call `listener(frame)` for each frame of this type, or for what the client itself has to say:
   * "state" (connecting, live, offline, waiting, closed), "reload" (what is shown may be out of
   * date: read it again), "ended" (log in again) and "switched" (another tab has somebody else).
   * Returns a function that ends it.
   */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  #tell(type, detail) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(detail);
  }

  // Tokens

  /** Raises Problem: 401 for a wrong name or password, 429 after too many of them. */
  async login(username, password) {
    const form = new URLSearchParams({username, password});
    this.session.write(await this.#fetch("POST", "/login", {form}));
  }

  /** A new account, not logged in yet. Raises Problem: 409 for a name that is taken. */
  async register(fields) {
    return this.#fetch("POST", "/users", {json: fields});
  }

  /** End the session here and on the service. */
  async logout() {
    const session = this.session.read();
    this.#ended();
    if (!session) return;
    const form = new URLSearchParams({refresh_token: session.refresh_token});
    await this.#fetch("POST", "/logout", {form});
  }

  #ended() {
    this.session.write(null);
    this.disconnect();
    this.#tell("ended");
  }

  /**
   * A token that is good for a while yet. `refused` is one that the service did not take, however
   * long it should have lasted. Raises Problem (401: log in again) and Unreachable, which is no
   * reason to log anybody out.
   */
  async token(refused = null) {
    const session = this.session.read();
    if (!session) throw new Problem({status: 401, title: "Nobody is logged in."});
    const isGood = session.expires_at - Date.now() > EARLY_MS && session.access_token !== refused;
    if (isGood) return session.access_token;
    // A refresh token is good once: whoever needs a new one waits for the one renewal under way.
    this.#renewing ??= this.#alone(() => this.#renew(session.access_token)).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  /** Run it while no other tab does. Without locks (plain http) the service forgives for 10 s. */
  #alone(work) {
    return navigator.locks ? navigator.locks.request(`hlfast ${this.#origin}`, work) : work();
  }

  async #renew(old) {
    const session = this.session.read();
    if (!session) throw new Problem({status: 401, title: "Nobody is logged in."});
    // Another tab was faster.
    if (session.access_token !== old) return session.access_token;
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: session.refresh_token,
    });
    try {
      this.session.write(await this.#fetch("POST", "/login", {form}));
    } catch (error) {
      if (error.status === 401) this.#ended();
      throw error;
    }
    const {access_token} = this.session.read();
    this.#live?.renewed(access_token);
    return access_token;
  }

  // Requests

  get(path, query = {}, options = {}) {
    return this.request("GET", path, {query, ...options});
  }

  post(path, json) {
    return this.request("POST", path, {json});
  }

  patch(path, json) {
    return this.request("PATCH", path, {json});
  }

  put(path) {
    return this.request("PUT", path);
  }

  delete(path) {
    return this.request("DELETE", path);
  }

  /**
   * What the service answers; null for 204. `path` is below /api/v1. Raises Problem, Unreachable,
   * and whatever `signal` was aborted with.
   */
  async request(method, path, options = {}) {
    const token = await this.token();
    try {
      return await this.#fetch(method, path, {...options, token});
    } catch (error) {
      if (error.status === 401) {
        return this.#fetch(method, path, {...options, token: await this.token(token)});
      }
      if (method === "GET" && error.status === 503) {
        await sleep(1000 * (error.retryAfterS ?? 1) * (1 + Math.random()));
        return this.#fetch(method, path, {...options, token});
      }
      throw error;
    }
  }

  async #fetch(method, path, {below = API, query = {}, json, form, token, signal} = {}) {
    const url = new URL(below + path, this.#origin);
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined) url.searchParams.set(name, value);
    }
    const headers = {Accept: "application/json"};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (json !== undefined) headers["Content-Type"] = "application/json";
    const ends = new AbortController();
    const abort = () => ends.abort(signal?.reason ?? new Error("no answer in time"));
    signal?.addEventListener("abort", abort);
    const timer = setTimeout(abort, ANSWER_MS);
    try {
      const body = json === undefined ? form : JSON.stringify(json);
      const answer = await fetch(url, {method, headers, body, signal: ends.signal});
      // 204 has no body, and what a proxy of somebody's says may not be JSON.
      const text = await answer.text();
      if (answer.ok) return text ? JSON.parse(text) : null;
      throw new Problem(problemOf(answer, text), Number(answer.headers.get("Retry-After")) || null);
    } catch (error) {
      if (error instanceof Problem) throw error;
      signal?.throwIfAborted();
      throw new Unreachable(error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  // Live

  /** Connect the websocket, and keep it connected until `disconnect` or the session's end. */
  connect() {
    this.#live ??= new Live(
      () => this.#websocketUrl(),
      (refused) => this.token(refused),
      (type, detail) => this.#tell(type, detail),
    );
  }

  disconnect() {
    this.#live?.close();
    this.#live = null;
  }

  /** Tell a friend that I am writing to them; nobody hears it while there is no connection. */
  typing(userId) {
    this.#live?.send({type: "typing", user_id: userId});
  }

  /** `/` says where the websocket is: behind the same door, or on a port of its own. */
  async #websocketUrl() {
    if (!this.#websocket) {
      const links = await this.#fetch("GET", "/", {below: ""});
      this.#websocket = new URL(links.websocket, this.#origin);
      this.#websocket.protocol = this.#websocket.protocol.replace("http", "ws");
    }
    return new URL(this.#websocket);
  }
}

/** What a token says of itself: the second of its three parts. */
function claimsOf(token) {
  return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
}

function userOf(session) {
  return session ? Number(claimsOf(session.access_token).sub) : null;
}

function problemOf(answer, text) {
  try {
    const problem = JSON.parse(text);
    if (problem.status) return problem;
  } catch {
    // Told by the status alone.
  }
  return {status: answer.status, title: answer.statusText || `Status ${answer.status}`};
}

/**
 * The tokens, shared by all tabs of this origin. Scripts of the page can read them, as they could
 * read anything that the page may call with; so the page loads no script but its own.
 */
class Session {
  #key;
  onChange = () => {};

  constructor(key) {
    this.#key = key;
    // Only other tabs' changes are told.
    addEventListener("storage", (event) => {
      if (event.key === key) this.onChange(JSON.parse(event.oldValue), JSON.parse(event.newValue));
    });
  }

  read() {
    return JSON.parse(localStorage.getItem(this.#key));
  }

  write(tokens) {
    if (!tokens) {
      localStorage.removeItem(this.#key);
      return;
    }
    const {access_token, refresh_token, expires_in} = tokens;
    // By this browser's clock, whatever the service's says.
    const expires_at = Date.now() + expires_in * 1000;
    localStorage.setItem(this.#key, JSON.stringify({access_token, refresh_token, expires_at}));
  }
}

/** One websocket after another, with everything in between. */
class Live {
  #url;
  #token;
  #tell;
  #socket = null;
  #cursor = null;
  #seen = new Set();
  #failures = 0;
  #isClosed = false;
  #wake = null;
  #drop = null;
  #used = null;
  #renewal = null;
  #watch = null;

  constructor(url, token, tell) {
    this.#url = url;
    this.#token = token;
    this.#tell = tell;
    addEventListener("offline", this.#offline);
    addEventListener("online", this.#online);
    this.#watchForSleep();
    this.#run();
  }

  close() {
    this.#isClosed = true;
    removeEventListener("offline", this.#offline);
    removeEventListener("online", this.#online);
    clearTimeout(this.#renewal);
    clearInterval(this.#watch);
    this.#cut();
    this.#wake?.();
    this.#tell("state", "closed");
  }

  send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** There is a new token: the open connection lives on with it. */
  renewed(token) {
    if (token === this.#used) return;
    this.#used = token;
    this.send({type: "token", access_token: token});
    this.#renewInTime();
  }

  #offline = () => this.#cut();
  #online = () => {
    this.#failures = 0;
    this.#wake?.();
  };

  /** Without a network a socket looks open for minutes, and its closing takes as long. */
  #cut() {
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#drop({code: 1006});
  }

  /** A machine that slept may hold a dead connection. To resume costs less than to wonder. */
  #watchForSleep() {
    let before = Date.now();
    this.#watch = setInterval(() => {
      if (Date.now() - before > SLEPT_MS) this.#cut();
      before = Date.now();
    }, LOOK_MS);
  }

  async #run() {
    let refused = null;
    while (!this.#isClosed) {
      this.#tell("state", "connecting");
      let closed;
      try {
        // Reached here in vain, the network is away; with a Problem, the service has spoken.
        this.#used = await this.#token(refused);
        closed = await this.#connection(await this.#url());
      } catch (error) {
        // The session is over: whoever owns it has been told, and closes this.
        if (error.status === 401) return;
        closed = {code: 0};
      }
      clearTimeout(this.#renewal);
      if (this.#isClosed) return;
      // Told apart from a lost network by its code: the next try comes with another token.
      refused = closed.code === 1008 ? this.#used : null;
      await this.#pause(closed);
    }
  }

  /** Resolves with the event of its end. */
  async #connection(url) {
    if (this.#isClosed) return {code: 1000};
    const resumes = this.#cursor !== null;
    if (resumes) url.searchParams.set("cursor", this.#cursor);
    return new Promise((resolve) => {
      // A subprotocol, not the URL: URLs end up in logs.
      const socket = (this.#socket = new WebSocket(url, ["bearer", this.#used]));
      socket.onmessage = (message) => this.#take(JSON.parse(message.data), resumes);
      socket.onclose = this.#drop = resolve;
    });
  }

  async #pause({code}) {
    if (!navigator.onLine) {
      this.#tell("state", "offline");
      await new Promise((wake) => (this.#wake = wake));
      return;
    }
    // A token that ran out is nobody's fault: the first time it is renewed at once.
    if (code === 1008 && this.#failures === 0) {
      this.#failures = 1;
      return;
    }
    this.#tell("state", "waiting");
    let longest = Math.min(RECONNECT_FIRST_MS * 2 ** this.#failures, RECONNECT_MOST_MS);
    if (code === 4429 || code === 1013) longest = Math.max(longest, SLOW_DOWN_MS);
    this.#failures += 1;
    // At random: all who were cut off together would come back together.
    const ms = longest * (0.3 + 0.7 * Math.random());
    await Promise.race([sleep(ms), new Promise((wake) => (this.#wake = wake))]);
  }

  #take(frame, resumes) {
    if (frame.cursor) this.#cursor = frame.cursor;
    // A repeat after a crash of the service bears the same id.
    if (frame.event_id) {
      if (this.#seen.has(frame.event_id)) return;
      this.#seen.add(frame.event_id);
      if (this.#seen.size > EVENT_IDS_MAX) this.#seen.delete(this.#seen.values().next().value);
    }
    if (frame.type === "hello") this.#renewInTime();
    this.#tell(frame.type, frame);
    if (resumes ? frame.type !== "resumed" : frame.type !== "hello") return;
    // From here on nothing is missed. What happened before is: unless all of it was just replayed,
    // it has to be read over HTTP.
    this.#failures = 0;
    this.#tell("state", "live");
    if (!frame.recovered) this.#tell("reload");
  }

  #renewInTime() {
    clearTimeout(this.#renewal);
    // Its own two times, which are of one clock.
    const {iat, exp} = claimsOf(this.#used);
    const renew = () => this.#token(this.#used).catch(() => {});
    this.#renewal = setTimeout(renew, (exp - iat) * 1000 * RENEWED_AFTER);
  }

}
