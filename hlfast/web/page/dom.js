/**
 * Elements, times, forms, lists. What people have typed becomes a text node here, never markup.
 */

/** An element: `h("p", {class: "note", onclick: f}, "text", another, [more])`. */
export function h(tag, attributes = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else if (value === true) element.setAttribute(name, "");
		else if (value || value === 0) element.setAttribute(name, value);
	}
	element.append(...children.flat(2).filter((child) => child || child === 0));
	return element;
}

export const byId = (id) => document.getElementById(id);

/** A button that waits for its work, and says what went wrong with it. */
export function button(text, work, attributes = {}) {
	const onclick = async () => {
		element.disabled = true;
		try {
			await work();
		} catch (error) {
			toast(reasonOf(error), true);
		} finally {
			element.disabled = false;
		}
	};
	const element = h("button", {type: "button", onclick, ...attributes}, text);
	return element;
}

/** What somebody has typed, in the direction of its script. */
export const typed = (text) => h("p", {class: "typed", dir: "auto"}, text);

// Times

const format = (options) => {
	const formatter = new Intl.DateTimeFormat(undefined, options);
	return (text) => formatter.format(new Date(text));
};
export const clockOf = format({timeStyle: "short"});
export const dayOf = format({weekday: "long", day: "numeric", month: "long"});
export const dateOf = format({dateStyle: "medium"});
const ago = new Intl.RelativeTimeFormat(undefined, {numeric: "auto", style: "short"});

function relative(text) {
	const seconds = (Date.now() - new Date(text)) / 1000;
	if (seconds < 45) return "now";
	for (const [unit, size, most] of [["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, 7]]) {
		if (seconds < size * most) return ago.format(-Math.round(seconds / size), unit);
	}
	return dateOf(text);
}

export const timeOf = (text) =>
	h("time", {datetime: text, title: new Date(text).toLocaleString(), class: "hint ago"}, relative(text));

setInterval(() => {
	for (const time of document.querySelectorAll(".ago")) time.textContent = relative(time.dateTime);
}, 30_000);

/** Say it to those who cannot see it. */
export const announce = (text) => (byId("announcer").textContent = text);

/** A line at the lower edge, for some seconds. */
export function toast(text, isBad = false) {
	const line = h("p", {class: "toast", role: isBad ? "alert" : "status"}, text);
	byId("toasts").append(line);
	setTimeout(() => line.remove(), 6000);
}

/** What went wrong, for whoever asked. A mistake of this page is thrown on. */
export function reasonOf(error) {
	if (error.name !== "Problem" && error.name !== "Unreachable") throw error;
	return error.errors?.length ? error.errors.map(({msg}) => msg).join(". ") : error.message;
}

// Forms

/** A labelled field; below it stands a hint, or what the service says against it. */
export function field(label, name, {tag = "input", hint = "", value, ...attributes} = {}) {
	const note = `${name}-note`;
	const input = h(tag, {id: name, name, dir: "auto", "aria-describedby": note, ...attributes});
	input.value = value ?? "";
	return h("div", {class: "field"},
		h("label", {for: name}, label), input, h("p", {id: note, class: "hint"}, hint));
}

/** A form whose work is `submit(fields)`. What the service says against it is shown in it. */
export function form({submit, ...attributes}, ...children) {
	const line = h("p", {role: "alert", class: "bad"});
	const element = h("form", {novalidate: true, ...attributes}, ...children);
	element.querySelector(".primary").before(line);
	element.addEventListener("submit", async (event) => {
		event.preventDefault();
		line.textContent = "";
		element.querySelectorAll("[aria-invalid]").forEach((it) => it.removeAttribute("aria-invalid"));
		try {
			await submit(Object.fromEntries(new FormData(element)));
		} catch (error) {
			const others = (error.errors ?? []).filter(({loc, msg}) => {
				const input = element.elements[loc.at(-1)];
				input?.setAttribute("aria-invalid", "true");
				if (input) byId(`${input.id}-note`).textContent = msg;
				return !input;
			});
			if (others.length || !error.errors?.length) line.textContent = reasonOf(error);
			element.querySelector("[aria-invalid]")?.focus();
		}
	});
	return element;
}

/** Grows with its text. With `send`, Enter calls it, and Shift and Enter begins a line. */
export function textarea(attributes, send = null) {
	const area = h("textarea", {rows: 1, maxlength: 4096, dir: "auto", ...attributes});
	const grow = () => {
		area.style.height = "auto";
		area.style.height = `${area.scrollHeight + 2}px`;
	};
	area.addEventListener("input", grow);
	area.fill = (text) => {
		area.value = text;
		grow();
		area.focus();
	};
	area.addEventListener("keydown", (event) => {
		// Not the Enter that ends a word in Japanese.
		if (!send || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
		event.preventDefault();
		send();
	});
	return area;
}

// Lists without end

/**
 * A list that loads its next page before its end is seen. `page(cursor)` answers as the API does,
 * `show(item)` makes an element, `empty` is said where there is nothing.
 */
export function endless({page, show, empty, tag = "section", label}) {
	const list = h(tag, {class: "list", "aria-label": label});
	const nothing = h("p", {class: "empty", hidden: true}, empty);
	const more = button("Show more", load, {class: "more"});
	let cursor = null;
	let turn = 0;
	// It also speaks when it begins to look: a short page is followed by the next one.
	const near = new IntersectionObserver(
		([seen]) => seen.isIntersecting && more.click(), {rootMargin: "800px"});

	async function load() {
		const mine = ++turn;
		const from = cursor;
		near.disconnect();
		more.hidden = false;
		const {items, next} = await page(from);
		// Somebody has begun anew meanwhile.
		if (mine !== turn) return;
		// What was not sent yet is in no page.
		if (from === null) list.replaceChildren(...list.querySelectorAll(".unsettled"));
		list.append(...items.map(show));
		cursor = next;
		more.hidden = next === null;
		more.textContent = "Show more";
		nothing.hidden = list.childElementCount > 0;
		if (next !== null) near.observe(more);
	}

	function reload() {
		cursor = null;
		load().catch((error) => (more.textContent = `${reasonOf(error)} Try again`));
	}

	function prepend(element) {
		list.prepend(element);
		nothing.hidden = true;
	}

	reload();
	return {element: h("div", {class: "endless"}, list, nothing, more), list, reload, prepend};
}
