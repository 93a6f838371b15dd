/** Dialogs: who has written, what is unread, and the conversation with one of them. */

import {newId} from "./client.js";
import {
  announce, button, byId, clockOf, dayOf, h, icon, reasonOf, textarea, timeOf, toast, typed,
} from "./dom.js";
import {friendship, nameOf} from "./people.js";

const TYPING_TOLD_MS = 2500;
const TYPING_SHOWN_MS = 5000;
const PAGE = 30;

/** All dialogs by latest activity, kept up to date while the page is open, whatever it shows. */
export class Dialogs {
  #context;
  #byUser = new Map();
  #next = null;
  // Whose conversation is looked at, and who is told when something changes.
  open = null;
  onChange = () => {};

  constructor(context) {
    this.#context = context;
    const {client} = context;
    client.on("message.created", ({message}) => this.#arrived(message));
    client.on("message.read", ({user_id, peer_id, up_to}) => {
      const dialog = this.#byUser.get(user_id === context.me.id ? peer_id : user_id);
      if (!dialog) return;
      if (user_id === context.me.id) {
        // Read on another device of mine.
        if (up_to >= dialog.last_message.id) dialog.unread = 0;
      } else if (up_to >= dialog.last_message.id) {
        dialog.last_message.read = true;
      }
      this.#changed();
    });
    client.on("reload", () => this.reload().catch(() => {}));
  }

  async reload() {
    const {items, next} = await this.#context.client.get("/dialogs", {limit: 100});
    this.#byUser.clear();
    this.#take(items, next);
  }

  async more() {
    const {items, next} = await this.#context.client.get("/dialogs", {limit: 100, before: this.#next});
    this.#take(items, next);
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** Latest activity first. */
  get all() {
    const when = ({last_message}) => Date.parse(last_message.created_at);
    return [...this.#byUser.values()].sort((a, b) => when(b) - when(a));
  }

  read(id) {
    const dialog = this.#byUser.get(id);
    if (dialog) dialog.unread = 0;
    this.#changed();
  }

  #take(items, next) {
    for (const dialog of items) {
      this.#context.directory.note(dialog.user);
      if (!this.#byUser.has(dialog.user.id)) this.#byUser.set(dialog.user.id, dialog);
    }
    this.#next = next;
    this.#changed();
  }

  async #arrived(message) {
    const isMine = message.from_user_id === this.#context.me.id;
    const other = isMine ? message.to_user_id : message.from_user_id;
    const user = await this.#context.directory.get(other).catch(() => null);
    if (!user) return;
    const dialog = this.#byUser.get(other) ?? {user, unread: 0, last_message: message};
    this.#byUser.set(other, dialog);
    if (message.id >= dialog.last_message.id) dialog.last_message = message;
    const isSeen = this.open === other && document.visibilityState === "visible";
    if (!isMine && !isSeen) dialog.unread += 1;
    if (!isMine) announce(`${nameOf(user)}: ${message.content}`);
    this.#changed();
  }

  #changed() {
    const unread = this.all.reduce((sum, dialog) => sum + dialog.unread, 0);
    const badge = byId("unread");
    badge.hidden = unread === 0;
    badge.textContent = unread > 99 ? "99+" : unread;
    badge.setAttribute("aria-label", `${unread} unread`);
    this.#context.retitle(unread);
    this.onChange();
  }
}

function dialogList(context, current) {
  const {dialogs} = context;
  const list = h("ul", {class: "dialogs", "aria-label": "Dialogs"});
  const more = button("Show more", () => dialogs.more().catch((e) => toast(reasonOf(e), true)), {class: "more"});
  const show = () => {
    more.hidden = !dialogs.hasMore;
    list.replaceChildren(...dialogs.all.map(({user, unread, last_message: last}) =>
      h("li", {},
        h("a", {href: `#/messages/${user.id}`, "aria-current": user.id === current ? "page" : null},
          context.directory.avatar(user.id),
          h("span", {class: "who"},
            h("bdi", {class: "name"}, nameOf(user)),
            h("span", {class: "preview", dir: "auto"},
              last.from_user_id === context.me.id ? "You: " : "", last.content)),
          h("span", {class: "aside"},
            timeOf(last.created_at),
            unread ? h("b", {class: "badge", "aria-label": `${unread} unread`}, unread) : null)))));
    if (!dialogs.all.length) {
      list.replaceChildren(h("li", {class: "empty"}, "Nobody has written yet. ",
        h("a", {href: "#/people"}, "Find somebody"), " and begin."));
    }
  };
  dialogs.onChange = show;
  context.leave(() => (dialogs.onChange = () => {}));
  show();
  return h("section", {class: "inbox card"}, h("h1", {}, "Messages"), list, more);
}

/** The dialogs, and beside them the conversation with one user, if any. */
export async function messagesView(context, id = null) {
  if (id === context.me.id) id = null;
  const list = dialogList(context, id);
  if (id === null) {
    return {title: "Messages", element: h("div", {class: "messages"}, list,
      h("p", {class: "conversation card empty"}, "Choose somebody to talk to."))};
  }
  const user = await context.directory.get(id);
  if (!user) return {title: "Nobody", element: h("h1", {}, "There is nobody here.")};
  return {
    title: nameOf(user),
    element: h("div", {class: "messages open"}, list, new Conversation(context, user).element),
  };
}

class Conversation {
  #context;
  #user;
  #log;
  #area;
  #typing;
  #older;
  #shown = new Map();
  #waiting = new Map();
  #next = null;
  #readUpTo = 0;
  #peerReadUpTo = 0;
  #toldTyping = 0;
  #isFriend = false;
  #typingEnds;
  // Messages of one dialog are sent one after the other, and so arrive in their order.
  #sending = Promise.resolve();

