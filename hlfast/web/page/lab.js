/** The machine at work: one process of the API, one websocket node, and switches to flip. */

import {Client} from "./client.js";
import {announce, button, byId, field, form, h, reasonOf, toast} from "./dom.js";

const EVERY_MS = 1000;
// Figures are of so many reports, curves as long, and comparisons of what was before a flip.
const WINDOW = 4;
const CURVE = 90;
const BEFORE = 20;

const SWITCHES = {
	batch_reads: ["Batched reads", "Concurrent reads share a statement."],
	batch_sends: ["Batched messages", "Concurrent messages share a statement."],
	remember_tokens: ["Remembered tokens", "A token is verified once, not for each request."],
	keep_bodies: ["Response cache", "Answers stay encoded in memory."],
	encode_at_write: ["Posts encoded at write", "Their JSON is stored beside them."],
	feeds_from_newest: ["Feeds from the newest posts", "Of people with hundreds of friends."],
	freeze_gc: ["Frozen garbage collector", "What is there to stay is never looked at."],
	batch_scheduling: ["Batch scheduling", "Threads that wake up interrupt no other."],
};

const client = new Client();
const main = byId("main");
const number = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 3});
const sum = (some) => some.reduce((a, b) => a + b, 0);

/** The time in ms below which this part of the durations is, as far as their buckets tell. */
function quantile(counts, bounds, part) {
	let left = sum(counts) * part;
	if (!left) return null;
	const bucket = counts.findIndex((count) => (left -= count) <= 0);
	const [from, to] = [bounds[bucket - 1] ?? 0, bounds[bucket] ?? bounds.at(-1)];
	return 1000 * (to + (to - from) * (left / counts[bucket]));
}

/** What changed from one report of a process to a later one. */
function between(old, now) {
	const of = (name) => now[name] - old[name];
	const buckets = (name) => now[name].map((count, n) => count - old[name][n]);
	const share = (part, whole) => (whole ? part / whole : null);
	return {now, of, buckets, share, per_s: (name) => of(name) / of("clock_s")};
}

// Of each figure: its name, its unit, and what it is of two reports.
const OF_API = [
	["Requests", "/s", ({buckets, of}) => sum(buckets("durations")) / of("clock_s")],
	["CPU per request", "µs",
		({buckets, of, share}) => share(1e6 * of("cpu_s"), sum(buckets("durations")))],
	["Latency, median", "ms", ({buckets, now}) => quantile(buckets("durations"), now.bounds_s, 0.5)],
	["Latency, 99 %", "ms", ({buckets, now}) => quantile(buckets("durations"), now.bounds_s, 0.99)],
	["Reads in a batch", "", ({of, share}) => share(of("batched_reads"), of("batches"))],
	["Cache hits", "%",
		({of, share}) => share(100 * of("cache_hits"), of("cache_hits") + of("cache_misses"))],
	["Answers kept", "", ({now}) => now.cached_answers],
	["Cache memory", "MB", ({now}) => now.cached_bytes / 1e6],
	["In progress", "", ({now}) => now.in_progress],
	["Statements", "", ({now}) => now.connections_in_use + now.statements_waiting],
	["Refused", "/s", ({per_s}) => per_s("refused")],
	["CPU of one core", "%", ({per_s}) => 100 * per_s("cpu_s")],
];
const OF_NODE = [
	["Sockets", "", ({now}) => now.sockets],
	["Frames", "/s", ({per_s}) => per_s("frames")],
	["Frames in a write", "", ({of, share}) => share(of("frames"), of("writes"))],
	["Event lag, median", "ms", ({buckets, now}) => quantile(buckets("lags"), now.bounds_s, 0.5)],
	["Event lag, 99 %", "ms", ({buckets, now}) => quantile(buckets("lags"), now.bounds_s, 0.99)],
	["CPU of one core", "%", ({per_s}) => 100 * per_s("cpu_s")],
];

function drawn(tag, attributes, ...children) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
	element.append(...children);
	return element;
}

/** One figure: how much now, how much before the last flip, and its last minutes as a curve. */
class Figure {
	#values = [];
	#flips = [];
	#value = h("b", {}, "–");
	#before = h("p", {class: "hint"});
	#curve = drawn("svg", {viewBox: `0 0 ${CURVE} 40`, preserveAspectRatio: "none", "aria-hidden": "true"});

