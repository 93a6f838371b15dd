/** Who people are and whether they are here; finding them; friendship; one's own profile. */

import {
  announce, button, byId, complain, dateOf, Endless, field, h, icon, reasonOf, toast, typed,
} from "./dom.js";

/** Users by id, as far as they were seen, and who of my friends is online. */
export class Directory {
  #client;
  #known = new Map();
  #wanted = new Map();
  online = new Set();

  constructor(client) {
    this.#client = client;
    client.on("hello", ({online}) => {
      this.online = new Set(online);
      this.#show();
    });
    client.on("presence", ({user_id, online}) => {
      if (online) this.online.add(user_id);
      else this.online.delete(user_id);
      this.#show();
    });
    client.on("state", (state) => {
      // Nobody tells any more who comes and goes.
      if (state === "live" || state === "connecting") return;
      this.online.clear();
      this.#show();
    });
  }

  note(user) {
    this.#known.set(user.id, user);
    return user;
  }

  /** A user; null where there is none. Those asked for at once are one request. */
  get(id) {
    if (this.#known.has(id)) return Promise.resolve(this.#known.get(id));
    if (!this.#wanted.size) setTimeout(() => this.#read());
    if (!this.#wanted.has(id)) {
      let settle;
      const user = new Promise((resolve, reject) => (settle = {resolve, reject}));
      this.#wanted.set(id, {user, ...settle});
    }
    return this.#wanted.get(id).user;
  }

  /** Read it anew the next time. */
  forget(id) {
    this.#known.delete(id);
  }

  async #read() {
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    for (let start = 0; start < wanted.length; start += 100) {
      const some = wanted.slice(start, start + 100);
      try {
        const {items} = await this.#client.get("/users", {ids: some.map(([id]) => id).join()});
        items.forEach((user) => this.note(user));
        some.forEach(([id, {resolve}]) => resolve(this.#known.get(id) ?? null));
      } catch (error) {
        some.forEach(([, {reject}]) => reject(error));
      }
    }
  }

  /** Every dot on the page, and the list beside it. */
  #show() {
    for (const dot of document.querySelectorAll("[data-presence]")) this.#paint(dot);
    const ids = [...this.online].slice(0, 30);
    byId("online").replaceChildren(
      ...ids.map((id) => h("li", {}, h("a", {href: `#/messages/${id}`}, ...this.face(id)))),
    );
    if (!ids.length) byId("online").replaceChildren(h("li", {class: "hint"}, "None of your friends."));
  }

  #paint(dot) {
    const isOnline = this.online.has(Number(dot.dataset.presence));
    dot.classList.toggle("on", isOnline);
    dot.textContent = isOnline ? "online" : "";
  }

  /** Avatar and name, filled in as soon as the user is known. */
  face(id) {
    const avatar = this.avatar(id);
    const name = h("bdi", {class: "name"}, "…");
    this.get(id).then((user) => (name.textContent = nameOf(user)), () => {});
    return [avatar, name];
  }

  avatar(id) {
    const letters = h("span", {"aria-hidden": "true"});
    const dot = h("span", {class: "dot", "data-presence": id});
    const avatar = h("span", {class: "avatar"}, letters, dot);
    // A colour of their own, and far from that of the next id.
    avatar.style.setProperty("--hue", (id * 137.5) % 360);
    this.get(id).then((user) => (letters.textContent = initialsOf(user)), () => {});
    this.#paint(dot);
    return avatar;
  }
}

export const nameOf = (user) => (user ? `${user.first_name} ${user.last_name}` : "Somebody");

const graphemes = new Intl.Segmenter(undefined, {granularity: "grapheme"});

function initialsOf(user) {
  if (!user) return "?";
  const first = (text) => graphemes.segment(text)[Symbol.iterator]().next().value?.segment ?? "";
  return first(user.first_name) + first(user.last_name);
}

/** What can be done about a friendship, for each of the four ways that two may stand. */
export function friendship({client}, id, status, changed = () => {}) {
  const element = h("div", {class: "actions"});
  const act = (text, method, said, attributes) =>
    button(text, async (event) => {
      event.target.disabled = true;
      try {
        const answer = await client[method](`/friends/${id}`);
        show(answer?.status ?? "none");
        announce(said);
        changed();
      } catch (error) {
        event.target.disabled = false;
        toast(reasonOf(error), true);
        if (error.status === 404) show("none");
      }
    }, attributes);
  const choices = {
    none: () => [act("Add friend", "put", "Asked.", {class: "primary"})],
    requested: () => [h("span", {class: "hint"}, "Asked"), act("Withdraw", "delete", "Withdrawn.")],
    asked: () => [
      act("Accept", "put", "You are friends now.", {class: "primary"}),
      act("Decline", "delete", "Declined."),
    ],
    friends: () => [h("span", {class: "hint"}, "Friends"), act("Unfriend", "delete", "No friends any more.")],
  };
  function show(now) {
    const hadFocus = element.contains(document.activeElement);
    element.replaceChildren(...choices[now]());
    if (hadFocus) element.querySelector("button").focus();
  }
  show(status);
  return {element, show};
}

function row(context, user, ...actions) {
  context.directory.note(user);
  const place = [user.city, user.country].filter(Boolean).join(", ");
  return h("li", {class: "person card"},
    context.directory.avatar(user.id),
    h("div", {class: "who"},
      h("a", {href: `#/users/${user.id}`, class: "name"}, h("bdi", {}, nameOf(user))),
      h("span", {class: "hint"}, `@${user.username}`, place ? " · " : "", h("bdi", {}, place)),
    ),
    ...actions,
  );
}

/** People: found as one types, those who ask, those who were asked, friends. */
export function peopleView(context) {
  const {client} = context;
  const found = h("ul", {class: "list", "aria-label": "Found"});
  const said = h("p", {class: "hint", role: "status"});
  const input = h("input", {
    type: "search", id: "search", autocomplete: "off", dir: "auto", maxlength: 128,
    placeholder: "A name, or how it begins", oninput: () => search(input.value),
  });
  let asking = new AbortController();
  let later;

  async function search(text) {
    clearTimeout(later);
    asking.abort();
    asking = new AbortController();
    const {signal} = asking;
    const [first, ...rest] = text.trim().split(/\s+/);
    if (!first) {
      found.replaceChildren();
      said.textContent = "";
      return;
    }
    await new Promise((go) => (later = setTimeout(go, 180)));
    const last = rest.join(" ");
    // One word may begin either name.
    const queries = last
      ? [{first_name: first, last_name: last}, {first_name: last, last_name: first}]
      : [{first_name: first}, {last_name: first}];
    try {
      const pages = await Promise.all(
        queries.map((query) => client.get("/users/search", query, {signal})),
      );
      const users = new Map(pages.flatMap(({items}) => items).map((user) => [user.id, user]));
      users.delete(context.me.id);
      found.replaceChildren(...[...users.values()].map((user) => row(context, user)));
      said.textContent = users.size ? `${users.size} found` : "Nobody is called so.";
    } catch (error) {
      if (!signal.aborted) said.textContent = reasonOf(error);
    }
  }

  const users = (title, path, empty, actions) => {
    const list = new Endless({
      tag: "ul", "aria-label": title, empty,
      page: (after) => client.get(path, {after}),
      show: (user) => row(context, user, actions(user)),
    });
    return {list, element: h("section", {}, h("h2", {}, title), list.element)};
  };
  const standing = (status) => (user) => friendship(context, user.id, status).element;
  const parts = [
    users("They ask you", "/friends/requests", "Nobody at the moment.", standing("asked")),
    users("You have asked", "/friends/requests?direction=out", "Nobody waits for an answer.",
      standing("requested")),
    users("Friends", "/friends", "None yet: find some above, and ask them.", (user) =>
      h("a", {href: `#/messages/${user.id}`, class: "button"}, icon("messages"), "Write")),
  ];
  const reload = () => parts.forEach(({list}) => list.reload());
  for (const type of ["reload", "friend.requested", "friend.added", "friend.removed"]) {
    context.on(type, reload);
  }
  reload();
  return {
    title: "People",
    element: [
      h("section", {class: "search", role: "search"}, h("label", {for: "search"}, "Find people"), input, said, found),
      ...parts.map(({element}) => element),
    ],
  };
}

/** The head of a wall: who it is, and where the two stand. */
export function profileHead(context, user) {
  const isMe = user.id === context.me.id;
  const facts = [
    [user.city, user.country].filter(Boolean).join(", "),
    user.birthdate ? `born ${dateOf(user.birthdate)}` : "",
  ].filter(Boolean);
  const actions = h("div", {class: "actions"});
  if (isMe) {
    actions.append(
      h("a", {href: "#/me/edit", class: "button"}, "Edit profile"),
      button("Log out", () => context.logout()),
    );
  } else {
    actions.append(h("a", {href: `#/messages/${user.id}`, class: "button"}, icon("messages"), "Write"));
    const state = friendship(context, user.id, "none");
    const read = async () => state.show((await context.client.get(`/friends/${user.id}`)).status);
    read().then(() => actions.append(state.element), () => {});
    for (const type of ["friend.requested", "friend.added", "friend.removed"]) {
      context.on(type, (frame) => frame.user_id === user.id && read().catch(() => {}));
    }
  }
  return h("section", {class: "profile card"},
    context.directory.avatar(user.id),
    h("div", {class: "who"},
      h("h1", {}, h("bdi", {}, nameOf(user))),
      h("p", {class: "hint"}, `@${user.username}`),
      user.bio ? typed(user.bio) : null,
      facts.length ? h("p", {class: "hint", dir: "auto"}, facts.join(" · ")) : null,
    ),
    actions,
  );
}

/** One's own profile as a form. */
export function editView(context) {
  const {me} = context;
  const names = ["first_name", "last_name", "birthdate", "city", "country", "bio"];
  const form = h("form", {class: "card", novalidate: true},
    h("h1", {}, "Edit profile"),
    field("First name", "first_name", {value: me.first_name, maxlength: 64}),
    field("Last name", "last_name", {value: me.last_name, maxlength: 64}),
    field("About you", "bio", {tag: "textarea", rows: 4, value: me.bio, maxlength: 1000}),
    field("City", "city", {value: me.city, maxlength: 64}),
    field("Country", "country", {value: me.country, maxlength: 64}),
    field("Birthdate", "birthdate", {type: "date", value: me.birthdate, dir: null}),
    h("p", {role: "alert", class: "bad"}),
    h("div", {class: "actions"},
      h("button", {class: "primary"}, "Save"),
      h("a", {href: "#/me", class: "button"}, "Cancel"),
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // Only what has changed; what is empty now is taken away.
    const changes = Object.fromEntries(
      names
        .map((name) => [name, form.elements[name].value || null])
        .filter(([name, value]) => value !== (me[name] || null)),
    );
    for (const name of ["first_name", "last_name"]) {
      if (changes[name] === null) changes[name] = "";
    }
    try {
      context.become(await context.client.patch("/users/me", changes));
      toast("Saved.");
      location.hash = "#/me";
    } catch (error) {
      complain(form, error);
    }
  });
  return {title: "Edit profile", element: form};
}