  constructor(context, user) {
    this.#context = context;
    this.#user = user;
    this.#build();
    context.dialogs.open = user.id;
    context.leave(() => (context.dialogs.open = null));
    context.on("message.created", ({message}) => this.#arrived(message));
    context.on("message.read", (frame) => this.#wasRead(frame));
    context.on("typing", ({user_id}) => user_id === user.id && this.#showTyping());
    context.on("reload", () => this.#load());
    context.on("state", (state) => state === "live" && this.#sendAgain());
    const look = () => this.#markRead();
    document.addEventListener("visibilitychange", look);
    context.leave(() => document.removeEventListener("visibilitychange", look));
    this.#load();
  }

  #build() {
    const {directory} = this.#context;
    const {id} = this.#user;
    const actions = h("div", {class: "actions"});
    this.#older = button("Earlier messages", () => this.#loadOlder(), {class: "more", hidden: true});
    this.#log = h("ol", {class: "log", tabindex: 0, "aria-label": `Messages with ${nameOf(this.#user)}`},
      h("li", {class: "earlier"}, this.#older));
    this.#log.addEventListener("scroll", () => this.#log.scrollTop < 300 && this.#loadOlder());
    this.#typing = h("p", {class: "typing hint", role: "status"});
    const send = () => this.#submit();
    this.#area = textarea({placeholder: "Write a message", "aria-label": "Message"}, send);
    this.#area.addEventListener("input", () => this.#tellTyping());
    const form = h("form", {class: "composer"}, this.#area,
      h("button", {class: "primary round", "aria-label": "Send"}, icon("send")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
    this.element = h("section", {class: "conversation card"},
      h("header", {},
        h("a", {href: "#/messages", class: "back", "aria-label": "All dialogs"}, icon("back")),
        h("h1", {}, h("a", {href: `#/users/${id}`}, ...directory.face(id))), actions),
      this.#log, this.#typing, form);
    this.#showFriendship(actions);
    for (const type of ["friend.added", "friend.removed", "friend.requested"]) {
      this.#context.on(type, (frame) => frame.user_id === id && this.#showFriendship(actions));
    }
  }

  async #showFriendship(actions) {
    const {status} = await this.#context.client.get(`/friends/${this.#user.id}`).catch(() => ({}));
    this.#isFriend = status === "friends";
    const state = status && !this.#isFriend ? friendship(this.#context, this.#user.id, status) : null;
    actions.replaceChildren(...(state ? [state.element] : []));
  }

  // What was said

  async #load() {
    try {
      const {items, next} = await this.#page({limit: PAGE});
      this.#next = next;
      this.#shown.clear();
      this.#log.querySelectorAll("li:not(.earlier, .unsettled)").forEach((line) => line.remove());
      items.reverse().forEach((message) => this.#add(message));
      this.#older.hidden = next === null;
      this.#toEnd();
      this.#markRead();
    } catch (error) {
      toast(reasonOf(error), true);
    }
  }

  async #loadOlder() {
    if (this.#next === null || this.#older.disabled) return;
    this.#older.disabled = true;
    try {
      const {items, next} = await this.#page({limit: PAGE, before: this.#next});
      this.#next = next;
      // What is read stays where it is.
      const below = this.#log.scrollHeight - this.#log.scrollTop;
      items.reverse().forEach((message) => this.#add(message));
      this.#log.scrollTop = this.#log.scrollHeight - below;
      this.#older.hidden = next === null;
    } catch (error) {
      toast(reasonOf(error), true);
    } finally {
      this.#older.disabled = false;
    }
  }

  #page(query) {
    return this.#context.client.get(`/dialogs/${this.#user.id}/messages`, query);
  }

  #isMine(message) {
    return message.from_user_id === this.#context.me.id;
  }

  #bubble(message) {
    const isMine = this.#isMine(message);
    return h("li", {class: isMine ? "bubble mine" : "bubble"},
      h("span", {class: "unseen"}, isMine ? "You: " : `${this.#user.first_name}: `),
      typed(message.content),
      h("span", {class: "fate"},
        h("time", {datetime: message.created_at}, clockOf(message.created_at)),
        isMine ? h("span", {class: "mark"}) : null));
  }

  /** Put a message where its id belongs, once. */
  #add(message) {
    if (this.#shown.has(message.id)) return;
    const line = this.#bubble(message);
    line.dataset.message = message.id;
    line.dataset.day = dayOf(message.created_at);
    this.#shown.set(message.id, {message, line});
    const lines = [...this.#log.querySelectorAll("[data-message]")];
    const before = lines.findLast((other) => Number(other.dataset.message) < message.id);
    (before ?? this.#log.querySelector(".earlier")).after(line);
    if (this.#isMine(message) && message.read) this.#peerReadUpTo = Math.max(this.#peerReadUpTo, message.id);
    this.#mark();
  }

  /** Days between the messages, and of mine which were read. */
  #mark() {
    let day = null;
    for (const line of this.#log.querySelectorAll("[data-message]")) {
      const previous = line.previousElementSibling;
      const hasDay = previous.classList.contains("day");
      if (line.dataset.day === day) {
        if (hasDay) previous.remove();
      } else if (!hasDay) {
        line.before(h("li", {class: "day"}, line.dataset.day));
      } else {
        previous.textContent = line.dataset.day;
      }
      day = line.dataset.day;
      const mark = line.querySelector(".mark");
      if (mark) mark.textContent = Number(line.dataset.message) <= this.#peerReadUpTo ? "Read" : "Sent";
    }
  }

  #arrived(message) {
    const other = this.#isMine(message) ? message.to_user_id : message.from_user_id;
    if (other !== this.#user.id) return;
    const wasAtEnd = this.#isAtEnd();
    if (this.#isMine(message)) this.#settle(message);
    else {
      this.#hideTyping();
      this.#add(message);
      this.#markRead();
    }
    if (wasAtEnd) this.#toEnd();
  }

  #isAtEnd() {
    const {scrollHeight, scrollTop, clientHeight} = this.#log;
    return scrollHeight - scrollTop - clientHeight < 120;
  }

  #toEnd() {
    // The element may not be on the page yet.
    requestAnimationFrame(() => (this.#log.scrollTop = this.#log.scrollHeight));
  }

  async #markRead() {
    if (document.visibilityState !== "visible") return;
    const theirs = [...this.#shown.values()].filter(({message}) => !this.#isMine(message));
    const last = Math.max(0, ...theirs.map(({message}) => message.id));
    if (last <= this.#readUpTo) return;
    this.#readUpTo = last;
    this.#context.dialogs.read(this.#user.id);
    try {
      await this.#context.client.post(`/dialogs/${this.#user.id}/read`, {up_to: last});
    } catch {
      // At the next look it is told again.
      this.#readUpTo = 0;
    }
  }

  #wasRead({user_id, peer_id, up_to}) {
    if (user_id !== this.#user.id || peer_id !== this.#context.me.id) return;
    this.#peerReadUpTo = Math.max(this.#peerReadUpTo, up_to);
    this.#mark();
  }

  // What is said

  #submit() {
    const content = this.#area.value;
    if (!content.trim()) return;
    this.#area.value = "";
    this.#area.grow();
    this.#area.focus();
    const message = {
      content, client_id: newId(), from_user_id: this.#context.me.id,
      created_at: new Date().toISOString(),
    };
    const line = this.#bubble(message);
    line.classList.add("unsettled");
    this.#log.append(line);
    this.#waiting.set(message.client_id, {message, line, failed: null});
    this.#toEnd();
    this.#send(message.client_id);
  }

  #send(clientId) {
    const {message: {content, client_id}, line} = this.#waiting.get(clientId);
    line.querySelector(".fate").replaceChildren("Sending …");
    this.#waiting.get(clientId).failed = null;
    this.#sending = this.#sending.then(async () => {
      try {
        const path = `/dialogs/${this.#user.id}/messages`;
        this.#settle(await this.#context.client.post(path, {content, client_id}));
      } catch (error) {
        this.#failed(clientId, error);
      }
    });
  }

  #failed(clientId, error) {
    const waiting = this.#waiting.get(clientId);
    // Its event may have been here first.
    if (!waiting) return;
    waiting.failed = error;
    const discard = () => {
      this.#waiting.delete(clientId);
      waiting.line.remove();
      this.#area.value ||= waiting.message.content;
      this.#area.grow();
      this.#area.focus();
    };
    waiting.line.querySelector(".fate").replaceChildren(
      h("span", {class: "bad", role: "alert"}, `Not sent: ${reasonOf(error)} `),
      button("Try again", () => this.#send(clientId)),
      button("Discard", discard));
    this.#toEnd();
  }

  /** The network is back. The same client_id again is the same message, should it have arrived. */
  #sendAgain() {
    for (const [clientId, {failed}] of this.#waiting) {
      if (failed?.name === "Unreachable") this.#send(clientId);
    }
  }

  /** A message of mine is known to be sent: by the answer, or by the event, whichever was first. */
  #settle(message) {
    const waiting = this.#waiting.get(message.client_id);
    if (waiting) {
      this.#waiting.delete(message.client_id);
      waiting.line.remove();
    }
    this.#add(message);
  }

  // Typing

  #tellTyping() {
    if (!this.#isFriend || Date.now() - this.#toldTyping < TYPING_TOLD_MS) return;
    this.#toldTyping = Date.now();
    this.#context.client.typing(this.#user.id);
  }

  #showTyping() {
    this.#typing.replaceChildren(h("bdi", {}, this.#user.first_name), " is writing …");
    clearTimeout(this.#typingEnds);
    this.#typingEnds = setTimeout(() => this.#hideTyping(), TYPING_SHOWN_MS);
  }

  #hideTyping() {
    this.#typing.replaceChildren();
    // Whoever has sent may begin the next one at once.
    clearTimeout(this.#typingEnds);
  }
}
