/** Who people are and whether they are here; finding them; friendship; one's own profile. */

import {
	button, byId, dateOf, endless, field, form, h, reasonOf, toast, typed,
} from "./dom.js";

const FRIENDSHIP = "friend.requested friend.added friend.removed";

export const nameOf = (user) => (user ? `${user.first_name} ${user.last_name}` : "Somebody");
const placeOf = ({city, country}) => [city, country].filter(Boolean).join(", ");

const graphemes = new Intl.Segmenter(undefined, {granularity: "grapheme"});
const firstOf = (text) => [...graphemes.segment(text)][0]?.segment ?? "";

/** Users by id, as far as they were seen, and who of my friends is online. */
export function directoryOf(client) {
	const known = new Map();
	const wanted = new Map();
	let online = [];

	function note(user) {
		known.set(user.id, user);
		return user;
	}

	/** A user; null where there is none. Those asked for at once are one request. */
	async function get(id) {
		if (known.has(id)) return known.get(id);
		if (!wanted.size) setTimeout(read);
		if (!wanted.has(id)) wanted.set(id, Promise.withResolvers());
		return wanted.get(id).promise;
	}

	async function read() {
		const all = [...wanted];
		wanted.clear();
		while (all.length) {
			const some = all.splice(0, 100);
			try {
				const {items} = await client.get("/users", {ids: some.map(([id]) => id).join()});
				items.forEach(note);
				for (const [id, {resolve}] of some) resolve(known.get(id) ?? null);
			} catch (error) {
				for (const [, {reject}] of some) reject(error);
			}
		}
	}

	function show(ids) {
		online = ids;
		for (const dot of document.querySelectorAll("[data-presence]")) paint(dot);
		const friends = ids.slice(0, 30).map((id) =>
			h("li", {}, h("a", {href: `#/messages/${id}`}, face(id))));
		byId("online").replaceChildren(
			...(ids.length ? friends : [h("li", {class: "hint"}, "None of your friends.")]));
	}

	function paint(dot) {
		dot.textContent = online.includes(Number(dot.dataset.presence)) ? "online" : "";
	}

	function avatar(id) {
		const letters = h("span", {"aria-hidden": "true"});
		const dot = h("span", {class: "dot", "data-presence": id});
		const element = h("span", {class: "avatar"}, letters, dot);
		element.style.setProperty("--hue", (id * 137.5) % 360);
		paint(dot);
		get(id).then((user) => {
			letters.textContent = user ? firstOf(user.first_name) + firstOf(user.last_name) : "?";
		}, () => {});
		return element;
	}

	/** Avatar and name, filled in as soon as the user is known. */
	function face(id) {
		const name = h("bdi", {class: "name"}, "…");
		get(id).then((user) => (name.textContent = nameOf(user)), () => {});
		return [avatar(id), name];
	}

	client.on("hello", (frame) => show(frame.online));
	client.on("presence", (frame) => {
		const others = online.filter((id) => id !== frame.user_id);
		show(frame.online ? [...others, frame.user_id] : others);
	});
	// Without a connection nobody tells who comes and goes.
	client.on("state", (state) => state !== "live" && show([]));
	return {note, get, avatar, face};
}

/** What can be done about a friendship, for each way that two may stand. */
export function friendship({client}, id, status) {
	const element = h("div", {class: "actions"});
	const act = (text, method, className) =>
		button(text, async () => {
			const answer = await client[method](`/friends/${id}`);
			show(answer?.status ?? "none");
		}, {class: className});
	const hint = (text) => h("span", {class: "hint", role: "status"}, text);
	const choices = {
		none: () => [act("Add friend", "put", "primary")],
		requested: () => [hint("Asked"), act("Withdraw", "delete")],
		asked: () => [act("Accept", "put", "primary"), act("Decline", "delete")],
		friends: () => [hint("Friends"), act("Unfriend", "delete")],
	};
	function show(now) {
		const hadFocus = element.contains(document.activeElement);
		element.replaceChildren(...choices[now]());
		if (hadFocus) element.querySelector("button").focus();
	}
	show(status);
	return element;
}

/** Call `show(status)` with how I stand with a user, now and after each change. */
export function followFriendship(context, id, show) {
	const read = () =>
		context.client.get(`/friends/${id}`).then(({status}) => show(status), () => {});
	context.on(FRIENDSHIP, ({user_id}) => user_id === id && read());
	return read();
}

const writeTo = (id) =>
	h("a", {href: `#/messages/${id}`, class: "button"}, "Write");

