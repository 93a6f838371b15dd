/**
 * Elements, times and lists. Whatever people have typed becomes a text node here, never markup:
 * no module of this page uses innerHTML, and the page's policy would not let it.
 */

/** An element: `h("p", {class: "note", onclick: f}, "text", another, [more])`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** One of the icons of index.html. Beside a text it says nothing; alone it needs a label. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function button(text, onclick, {symbol, ...attributes} = {}) {
  return h("button", {type: "button", onclick, ...attributes}, symbol ? icon(symbol) : null, text);
}

/** What somebody has typed, in the direction of its script. */
export const typed = (text, tag = "p", className = "typed") =>
  h(tag, {class: className, dir: "auto"}, text);

// Times

const exact = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "short"});
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "short"});
const day = new Intl.DateTimeFormat(undefined, {weekday: "long", day: "numeric", month: "long"});
const date = new Intl.DateTimeFormat(undefined, {dateStyle: "medium"});
const ago = new Intl.RelativeTimeFormat(undefined, {numeric: "auto", style: "short"});

export const dayOf = (text) => day.format(new Date(text));
export const clockOf = (text) => clock.format(new Date(text));
export const dateOf = (text) => date.format(new Date(`${text}T12:00`));

function relative(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  if (seconds > -45) return "now";
  for (const [unit, size, most] of [["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, 7]]) {
    if (-seconds < size * most) return ago.format(Math.round(seconds / size), unit);
  }
  return date.format(new Date(text));
}

export function timeOf(text) {
  const title = exact.format(new Date(text));
  return h("time", {datetime: text, title, class: "time"}, relative(text));
}

setInterval(() => {
  for (const time of document.querySelectorAll("time.time")) {
    time.textContent = relative(time.dateTime);
  }
}, 30_000);

// What is said without being asked

/** Said to those who cannot see it appear. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** A line at the lower edge, for some seconds. */
export function toast(text, isBad = false) {
  const line = h("p", {class: isBad ? "toast bad" : "toast", role: isBad ? "alert" : "status"}, text);
  byId("toasts").append(line);
  setTimeout(() => line.remove(), 6000);
}

/** What went wrong, in words for whoever asked. */
export function reasonOf(error) {
  if (error.name === "Unreachable") return "The service cannot be reached.";
  if (error.name !== "Problem") throw error;
  return error.errors.length ? error.errors.map(({msg}) => msg).join(". ") : error.message;
}

// Forms

/**
 * A labelled field. `hint` stands below it, and so does what the service says against it
 * (`complain`).
 */
export function field(label, name, {tag = "input", hint, ...attributes} = {}) {
  const id = `field-${name}`;
  const input = h(tag, {id, name, dir: "auto", "aria-describedby": `${id}-note`, ...attributes});
  if (attributes.value && tag === "textarea") input.value = attributes.value;
  const note = h("p", {id: `${id}-note`, class: "hint"}, hint ?? "");
  input.addEventListener("input", () => {
    input.removeAttribute("aria-invalid");
    note.textContent = hint ?? "";
  });
  return h("div", {class: "field"}, h("label", {for: id}, label), input, note);
}

/** Show each of a problem's errors at its field, the others in the form's own line. */
export function complain(form, error) {
  const line = form.querySelector("[role=alert]");
  const others = [];
  for (const {loc, msg} of error.errors ?? []) {
    const input = form.elements[loc.at(-1)];
    if (input) {
      input.setAttribute("aria-invalid", "true");
      byId(`${input.id}-note`).textContent = msg;
    } else {
      others.push(msg);
    }
  }
  if (!error.errors?.length) others.push(reasonOf(error));
  line.textContent = others.join(". ");
  form.querySelector("[aria-invalid]")?.focus();
}

/** Grows with its text; Enter sends, Shift and Enter begins a line (`sends`). */
export function textarea(attributes, sends = null) {
  const area = h("textarea", {rows: 1, maxlength: 4096, dir: "auto", ...attributes});
  const grow = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  };
  area.addEventListener("input", grow);
  area.grow = grow;
  if (sends) {
    area.addEventListener("keydown", (event) => {
      // Not the Enter that ends a word in Japanese.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      sends();
    });
  }
  return area;
}

// Lists without end

/**
 * A list that loads its next page before its end is seen. `page(cursor)` answers as the API does,
 * `show(item)` makes an element, `empty` is said where there is nothing.
 */
export class Endless {
  #page;
  #show;
  #empty;
  #next = null;
  #turn = 0;
  #isBusy = false;
  #more = button("Show more", () => this.#load(), {class: "more"});

  constructor({page, show, empty, tag = "div", ...attributes}) {
    this.#page = page;
    this.#show = show;
    this.#empty = h("div", {class: "empty"}, empty);
    this.list = h(tag, {class: "list", ...attributes});
    this.element = h("div", {class: "endless"}, this.list, this.#empty, this.#more);
    const nears = new IntersectionObserver(
      ([seen]) => seen.isIntersecting && this.#next !== null && this.#load(),
      {rootMargin: "800px"},
    );
    nears.observe(this.#more);
    this.#empty.hidden = true;
  }

  /** Read it from its beginning. */
  async reload() {
    this.#turn += 1;
    this.#next = null;
    this.#isBusy = false;
    await this.#load(true);
  }

  /** Something new at its beginning. */
  prepend(element) {
    this.list.prepend(element);
    this.#empty.hidden = true;
  }

  async #load(isFirst = this.#next === null) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const turn = this.#turn;
    this.#more.hidden = false;
    this.#more.textContent = "Loading …";
    this.element.setAttribute("aria-busy", "true");
    try {
      const {items, next} = await this.#page(isFirst ? null : this.#next);
      // Somebody has begun anew meanwhile.
      if (turn !== this.#turn) return;
      // What was not sent yet is in no page.
      if (isFirst) this.list.replaceChildren(...this.list.querySelectorAll("[data-kept]"));
      this.list.append(...items.map(this.#show));
      this.#next = next;
      this.#more.hidden = next === null;
      this.#more.textContent = "Show more";
      this.#empty.hidden = this.list.childElementCount > 0;
    } catch (error) {
      if (turn === this.#turn) this.#more.textContent = `${reasonOf(error)} Try again`;
    } finally {
      if (turn === this.#turn) {
        this.#isBusy = false;
        this.element.removeAttribute("aria-busy");
      }
    }
    // A short page may leave its end in sight.
    if (this.#next !== null && isInSight(this.#more)) await this.#load();
  }
}

function isInSight(element) {
  const {top, width} = element.getBoundingClientRect();
  return width > 0 && top < innerHeight + 800;
}
