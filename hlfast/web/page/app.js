/** The page: lets people in, shows one view at a time, and says how the connection is. */

import {Client} from "./client.js";
import {button, byId, field, form, h, reasonOf, toast} from "./dom.js";
import {dialogsOf, messagesView} from "./messages.js";
import {directoryOf, editView, peopleView} from "./people.js";
import {feedView, wallView} from "./posts.js";

const STATES = {
	connecting: "Connecting …",
	live: "Live",
	waiting: "Reconnecting …",
	offline: "Offline",
};
const VIEWS = [
	[/^#\/feed$/, feedView],
	[/^#\/people$/, peopleView],
	[/^#\/users\/(\d+)$/, wallView],
	[/^#\/me$/, (context) => wallView(context, context.me.id)],
	[/^#\/me\/edit$/, editView],
	[/^#\/messages$/, messagesView],
	[/^#\/messages\/(\d+)$/, messagesView],
];

const client = new Client();
const main = byId("main");

/** What views are given. What they add by `on` and `leave` ends with them. */
class Context {
	#endings = [];
	#unread = 0;
	title = "";

	constructor(me) {
		this.client = client;
		this.me = me;
		this.directory = directoryOf(client);
		this.directory.note(me);
		this.dialogs = dialogsOf(this);
	}

	on(types, listener) {
		this.leave(client.on(types, listener));
	}

	leave(ending) {
		this.#endings.push(ending);
	}

	left() {
		this.#endings.splice(0).forEach((ending) => ending());
	}

	/** The number of unread messages stands before the title. */
	retitle(unread = this.#unread) {
		this.#unread = unread;
		document.title = `${unread ? `(${unread}) ` : ""}${this.title} · hlfast`;
	}
}

let context = null;
let turn = 0;

async function show() {
	if (!context) return;
	const {hash} = location;
	const found = VIEWS.find(([pattern]) => pattern.test(hash));
	if (!found) {
		location.replace("#/feed");
		return;
	}
	const mine = ++turn;
	context.left();
	for (const link of document.querySelectorAll("nav a")) {
		link.ariaCurrent = link.hash === hash.split("/", 2).join("/") ? "page" : null;
	}
	try {
		const [pattern, view] = found;
		const {title, element} = await view(context, ...hash.match(pattern).slice(1).map(Number));
		// Somebody was faster than the answer.
		if (mine !== turn) return;
		main.replaceChildren(...[element].flat().filter(Boolean));
		context.title = title;
		context.retitle();
		scrollTo(0, 0);
		main.focus({preventScroll: true});
	} catch (error) {
		fail(error, show);
	}
}

function fail(error, again) {
	main.replaceChildren(h("div", {class: "empty"}, reasonOf(error), " ", button("Try again", again)));
}

function door(isNew = false, username = "") {
	const names = [
		field("First name", "first_name", {autocomplete: "given-name", maxlength: 64}),
		field("Last name", "last_name", {autocomplete: "family-name", maxlength: 64}),
	];
	const submit = async (fields) => {
		if (isNew) await client.register(fields);
		await client.login(fields.username, fields.password);
		await enter();
	};
	const [here, there] = isNew ? ["Join", "Log in"] : ["Log in", "Join"];
	const element = form({submit, class: "door card"},
		h("h1", {}, here),
		isNew ? names : [],
		field("User name", "username", {
			value: username, autocomplete: "username", autocapitalize: "none",
			maxlength: 32, hint: isNew ? "3 to 32 of a–z, 0–9, dot, dash, underscore." : "",
		}),
		field("Password", "password", {
			type: "password", autocomplete: isNew ? "new-password" : "current-password",
			hint: isNew ? "8 characters or more." : "",
		}),
		h("button", {class: "primary"}, here),
		h("p", {class: "hint"}, isNew ? "You have an account?" : "You are new here?",
			button(there, () => door(!isNew, element.elements.username.value), {class: "link"})));
	main.replaceChildren(
		h("section", {class: "welcome"},
			h("p", {class: "claim"}, "A small social network that is fast."),
			h("p", {class: "hint"}, "Friends, posts and messages, live. Try it with two windows.")),
		element);
	element.querySelector("input").focus();
}

async function enter() {
	context = new Context(await client.get("/users/me"));
	document.body.classList.remove("outside");
	client.on("friend.requested", () => toast("Somebody asks for your friendship."));
	client.on("friend.requested friend.added friend.removed reload", countAsking);
	client.connect();
	await show();
}

async function countAsking() {
	const {items} = await client.get("/friends/requests", {limit: 99}).catch(() => ({items: []}));
	const badge = byId("asking");
	badge.hidden = !items.length;
	badge.textContent = items.length;
}

client.on("state", (state) => {
	byId("state").textContent = STATES[state] ?? "";
	byId("state").className = state;
});
client.on("ended", () => location.reload());
addEventListener("hashchange", show);

if (client.userId === null) door();
else enter().catch((error) => (error.status === 401 ? door() : fail(error, () => location.reload())));