	constructor([title, unit, read]) {
		this.read = read;
		this.unit = unit;
		this.element = h("article", {class: "figure card"}, h("h3", {}, title),
			h("p", {}, this.#value, " ", h("small", {}, unit)), this.#before, this.#curve);
	}

	add(value) {
		this.#values.push(value);
		if (this.#values.length > CURVE) {
			this.#values.shift();
			this.#flips = this.#flips.map((n) => n - 1).filter((n) => n >= 0);
		}
		this.#value.textContent = value === null ? "–" : number.format(value);
		this.#draw();
	}

	flipped() {
		const last = this.#values.slice(-BEFORE).filter((value) => value !== null);
		this.#before.textContent = last.length
			? `before: ${number.format(sum(last) / last.length)} ${this.unit}` : "";
		this.#flips.push(this.#values.length);
	}

	#draw() {
		const most = Math.max(1e-9, ...this.#values);
		const first = CURVE - this.#values.length;
		const points = this.#values.map((value, n) => `${first + n} ${38 - (34 * (value ?? 0)) / most}`);
		if (points.length < 2) return;
		const line = `M${points.join("L")}`;
		this.#curve.replaceChildren(
			drawn("path", {class: "area", d: `${line}L${CURVE - 1} 40L${first} 40Z`}),
			drawn("path", {class: "curve", d: line}),
			...this.#flips.map((n) =>
				drawn("path", {class: "flip", d: `M${first + n - 0.5} 0V40`})));
	}
}

/** The figures of one kind of process, fed with its reports. Those of another one begin anew. */
class Process {
	#reports = [];
	#name = h("p", {class: "hint"}, "…");

	constructor(title, figures) {
		this.figures = figures.map((one) => new Figure(one));
		this.element = h("section", {}, h("h2", {}, title), this.#name,
			h("div", {class: "figures"}, this.figures.map(({element}) => element)));
	}

	add(name, numbers) {
		if (this.name !== name) this.#reports = [];
		this.name = name;
		this.say(name);
		this.#reports.push(numbers);
		if (this.#reports.length > WINDOW) this.#reports.shift();
		if (this.#reports.length < 2) return;
		const change = between(this.#reports[0], numbers);
		for (const figure of this.figures) figure.add(figure.read(change));
	}

	say(text) {
		this.#name.textContent = text;
	}
}

const api = new Process("The API", OF_API);
const node = new Process("The websocket node", OF_NODE);

/** Switches of the process that is looked at. */
function switches(state) {
	const inputs = Object.entries(SWITCHES).map(([name, [title, about]]) => {
		const input = h("input", {type: "checkbox", role: "switch", id: name, checked: state[name]});
		input.addEventListener("change", () => flip(input));
		return h("label", {}, input, title, h("span", {class: "hint"}, about));
	});
	return h("fieldset", {class: "switches card"}, h("legend", {class: "unseen"}, "Methods of speed"), inputs);
}

async function flip(input) {
	input.disabled = true;
	try {
		const report = await client.patch("/lab", {[input.id]: input.checked});
		if (report.process !== api.name) toast("Another process was switched: it is shown now.");
		api.add(report.process, report.numbers);
		mark(report.switches);
		for (const figure of api.figures) figure.flipped();
		announce(`${SWITCHES[input.id][0]} is ${input.checked ? "on" : "off"}.`);
	} catch (error) {
		input.checked = !input.checked;
		toast(reasonOf(error), true);
	} finally {
		input.disabled = false;
	}
}

function mark(state) {
	for (const [name, isOn] of Object.entries(state)) {
		const input = byId(name);
		if (input && !input.disabled) input.checked = isOn;
	}
}

/** Ask both once a second. Of several processes of the API one is looked at: the first to answer. */
async function follow() {
	for (;;) {
		await new Promise((done) => setTimeout(done, EVERY_MS));
		client.send({type: "lab"});
		try {
			const {process, numbers, switches: state} = await client.get("/lab");
			if (process !== api.name && ++others < 10) continue;
			others = 0;
			api.add(process, numbers);
			mark(state);
		} catch (error) {
			api.say(reasonOf(error));
		}
	}
}
let others = 0;

async function enter() {
	let report;
	try {
		report = await client.get("/lab");
	} catch (error) {
		if (error.status !== 404) return door(reasonOf(error));
		return main.replaceChildren(h("p", {class: "empty"}, reasonOf(error)));
	}
	api.add(report.process, report.numbers);
	main.replaceChildren(
		h("h1", {}, "The machine at work"),
		h("p", {class: "hint"}, "Put load on it with ", h("code", {}, "bash build.sh swarm"),
			", take a method away, and see what it was good for. A switch concerns this one process of ",
			"the API, until it ends. The clearest figure is the CPU per request."),
		switches(report.switches), api.element, node.element);
	client.on("lab", ({node: name, ...numbers}) => node.add(name, numbers));
	client.on("error", ({detail}) => node.say(detail));
	client.connect();
	follow();
}

/** For a superuser to log in. */
function door(reason = "") {
	const submit = async ({username, password}) => {
		await client.login(username, password);
		await enter();
	};
	main.replaceChildren(form({submit, class: "door card"},
		h("h1", {}, "The machine at work"),
		h("p", {class: "bad"}, reason),
		field("User name", "username", {autocomplete: "username", autocapitalize: "none", hint: "A superuser's."}),
		field("Password", "password", {type: "password", autocomplete: "current-password"}),
		h("button", {class: "primary"}, "Log in")));
}

client.on("state", (state) => {
	byId("state").textContent = state === "live" ? "Live" : state === "closed" ? "" : "Connecting …";
	byId("state").className = state;
});
client.on("ended", () => location.reload());

if (client.userId === null) door();
else enter();
