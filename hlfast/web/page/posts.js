/** Posts: written, shown, changed; the feed and the walls, which end where the posts do. */

import {newId} from "./client.js";
import {announce, button, endless, h, reasonOf, textarea, timeOf, typed} from "./dom.js";
import {nameOf, profileHead} from "./people.js";

const PRIVACY = {public: "Everyone", friends: "Friends only"};

const privacyChoice = (chosen) =>
	h("select", {"aria-label": "Who may see it"},
		Object.entries(PRIVACY).map(([value, text]) =>
			h("option", {value, selected: value === chosen}, text)));

/** A post; its author may change and delete it. */
function card(context, post) {
	const [avatar, name] = context.directory.face(post.author_id);
	const isEdited = post.updated_at !== post.created_at;
	const article = h("article",
		{class: "post card", "data-post": post.id, "data-author": post.author_id},
		h("header", {}, avatar, h("a", {href: `#/users/${post.author_id}`}, name),
			h("p", {class: "hint"}, timeOf(post.created_at), isEdited && " · edited", " · ",
				PRIVACY[post.privacy])),
		typed(post.content));
	if (post.id && post.author_id === context.me.id) {
		article.append(h("footer", {class: "actions"},
			button("Edit", () => edit(context, article, post), {class: "quiet"}),
			button("Delete", () => remove(context, article, post), {class: "quiet"})));
	}
	return article;
}

function edit(context, article, post) {
	const area = textarea({"aria-label": "The post"});
	const privacy = privacyChoice(post.privacy);
	const back = (shown) => {
		article.replaceWith(shown);
		shown.querySelector("footer button").focus();
	};
	const save = async () => {
		const changes = {content: area.value, privacy: privacy.value};
		back(card(context, await context.client.patch(`/posts/${post.id}`, changes)));
	};
	article.replaceChildren(area, h("div", {class: "actions end"}, privacy,
		button("Save", save, {class: "primary"}),
		button("Cancel", () => back(card(context, post)))));
	area.fill(post.content);
}

async function remove(context, article, post) {
	if (!confirm("Delete this post for good?")) return;
	await context.client.delete(`/posts/${post.id}`);
	article.remove();
}

/** Where posts are written; each is seen at once, with whatever becomes of it. */
function composer(context, list) {
	const area = textarea({rows: 2, placeholder: "What is on your mind?", "aria-label": "A new post"});
	const privacy = privacyChoice("public");
	const publish = (post) => {
		const now = new Date().toISOString();
		const author_id = context.me.id;
		const shown = card(context, {...post, author_id, created_at: now, updated_at: now});
		const fate = h("p", {class: "fate hint", role: "status"});
		const send = async () => {
			fate.replaceChildren("Posting …");
			try {
				const made = await context.client.post("/posts", post);
				shown.replaceWith(card(context, made));
				announce("Posted.");
			} catch (error) {
				// Under the same client_id it is the same post, should it have arrived.
				fate.replaceChildren(`Not posted: ${reasonOf(error)}`, button("Try again", send),
					button("Discard", () => {
						shown.remove();
						area.fill(area.value || post.content);
					}));
			}
		};
		shown.append(fate);
		shown.classList.add("unsettled");
		list.prepend(shown);
		send();
	};
	const onsubmit = (event) => {
		event.preventDefault();
		const content = area.value;
		area.fill("");
		if (content.trim()) publish({content, privacy: privacy.value, client_id: newId()});
	};
	return h("form", {class: "composer card", onsubmit},
		area, h("div", {class: "actions end"}, privacy, h("button", {class: "primary"}, "Post")));
}

/** A list of posts; what happens to them elsewhere happens to them here. */
function postList(context, path, label, empty, prepend) {
	const list = endless({
		label, empty,
		page: (before) => context.client.get(path, {before}),
		show: (post) => card(context, post),
	});
	const shown = (id) => list.list.querySelector(`[data-post="${id}"]`);
	context.on("post.created", ({post}) => shown(post.id) || prepend(post, card(context, post)));
	context.on("post.updated", ({post}) => shown(post.id)?.replaceWith(card(context, post)));
	context.on("post.deleted", ({post_id}) => shown(post_id)?.remove());
	context.on("reload", () => list.reload());
	return list;
}

/** What friends write, as they write it. */
export function feedView(context) {
	const empty = ["Nothing yet. ", h("a", {href: "#/people"}, "Find some friends"),
		", and read here what they write."];
	const list = postList(context, "/feed", "Posts of your friends", empty, async (post, shown) => {
		const author = await context.directory.get(post.author_id).catch(() => null);
		announce(`${nameOf(author)} has posted.`);
		list.prepend(shown);
	});
	context.on("friend.added friend.removed", () => list.reload());
	return {
		title: "Feed",
		element: [h("h1", {class: "unseen"}, "Feed"), composer(context, list), list.element],
	};
}

/** The posts of one user that I may see. */
export async function wallView(context, id) {
	const user = context.directory.note(await context.client.get(`/users/${id}`));
	const isMe = id === context.me.id;
	const empty = isMe ? "You have not written anything yet." : "Nothing that you may see.";
	const list = postList(context, `/users/${id}/posts`, `Posts of ${nameOf(user)}`, empty,
		(post, shown) => post.author_id === id && list.prepend(shown));
	context.on("friend.added friend.removed", ({user_id}) => user_id === id && list.reload());
	return {
		title: nameOf(user),
		element: [profileHead(context, user), isMe && composer(context, list), list.element],
	};
}
