/** The page: logs in, shows one view at a time, and says how the connection is. */

import {Client} from "./client.js";
import {announce, button, byId, complain, field, h, reasonOf, toast} from "./dom.js";
import {Dialogs, messagesView} from "./messages.js";
import {Directory, editView, peopleView} from "./people.js";
import {feedView, wallView} from "./posts.js";

const STATES = {
  connecting: "Connecting …",
  live: "Live",
  waiting: "Reconnecting …",
  offline: "Offline",
  closed: "",
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
const parts = document.querySelectorAll("nav, aside");

/** What a view is given. `on` and `leave` last as long as the view is shown. */
class Context {
  #endings = [];

  constructor(me) {
    this.client = client;
    this.me = me;
    this.directory = new Directory(client);
    this.dialogs = new Dialogs(this);
    this.directory.note(me);
  }

  on(type, listener) {
    this.leave(client.on(type, listener));
  }

  leave(ending) {
    this.#endings.push(ending);
  }

  left() {
    this.#endings.splice(0).forEach((ending) => ending());
  }

  become(me) {
    this.me = this.directory.note(me);
  }

  /** The number of unread messages stands before the title. */
  retitle(unread = this.unread ?? 0) {
    this.unread = unread;
    document.title = `${unread ? `(${unread}) ` : ""}${this.title ?? ""} · hlfast`;
  }

  async logout() {
    try {
      await client.logout();
    } catch (error) {
      toast(`${reasonOf(error)} The session ends by itself.`, true);
    }
  }
}

let context = null;
let turn = 0;

async function show() {
  if (!context) return;
  const here = VIEWS.find(([pattern]) => pattern.test(location.hash));
  if (!here) {
    location.replace("#/feed");
    return;
  }
  const [pattern, view] = here;
  const mine = ++turn;
  context.left();
  const section = location.hash.split("/")[1];
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.hash === `#/${section}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const {title, element} = await view(context, ...location.hash.match(pattern).slice(1).map(Number));
    if (mine !== turn) return;
    main.replaceChildren(...[element].flat().filter(Boolean));
    context.title = title;
    context.retitle();
    scrollTo(0, 0);
    main.focus({preventScroll: true});
  } catch (error) {
    main.replaceChildren(h("div", {class: "empty"}, reasonOf(error), " ", button("Try again", show)));
  }
}

// Outside: logging in and registering

function outside(isNew = false, username = "") {
  const names = isNew
    ? [
        field("First name", "first_name", {autocomplete: "given-name", maxlength: 64}),
        field("Last name", "last_name", {autocomplete: "family-name", maxlength: 64}),
      ]
    : [];
  const form = h("form", {class: "door card", novalidate: true},
    h("h1", {}, isNew ? "Join" : "Log in"),
    ...names,
    field("Name", "username", {
      autocomplete: "username", autocapitalize: "none", spellcheck: "false", maxlength: 32, value: username,
      hint: isNew ? "3 to 32 letters without accents, digits, . _ -" : "The one that you log in with.",
    }),
    field("Password", "password", {
      type: "password", autocomplete: isNew ? "new-password" : "current-password",
      hint: isNew ? "8 characters or more." : "",
    }),
    h("p", {role: "alert", class: "bad"}),
    h("button", {class: "primary"}, isNew ? "Join" : "Log in"),
    h("p", {class: "hint"}, isNew ? "You have an account? " : "You are new here? ",
      button(isNew ? "Log in" : "Join", () => outside(!isNew, form.elements.username.value), {class: "link"})),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    const pressed = form.querySelector(".primary");
    pressed.disabled = true;
    form.querySelector("[role=alert]").textContent = "";
    try {
      if (isNew) await client.register(fields);
      await client.login(fields.username, fields.password);
      await enter();
    } catch (error) {
      complain(form, error);
    } finally {
      pressed.disabled = false;
    }
  });
  document.body.classList.add("outside");
  parts.forEach((part) => (part.hidden = true));
  document.title = "hlfast";
  main.replaceChildren(
    h("section", {class: "welcome"},
      h("p", {class: "claim"}, "A small social network that is ", h("em", {}, "fast"), "."),
      h("p", {class: "hint"}, "Friends, posts and messages, live: open a second window and watch.")),
    form);
  form.querySelector("input").focus();
}

async function enter() {
  const me = await client.get("/users/me");
  context = new Context(me);
  document.body.classList.remove("outside");
  parts.forEach((part) => (part.hidden = false));
  client.on("friend.requested", async ({user_id}) => {
    if (user_id !== me.id) toast("Somebody asks for your friendship.");
    countAsking();
  });
  for (const type of ["friend.added", "friend.removed", "reload"]) client.on(type, countAsking);
  client.connect();
  await show();
}

/** How many ask for my friendship: a badge. */
async function countAsking() {
  const {items, next} = await client.get("/friends/requests", {limit: 9}).catch(() => ({items: []}));
  const badge = byId("asking");
  badge.hidden = items.length === 0;
  badge.textContent = next ? "9+" : items.length;
  badge.setAttribute("aria-label", `${badge.textContent} ask you`);
}

let before = "closed";
client.on("state", (state) => {
  const line = byId("state");
  line.textContent = STATES[state];
  line.className = state;
  if (state === "live" && before === "lost") announce("Connected again.");
  before = state === "waiting" || state === "offline" ? "lost" : state === "live" ? state : before;
});
client.on("ended", () => location.reload());
client.on("switched", () => location.reload());
addEventListener("hashchange", show);

if (client.userId === null) {
  outside();
} else {
  enter().catch((error) => {
    if (error.status === 401) outside();
    else main.replaceChildren(h("div", {class: "empty"}, reasonOf(error), " ",
      button("Try again", () => location.reload())));
  });
}
