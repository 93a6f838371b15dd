/** Dialogs: who has written, what is unread, and the conversation with one of them. */

import {newId} from "./client.js";
import {
	announce, button, byId, clockOf, dayOf, h, reasonOf, textarea, timeOf, typed,
} from "./dom.js";
import {followFriendship, friendship, nameOf} from "./people.js";

const TYPING_TOLD_MS = 2500;
const TYPING_SHOWN_MS = 5000;
const NEAR_PX = 150;

/** My dialogs, kept up to date whatever the page shows. */
export function dialogsOf(context) {
	const {client, me, directory} = context;
	const byUser = new Map();
	let next = null;

	/** A page more, or all of it anew. */
	async function load(before = null) {
		const page = await client.get("/dialogs", {limit: 100, before});
		if (before === null) byUser.clear();
		for (const dialog of page.items) byUser.set(directory.note(dialog.user).id, dialog);
		next = page.next;
		changed();
	}

	function read(id) {
		if (byUser.has(id)) byUser.get(id).unread = 0;
		changed();
	}

	async function arrived(message) {
		const isMine = message.from_user_id === me.id;
		const other = isMine ? message.to_user_id : message.from_user_id;
		const user = await directory.get(other).catch(() => null);
		if (!user) return;
		const dialog = byUser.get(other) ?? {user, unread: 0};
		byUser.set(other, dialog);
		// The list may have been read after the event.
		const isNew = message.id > (dialog.last_message?.id ?? 0);
		if (isNew) dialog.last_message = message;
		const isSeen = dialogs.open === other && document.visibilityState === "visible";
		if (isNew && !isMine && !isSeen) dialog.unread += 1;
		if (!isMine) announce(`${nameOf(user)}: ${message.content}`);
		changed();
	}

	function changed() {
		const unread = [...byUser.values()].reduce((sum, dialog) => sum + dialog.unread, 0);
		byId("unread").hidden = !unread;
		byId("unread").textContent = unread;
		context.retitle(unread);
		dialogs.show();
	}

	client.on("message.created", ({message}) => arrived(message));
	client.on("message.read", ({user_id, peer_id, up_to}) => {
		// On another device of mine.
		const dialog = user_id === me.id && byUser.get(peer_id);
		if (dialog && up_to >= dialog.last_message.id) read(peer_id);
	});
	client.on("reload", () => load().catch(() => {}));
	const when = ({last_message}) => Date.parse(last_message.created_at);
	const dialogs = {
		read,
		// Whose conversation is shown, and what shows the list.
		open: null,
		show: () => {},
		all: () => [...byUser.values()].sort((a, b) => when(b) - when(a)),
		more: () => next && (() => load(next)),
	};
	return dialogs;
}

function inbox(context, current) {
	const list = h("ul", {class: "dialogs"});
	const more = h("div");
	context.dialogs.show = () => {
		const all = context.dialogs.all();
		const load = context.dialogs.more();
		list.replaceChildren(...all.map(({user, unread, last_message: last}) =>
			h("li", {},
				h("a", {href: `#/messages/${user.id}`, "aria-current": user.id === current && "page"},
					context.directory.avatar(user.id),
					h("bdi", {class: "name"}, nameOf(user)),
					timeOf(last.created_at),
					h("span", {class: "preview hint", dir: "auto"},
						last.from_user_id === context.me.id && "You: ", last.content),
					unread > 0 && h("b", {class: "badge"}, unread, h("span", {class: "unseen"}, " unread"))))));
		if (!all.length) {
			list.append(h("li", {class: "empty"}, "Nobody has written yet. ",
				h("a", {href: "#/people"}, "Find somebody"), " and begin."));
		}
		more.replaceChildren(load ? button("Show more", load, {class: "more"}) : "");
	};
	context.leave(() => (context.dialogs.show = () => {}));
	context.dialogs.show();
	return h("section", {class: "inbox card"}, h("h1", {}, "Messages"), list, more);
}

/** The dialogs, and beside them the conversation with one user, if any. */
export async function messagesView(context, id = null) {
	const list = inbox(context, id);
	const {hash} = location;
	const user = id === null || id === context.me.id ? null : await context.directory.get(id);
	if (hash !== location.hash) return {}; // left already
	const beside = user
		? conversation(context, user)
		: h("p", {class: "conversation card empty"}, "Choose somebody to talk to.");
	return {
		title: user ? nameOf(user) : "Messages",
		element: h("div", {class: user ? "messages open" : "messages"}, list, beside),
	};
}

