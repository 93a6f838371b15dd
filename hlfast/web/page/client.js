/**
 * The reference client: all that a page has to get right beyond calling `fetch`.
 *
 *   const {Client} = await import("http://127.0.0.1:8000/page/client.js");
 *   const client = new Client("http://127.0.0.1:8000");
 *   await client.login("demo", "its password");
 *   await client.get("/feed", {limit: 10});            // {items: [...], next: ...}
 *   client.on("message.created", ({message}) => console.log(message.content));
 *   client.connect();                                  // and it stays connected
 *
 * A page of another origin has to be named to the service (HLFAST_ALLOWED_ORIGINS).
 */

/** The service refused: a problem of RFC 9457. `errors` says which fields of a 422 are wrong. */
export class Problem extends Error {
	name = "Problem";

	constructor({status, title, detail, errors}, retryAfterS = null) {
		super(detail ?? title);
		Object.assign(this, {status, errors, retryAfterS});
	}
}

/** No answer came. Whether the service did what was asked is not known. */
export class Unreachable extends Error {
	name = "Unreachable";
}

const API = "/api/v1";
const ANSWER_MS = 20_000;
// Tokens are renewed so long before they expire; a websocket's after this part of its life.
const EARLY_MS = 30_000;
const RENEWED_AFTER = 0.7;
const RECONNECT_FIRST_MS = 500;
const RECONNECT_MOST_MS = 20_000;
// Who is told to slow down (4429, 1013) waits at least so long.
const SLOW_DOWN_MS = 15_000;
const EVENT_IDS_MAX = 2000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A `client_id`: what is sent twice under it is made once. */
export function newId() {
	// crypto.randomUUID is only there on https and on this machine.
	return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("");
}

/** What a token says of itself: the second of its three parts. */
function claimsOf(token) {
	return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
}

const userOf = (session) => (session ? Number(claimsOf(session.access_token).sub) : null);

export class Client {
	#origin;
	#key;
	#listeners = new Map();
	#renewing = null;
	#live = null;
	#websocket = null;
	#reads = new Set();

	constructor(origin = location.origin) {
		this.#origin = origin;
		this.#key = `hlfast ${origin}`;
		addEventListener("storage", ({key, oldValue, newValue}) => {
			if (key !== this.#key) return;
			const [before, now] = [JSON.parse(oldValue), JSON.parse(newValue)];
			if (userOf(before) !== userOf(now)) this.#leave();
			else this.#live?.renewed(now.access_token);
		});
	}

	/**
	 * Call `listener(frame)` for frames of these types ("typing", or "post.created post.updated"),
	 * and for what the client itself says: "state" (connecting, live, waiting, offline, closed),
	 * "reload" (something may have been missed: read it again), "ended" (the session: nobody is
	 * logged in, or somebody else in another tab). Returns what ends it.
	 */
	on(types, listener) {
		for (const type of types.split(" ")) {
			if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
			this.#listeners.get(type).add(listener);
		}
		return () => types.split(" ").forEach((type) => this.#listeners.get(type).delete(listener));
	}

	#tell(type, detail) {
		for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(detail);
	}

	// All tabs of an origin share the session. Any script there can read it: load none but your own.

	get #session() {
		return JSON.parse(localStorage.getItem(this.#key));
	}

	#keep({access_token, refresh_token, expires_in}) {
		// By this browser's clock, whatever the service's says.
		const expires_at = Date.now() + expires_in * 1000;
		localStorage.setItem(this.#key, JSON.stringify({access_token, refresh_token, expires_at}));
	}

	#end() {
		localStorage.removeItem(this.#key);
		this.#leave();
	}

	#leave() {
		this.disconnect();
		this.#tell("ended");
	}

	/** Who is logged in; null: nobody. */
	get userId() {
		return userOf(this.#session);
	}

	/** Make an account. 409: the name is taken. */
	async register(json) {
		return this.#fetch("POST", "/users", {json});
	}

	/** 401: a wrong name or password; 429: too many of them. */
	async login(username, password) {
		this.#keep(await this.#fetch("POST", "/login", {form: {username, password}}));
	}

	/** End the session here, then on the service. */
	async logout() {
		const session = this.#session;
		this.#end();
		if (session) {
			await this.#fetch("POST", "/logout", {form: {refresh_token: session.refresh_token}});
		}
	}

	/**
	 * An access token that is good for a while, and is not the one that was `refused`. Raises Problem
	 * (401: log in again), and Unreachable, for which nobody is logged out.
	 */
	async token(refused = null) {
		const session = this.#session;
		if (!session) throw new Problem({status: 401, title: "Nobody is logged in."});
		const {access_token, expires_at} = session;
		if (expires_at - Date.now() > EARLY_MS && access_token !== refused) return access_token;
		// A refresh token is good once: one renewal at a time, in all tabs together. Where there are
		// no locks (plain http), the service gives the same successor for 10 s.
		const renew = () => this.#renew(access_token);
		this.#renewing ??= (navigator.locks?.request(this.#key, renew) ?? renew()).finally(() => {
			this.#renewing = null;
		});
		return this.#renewing;
	}

