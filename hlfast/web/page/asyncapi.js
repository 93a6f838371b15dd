/** The live contract to read: /asyncapi.json, with an example of every frame. */

import {byId, h} from "./dom.js";

const api = await (await fetch("/asyncapi.json")).json();
const links = await (await fetch("/", {headers: {Accept: "application/json"}})).json();
const url = new URL(links.websocket, location.href);
url.protocol = url.protocol.replace("http", "ws");
const {live, events} = api.channels;
const stream = new URL(events.address, url);
stream.protocol = url.protocol.replace("ws", "http");

const resolve = ({$ref, ...other}) =>
	$ref ? resolve($ref.split("/").slice(1).reduce((part, name) => part[name], api)) : other;
const code = (text) => h("code", {}, text);
/** A text in which `this` is code. */
const prose = (text) => text.split("`").map((part, n) => (n % 2 ? code(part) : part));
const paragraphs = (text) => text.trim().split(/\n\s*\n/).map((part) => h("p", {}, prose(part)));

function typeOf(schema) {
	const {type, items, const: only, enum: some, anyOf, title} = resolve(schema);
	if (only || some) return (some ?? [only]).map((value) => JSON.stringify(value)).join(" or ");
	if (anyOf) return anyOf.map(typeOf).join(" or ");
	if (type === "array") return `list of ${typeOf(items)}`;
	return type === "object" ? title : type;
}

const table = (caption, heads, rows) =>
	h("table", {}, h("caption", {class: "unseen"}, caption),
		h("thead", {}, h("tr", {}, heads.map((head) => h("th", {scope: "col"}, head)))),
		h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))));

function message(reference) {
	const {name, summary, payload, examples} = resolve(reference);
	const fields = Object.entries(resolve(payload).properties).filter(([field]) => field !== "type");
	return h("section", {class: "card", id: name},
		h("h3", {}, examples.flatMap((example, n) => [n ? ", " : "", code(example.name)])),
		paragraphs(summary),
		fields.length > 0 && table(`Fields of ${name}`, ["field", "type"],
			fields.map(([field, schema]) => [code(field), typeOf(schema)])),
		examples.map((example) => h("pre", {tabindex: 0, "aria-label": `Example of ${example.name}`},
			JSON.stringify(example.payload, null, 2))));
}

const parameters = (caption, {query}) =>
	table(caption, ["parameter", "meaning"],
		Object.entries(query.properties).map(([name, {description}]) => [code(name), prose(description)]));
/** A frame as an event stream has it. */
const event = ({type, cursor, ...fields}) =>
	`id: ${cursor}\nevent: ${type}\ndata: ${JSON.stringify({type, cursor, ...fields})}\n`;

const [about, ...codes] = live.description.split(/\n+- /);
byId("main").replaceChildren(
	h("h1", {}, "Live events"),
	h("p", {}, "A websocket of JSON text frames, one object with a ", code("type"), " each, at"),
	h("pre", {}, url.href),
	h("p", {}, "A client that renews tokens, resumes and reconnects is written already: ",
		h("a", {href: links.client}, "client.js"), ". In a console of this page:"),
	h("pre", {tabindex: 0, "aria-label": "First steps"},
		`const {Client} = await import("${new URL(links.client, location.href)}");
const client = new Client();
await client.login("NAME", "PASSWORD");
client.on("message.created post.created", console.log);
client.connect();`),
	parameters("Parameters of the handshake", live.bindings.ws),
	h("h2", {}, "To you"), ...api.operations.tell.messages.map(message),
	h("h2", {}, "From you"), ...api.operations.hear.messages.map(message),
	h("h2", {}, about.replace(/:$/, "")),
	table("Close codes", ["code", "meaning"], codes.map((line) => {
		const [number, ...meaning] = line.split(": ");
		return [code(number), meaning.join(": ")];
	})),
	h("h2", {id: "events"}, "Server-sent events"),
	h("pre", {}, stream.href),
	...paragraphs(events.description),
	parameters("Parameters of the stream", api.operations.stream.bindings.http),
	h("pre", {tabindex: 0, "aria-label": "First steps of a stream"},
		`curl -N "${stream}" -H "Authorization: Bearer $TOKEN"`),
	h("p", {}, "What comes then:"),
	h("pre", {tabindex: 0, "aria-label": "Example of an event"},
		event(resolve(resolve(live.messages.MessageCreated)).examples[0].payload)),
);
byId(location.hash.slice(1))?.scrollIntoView();