function row(context, user, actions) {
	context.directory.note(user);
	const place = placeOf(user);
	return h("li", {class: "person card"},
		context.directory.avatar(user.id),
		h("div", {class: "who"},
			h("a", {href: `#/users/${user.id}`, class: "name"}, h("bdi", {}, nameOf(user))),
			h("span", {class: "hint"}, `@${user.username}`, place && [" · ", h("bdi", {}, place)])),
		actions);
}

function search(context) {
	const found = h("ul", {class: "list", "aria-label": "Found"});
	const said = h("p", {class: "hint", role: "status"});
	let asking = new AbortController();

	async function find(text) {
		asking.abort();
		const {signal} = (asking = new AbortController());
		const [first, ...rest] = text.trim().split(/\s+/);
		const last = rest.join(" ");
		// One word may begin either name, and two may come in either order.
		const queries = [{first_name: first, last_name: last}, {first_name: last, last_name: first}];
		await new Promise((done) => setTimeout(done, 180));
		if (signal.aborted) return;
		try {
			const pages = first
				? await Promise.all(
						queries.map((query) => context.client.get("/users/search", query, {signal})))
				: [];
			const users = new Map(pages.flatMap(({items}) => items).map((user) => [user.id, user]));
			users.delete(context.me.id);
			found.replaceChildren(...[...users.values()].map((user) => row(context, user)));
			said.textContent = first ? (users.size ? `${users.size} found` : "Nobody is called so.") : "";
		} catch (error) {
			if (!signal.aborted) said.textContent = reasonOf(error);
		}
	}
	const input = h("input", {
		type: "search", id: "search", autocomplete: "off", dir: "auto", maxlength: 64,
		placeholder: "A name, or how it begins", oninput: () => find(input.value),
	});
	return h("section", {class: "search", role: "search"},
		h("label", {for: "search"}, "Find people"), input, said, found);
}

export function peopleView(context) {
	const users = (title, path, actions, empty) => {
		const list = endless({
			tag: "ul", label: title, empty,
			page: (after) => context.client.get(path, {after}),
			show: (user) => row(context, user, actions(user)),
		});
		context.on(`reload ${FRIENDSHIP}`, () => list.reload());
		return h("section", {class: empty ? null : "optional"}, h("h2", {}, title), list.element);
	};
	const withStatus = (status) => (user) => friendship(context, user.id, status);
	return {
		title: "People",
		element: [
			h("h1", {class: "unseen"}, "People"),
			search(context),
			users("They ask you", "/friends/requests", withStatus("asked")),
			users("You have asked", "/friends/requests?direction=out", withStatus("requested")),
			users("Friends", "/friends", (user) => writeTo(user.id), "None yet: find some, and ask them."),
		],
	};
}

export function profileHead(context, user) {
	const actions = h("div", {class: "actions"});
	if (user.id === context.me.id) {
		actions.append(
			h("a", {href: "#/me/edit", class: "button"}, "Edit profile"),
			button("Log out", () => context.client.logout()));
	} else {
		followFriendship(context, user.id, (status) =>
			actions.replaceChildren(writeTo(user.id), friendship(context, user.id, status)));
	}
	const facts = [placeOf(user), user.birthdate && `* ${dateOf(`${user.birthdate}T12:00`)}`];
	return h("section", {class: "profile card"},
		context.directory.avatar(user.id),
		h("div", {class: "who"},
			h("h1", {}, h("bdi", {}, nameOf(user))),
			h("p", {class: "hint"}, `@${user.username}`),
			user.bio && typed(user.bio),
			h("p", {class: "hint", dir: "auto"}, facts.filter(Boolean).join(" · "))),
		actions);
}

export function editView(context) {
	const {me} = context;
	const of = (name, more) => ({value: me[name], maxlength: 64, ...more});
	const submit = async (fields) => {
		// What is empty now is taken away; a name is refused then.
		for (const name of ["bio", "city", "country", "birthdate"]) fields[name] ||= null;
		context.me = context.directory.note(await context.client.patch("/users/me", fields));
		toast("Saved.");
		location.hash = "#/me";
	};
	return {
		title: "Edit profile",
		element: form({submit, class: "card"},
			h("h1", {}, "Edit profile"),
			field("First name", "first_name", of("first_name")),
			field("Last name", "last_name", of("last_name")),
			field("About you", "bio", of("bio", {tag: "textarea", rows: 4, maxlength: 1000})),
			field("City", "city", of("city")),
			field("Country", "country", of("country")),
			field("Birthdate", "birthdate", of("birthdate", {type: "date"})),
			h("div", {class: "actions"},
				h("button", {class: "primary"}, "Save"),
				h("a", {href: "#/me", class: "button"}, "Cancel"))),
	};
}