	async #renew(old) {
		const session = this.#session;
		// Another tab was faster.
		if (session && session.access_token !== old) return session.access_token;
		const form = {grant_type: "refresh_token", refresh_token: session?.refresh_token ?? ""};
		let answer;
		try {
			answer = await this.#fetch("POST", "/login", {form});
		} catch (error) {
			if (error.status === 401) this.#end();
			throw error;
		}
		this.#keep(answer);
		this.#live?.renewed(answer.access_token);
		// Other tabs, which are next, read it a moment later.
		await new Promise((done) => setTimeout(done, 100));
		return answer.access_token;
	}

	// Requests, below /api/v1. Each answers with what the JSON says (204: null), and raises Problem,
	// Unreachable, or what its `signal` was aborted with. What was read may be older than a frame or
	// an answer that comes meanwhile: it goes first.

	get = (path, query, options) => this.request("GET", path, {query, ...options});
	post = (path, json) => this.request("POST", path, {json});
	patch = (path, json) => this.request("PATCH", path, {json});
	put = (path) => this.request("PUT", path);
	delete = (path) => this.request("DELETE", path);

	request(method, path, options = {}) {
		const answer = this.#request(method, path, options);
		if (method !== "GET") return answer.finally(() => Promise.allSettled(this.#reads));
		this.#reads.add(answer);
		answer.catch(() => {}).then(() => this.#reads.delete(answer));
		return answer;
	}

	async #request(method, path, options) {
		const token = await this.token();
		try {
			return await this.#fetch(method, path, {...options, token});
		} catch (error) {
			if (error.status === 401) {
				return this.#fetch(method, path, {...options, token: await this.token(token)});
			}
			if (error.status !== 503 || method !== "GET") throw error;
			await sleep(1000 * (error.retryAfterS ?? 1) * (1 + Math.random()));
			return this.#fetch(method, path, {...options, token});
		}
	}

	async #fetch(method, path, {below = API, query = {}, json, form, token, signal} = {}) {
		const url = new URL(below + path, this.#origin);
		for (const [name, value] of Object.entries(query)) {
			if (value !== null && value !== undefined) url.searchParams.set(name, value);
		}
		const headers = {Accept: "application/json"};
		if (token) headers.Authorization = `Bearer ${token}`;
		if (json) headers["Content-Type"] = "application/json";
		const body = json ? JSON.stringify(json) : form && new URLSearchParams(form);
		const ends = AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]);
		let answer, text;
		try {
			answer = await fetch(url, {method, headers, body, signal: ends});
			text = await answer.text();
		} catch (cause) {
			signal?.throwIfAborted();
			throw new Unreachable("The service cannot be reached.", {cause});
		}
		const isJson = answer.headers.get("Content-Type")?.includes("json");
		const found = isJson ? JSON.parse(text) : null;
		if (answer.ok) return found;
		// A proxy may have no more to say than a status.
		const problem = found?.status ? found : {status: answer.status, title: `Status ${answer.status}`};
		throw new Problem(problem, Number(answer.headers.get("Retry-After")) || null);
	}

	// Live

	/** Connect the websocket, and keep it connected until `disconnect` or the session's end. */
	connect() {
		this.#live ??= live(
			(refused) => this.token(refused),
			() => this.#websocketUrl(),
			() => this.#reads,
			(type, detail) => this.#tell(type, detail),
		);
	}

	disconnect() {
		this.#live?.close();
		this.#live = null;
	}

	/** Say it over the websocket: `{type: "typing", user_id}` to a friend. */
	send(frame) {
		this.#live?.send(frame);
	}

	/** `/` says where the websocket is. */
	async #websocketUrl() {
		this.#websocket ??= (await this.#fetch("GET", "/", {below: ""})).websocket;
		const url = new URL(this.#websocket, this.#origin);
		url.protocol = url.protocol.replace("http", "ws");
		return url;
	}
}