function conversation(context, user) {
	const {client, me} = context;
	const path = `/dialogs/${user.id}`;
	// Elements by id of the message, and of what is not sent yet by client_id.
	const lines = new Map();
	const waiting = new Map();
	let next = null;
	let isLoading = false;
	let last = 0;
	let readUpTo = 0;
	let peerReadUpTo = 0;
	let isFriend = false;
	let toldTyping = 0;
	let typingEnds;
	// One after the other, and so they arrive in their order.
	let sending = Promise.resolve();

	const log = h("ol", {
		class: "log", tabindex: 0, "aria-label": `Messages with ${nameOf(user)}`,
		onscroll: () => log.scrollTop < NEAR_PX && loadOlder(),
	});
	const older = button("Earlier messages", loadOlder, {class: "more"});
	const typing = h("p", {class: "typing hint", role: "status"});
	const area = textarea({placeholder: "Write a message", "aria-label": "Message", oninput: tellTyping}, submit);
	const actions = h("div", {class: "actions"});
	const onsubmit = (event) => {
		event.preventDefault();
		submit();
	};
	const element = h("section", {class: "conversation card"},
		h("header", {},
			h("a", {href: "#/messages", class: "back", "aria-label": "All dialogs"}, "←"),
			h("h1", {}, h("a", {href: `#/users/${user.id}`}, context.directory.face(user.id))),
			actions),
		log, typing,
		h("form", {class: "composer", onsubmit}, area,
			h("button", {class: "primary round", "aria-label": "Send"}, "↑")));

	async function load(before = null) {
		const page = await client.get(`${path}/messages`, {limit: 30, before});
		next = page.next;
		if (before === null) lines.clear();
		page.items.forEach(add);
		const below = log.scrollHeight - log.scrollTop;
		show();
		// What is being read stays where it is.
		if (before === null) toEnd();
		else log.scrollTop = log.scrollHeight - below;
		markRead();
	}

	async function loadOlder() {
		if (next === null || isLoading) return;
		isLoading = true;
		await load(next).finally(() => (isLoading = false));
	}

	function bubble(message) {
		const isMine = message.from_user_id === me.id;
		const line = h("li", {class: isMine ? "bubble mine" : "bubble"},
			h("span", {class: "unseen"}, isMine ? "You" : user.first_name, ": "),
			typed(message.content),
			h("p", {class: "fate"}, clockOf(message.created_at), isMine && h("span", {class: "mark"})));
		line.day = dayOf(message.created_at);
		return line;
	}

	function add(message) {
		if (message.from_user_id === user.id) last = Math.max(last, message.id);
		else if (message.read) peerReadUpTo = Math.max(peerReadUpTo, message.id);
		if (!lines.has(message.id)) lines.set(message.id, bubble(message));
	}

	/** All of it in the order of ids, with its days, and what is not sent yet. */
	function show() {
		const shown = next === null ? [] : [h("li", {}, older)];
		let day;
		for (const [id, line] of [...lines].sort(([a], [b]) => a - b)) {
			if (line.day !== day) shown.push(h("li", {class: "day"}, (day = line.day)));
			const mark = line.querySelector(".mark");
			if (mark) mark.textContent = id <= peerReadUpTo ? "Read" : "Sent";
			shown.push(line);
		}
		log.replaceChildren(...shown, ...[...waiting.values()].map(({line}) => line));
	}

	const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
	// The element may not be on the page yet.
	const toEnd = () => requestAnimationFrame(() => (log.scrollTop = log.scrollHeight));

	async function markRead() {
		const [before, up_to] = [readUpTo, last];
		if (document.visibilityState !== "visible" || up_to <= before) return;
		readUpTo = up_to;
		context.dialogs.read(user.id);
		// What could not be told is told with the next look.
		await client.post(`${path}/read`, {up_to}).catch(() => (readUpTo = before));
	}

	function submit() {
		const content = area.value;
		if (!content.trim()) return;
		area.fill("");
		const line = bubble({content, from_user_id: me.id, created_at: Date.now()});
		line.classList.add("unsettled");
		const message = {content, client_id: newId()};
		waiting.set(message.client_id, {message, line});
		show();
		toEnd();
		send(message.client_id);
	}

	function send(clientId) {
		const one = waiting.get(clientId);
		const fate = one.line.querySelector(".fate");
		one.error = null;
		fate.replaceChildren("Sending …");
		sending = sending.then(async () => {
			try {
				settle(await client.post(`${path}/messages`, one.message));
			} catch (error) {
				// Its event may have been here first.
				if (!waiting.has(clientId)) return;
				one.error = error;
				fate.replaceChildren(
					h("span", {class: "bad", role: "alert"}, `Not sent: ${reasonOf(error)}`),
					button("Try again", () => send(clientId)),
					button("Discard", () => {
						waiting.delete(clientId);
						show();
						area.fill(area.value || one.message.content);
					}));
				toEnd();
			}
		});
	}

	/** A message is said: mine by the answer or by its event, whichever comes first. */
	function settle(message) {
		const wasAtEnd = isAtEnd();
		waiting.delete(message.client_id);
		add(message);
		show();
		if (wasAtEnd) toEnd();
		markRead();
	}

	function tellTyping() {
		if (!isFriend || Date.now() - toldTyping < TYPING_TOLD_MS) return;
		toldTyping = Date.now();
		client.send({type: "typing", user_id: user.id});
	}

	context.on("message.created", ({message}) => {
		const {from_user_id: from, to_user_id: to} = message;
		if (from === user.id) typing.replaceChildren();
		if (from === user.id || to === user.id) settle(message);
	});
	context.on("message.read", ({user_id, peer_id, up_to}) => {
		if (user_id !== user.id || peer_id !== me.id) return;
		peerReadUpTo = Math.max(peerReadUpTo, up_to);
		show();
	});
	context.on("typing", ({user_id}) => {
		if (user_id !== user.id) return;
		typing.replaceChildren(h("bdi", {}, user.first_name), " is writing …");
		clearTimeout(typingEnds);
		typingEnds = setTimeout(() => typing.replaceChildren(), TYPING_SHOWN_MS);
	});
	context.on("reload", () => load());
	// The network is back. Under the same client_id it is the same message, had it arrived.
	context.on("state", (state) => {
		if (state !== "live") return;
		for (const [id, {error}] of waiting) if (error?.name === "Unreachable") send(id);
	});
	followFriendship(context, user.id, (status) => {
		isFriend = status === "friends";
		actions.replaceChildren(isFriend ? "" : friendship(context, user.id, status));
	});
	document.addEventListener("visibilitychange", markRead);
	context.leave(() => document.removeEventListener("visibilitychange", markRead));
	context.dialogs.open = user.id;
	context.leave(() => (context.dialogs.open = null));
	load();
	return element;
}