/** One websocket after the other, each resuming where the one before ended. */
function live(tokenFor, urlOf, reads, tell) {
	const seen = new Set();
	let socket, token, renewal;
	let cursor = null;
	let failures = 0;
	let isClosed = false;
	// The frames so far.
	let before = null;
	// What ends the connection, and what ends the wait for the next one.
	let drop = () => {};
	let wake = () => {};

	// Without a network a socket looks open for minutes.
	const cut = () => {
		if (socket) socket.onmessage = socket.onclose = null;
		socket?.close();
		drop({code: 1006});
	};
	const online = () => {
		failures = 0;
		wake();
	};
	addEventListener("offline", cut);
	addEventListener("online", online);

	function close() {
		isClosed = true;
		removeEventListener("offline", cut);
		removeEventListener("online", online);
		clearTimeout(renewal);
		cut();
		wake();
		tell("state", "closed");
	}

	function send(frame) {
		if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
	}

	function renewed(access_token) {
		if (access_token === token) return;
		token = access_token;
		send({type: "token", access_token});
		renewInTime();
	}

	function renewInTime() {
		clearTimeout(renewal);
		// By the difference of its own two times: the clock here may be wrong.
		const {iat, exp} = claimsOf(token);
		const renew = () => tokenFor(token).catch(() => {});
		renewal = setTimeout(renew, (exp - iat) * 1000 * RENEWED_AFTER);
	}

	async function run() {
		let refused = null;
		while (!isClosed) {
			tell("state", "connecting");
			let code = 0;
			try {
				token = await tokenFor(refused);
				({code} = await connection(await urlOf()));
			} catch (error) {
				// The session is over. All else may pass.
				if (error.status === 401) return;
			}
			clearTimeout(renewal);
			// A token that expired, not a lost network: the next try has another one.
			refused = code === 1008 ? token : null;
			if (!isClosed) await pause(code);
		}
	}

	/** The event of its end, once it has ended. */
	function connection(url) {
		if (isClosed) return {code: 1000};
		const resumes = cursor !== null;
		if (resumes) url.searchParams.set("cursor", cursor);
		return new Promise((resolve) => {
			drop = resolve;
			// The token is a subprotocol, not a part of the URL: URLs end up in logs.
			socket = new WebSocket(url, ["bearer", token]);
			socket.onmessage = ({data}) => take(JSON.parse(data), resumes);
			socket.onclose = resolve;
		});
	}

	async function pause(code) {
		const woken = new Promise((done) => (wake = done));
		if (!navigator.onLine) {
			tell("state", "offline");
			return woken;
		}
		failures += 1;
		// The first time, what ran out is renewed at once.
		if (code === 1008 && failures === 1) return;
		tell("state", "waiting");
		let longest = Math.min(RECONNECT_FIRST_MS * 2 ** (failures - 1), RECONNECT_MOST_MS);
		if (code === 4429 || code === 1013) longest = Math.max(longest, SLOW_DOWN_MS);
		// At random: all who were cut off together would come back together.
		await Promise.race([woken, sleep(longest * (0.3 + 0.7 * Math.random()))]);
	}

	function take(frame, resumes) {
		if (frame.cursor) cursor = frame.cursor;
		if (frame.event_id) {
			// A repeat after a crash of the service bears the same id.
			if (seen.has(frame.event_id)) return;
			seen.add(frame.event_id);
			if (seen.size > EVENT_IDS_MAX) seen.delete(seen.values().next().value);
		}
		if (frame.type === "hello") renewInTime();
		before = Promise.allSettled([before, ...reads()])
			.then(() => isClosed || tell(frame.type, frame)).catch(reportError);
		if (frame.type !== (resumes ? "resumed" : "hello")) return;
		// What came before has to be read over HTTP, unless all of it was replayed just now.
		failures = 0;
		tell("state", "live");
		if (!frame.recovered) tell("reload");
	}

	run();
	return {close, send, renewed};
}
