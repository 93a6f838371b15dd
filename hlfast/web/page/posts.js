/** Posts: written, shown, changed; the feed and the walls, which end where the posts do. */

import {newId} from "./client.js";
import {
  announce, button, Endless, h, icon, reasonOf, textarea, timeOf, toast, typed,
} from "./dom.js";
import {nameOf, profileHead} from "./people.js";

const PRIVACY = {public: ["globe", "Everyone"], friends: ["lock", "Friends"]};

function privacyChoice(chosen = "public") {
  return h("select", {"aria-label": "Who may see it"},
    Object.entries(PRIVACY).map(([value, [, text]]) =>
      h("option", {value, selected: value === chosen}, text)));
}

/** A post; its author may change and delete it. */
export function card(context, post) {
  const [symbol, text] = PRIVACY[post.privacy];
  const isMine = post.author_id === context.me.id;
  const article = h("article", {class: "post card", "data-post": post.id, "data-author": post.author_id});
  const [avatar, name] = context.directory.face(post.author_id);
  const isChanged = post.updated_at !== post.created_at;
  article.append(
    h("header", {},
      avatar,
      h("a", {href: `#/users/${post.author_id}`}, name),
      h("span", {class: "hint"},
        timeOf(post.created_at), isChanged ? " · edited" : "", " · ",
        h("span", {class: "privacy"}, icon(symbol), text)),
    ),
    typed(post.content),
  );
  if (isMine && post.id) {
    article.append(h("footer", {class: "actions"},
      button("Edit", () => edit(context, article, post), {class: "quiet"}),
      button("Delete", (event) => remove(context, article, post, event.target), {class: "quiet"}),
    ));
  }
  return article;
}

function edit(context, article, post) {
  const area = textarea({"aria-label": "The post"});
  area.value = post.content;
  const privacy = privacyChoice(post.privacy);
  const back = (shown) => {
    article.replaceWith(shown);
    shown.querySelector("footer button").focus();
  };
  const save = button("Save", async () => {
    save.disabled = true;
    try {
      const changes = {content: area.value, privacy: privacy.value};
      back(card(context, await context.client.patch(`/posts/${post.id}`, changes)));
    } catch (error) {
      save.disabled = false;
      toast(reasonOf(error), true);
    }
  }, {class: "primary"});
  const cancel = button("Cancel", () => back(card(context, post)));
  article.replaceChildren(area, h("div", {class: "actions"}, privacy, save, cancel));
  area.grow();
  area.focus();
}

/** The first press asks, the second one deletes. */
async function remove(context, article, post, pressed) {
  if (!pressed.classList.contains("bad")) {
    pressed.classList.add("bad");
    pressed.textContent = "Delete for good?";
    setTimeout(() => {
      pressed.classList.remove("bad");
      pressed.textContent = "Delete";
    }, 4000);
    return;
  }
  pressed.disabled = true;
  try {
    await context.client.delete(`/posts/${post.id}`);
  } catch (error) {
    pressed.disabled = false;
    if (error.status !== 404) {
      toast(reasonOf(error), true);
      return;
    }
  }
  article.remove();
  announce("Deleted.");
}

/** Where posts are written. What is sent is seen at once, with whatever becomes of it. */
function composer(context, list) {
  const area = textarea({
    rows: 2, placeholder: "What is on your mind?", "aria-label": "A new post",
  });
  const privacy = privacyChoice();
  const form = h("form", {class: "composer card"},
    area,
    h("div", {class: "actions"}, privacy, h("button", {class: "primary"}, "Post")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const content = area.value;
    if (!content.trim()) {
      area.focus();
      return;
    }
    area.value = "";
    area.grow();
    publish({content, privacy: privacy.value, client_id: newId()});
  });

  function publish(post) {
    const now = new Date().toISOString();
    const shown = card(context, {...post, author_id: context.me.id, created_at: now, updated_at: now});
    const said = h("p", {class: "fate hint", role: "status"});
    shown.append(said);
    shown.dataset.kept = "";
    list.prepend(shown);
    const send = async () => {
      shown.classList.add("unsettled");
      said.replaceChildren("Posting …");
      try {
        const made = card(context, await context.client.post("/posts", post));
        shown.replaceWith(made);
        announce("Posted.");
      } catch (error) {
        // Sent again under the same client_id it is the same post, should it have arrived.
        said.replaceChildren(
          `Not posted: ${reasonOf(error)} `,
          button("Try again", send),
          button("Discard", () => {
            area.value ||= post.content;
            area.grow();
            shown.remove();
            area.focus();
          }),
        );
      } finally {
        shown.classList.remove("unsettled");
      }
    };
    send();
  }
  return form;
}

/** What happens to posts elsewhere happens to those in a list. */
function follow(context, list, prepend) {
  const shown = (id) => list.list.querySelector(`[data-post="${id}"]`);
  context.on("post.created", ({post}) => shown(post.id) || prepend(post));
  context.on("post.updated", ({post}) => shown(post.id)?.replaceWith(card(context, post)));
  context.on("post.deleted", ({post_id}) => shown(post_id)?.remove());
  context.on("reload", () => list.reload());
}

/** What friends write, as they write it. */
export function feedView(context) {
  const list = new Endless({
    tag: "section", "aria-label": "Posts of your friends",
    empty: ["Nothing yet. ", h("a", {href: "#/people"}, "Find some friends"), ", and read here what they write."],
    page: (before) => context.client.get("/feed", {before}),
    show: (post) => card(context, post),
  });
  const waiting = [];
  const news = button("", () => {
    waiting.splice(0).forEach((post) => list.prepend(card(context, post)));
    news.hidden = true;
    scrollTo({top: 0, behavior: "smooth"});
  }, {class: "news primary", hidden: true});
  follow(context, list, (post) => {
    context.directory.get(post.author_id).then((user) => announce(`${nameOf(user)} has posted.`), () => {});
    // Nothing moves under the eyes of who reads further below.
    if (scrollY < 200) {
      list.prepend(card(context, post));
    } else if (!waiting.some(({id}) => id === post.id)) {
      waiting.push(post);
      news.textContent = waiting.length === 1 ? "1 new post" : `${waiting.length} new posts`;
      news.hidden = false;
    }
  });
  context.on("friend.added", () => list.reload());
  context.on("friend.removed", ({user_id}) => {
    list.list.querySelectorAll(`[data-author="${user_id}"]`).forEach((post) => post.remove());
  });
  list.reload();
  return {
    title: "Feed",
    element: [h("h1", {class: "unseen"}, "Feed"), composer(context, list), news, list.element],
  };
}

/** The posts of one user that I may see. */
export async function wallView(context, id) {
  context.directory.forget(id);
  const user = await context.directory.get(id);
  if (!user) return {title: "Nobody", element: h("h1", {}, "There is nobody here.")};
  const isMe = id === context.me.id;
  const list = new Endless({
    tag: "section", "aria-label": `Posts of ${nameOf(user)}`,
    empty: isMe ? "You have not written anything yet." : "Nothing that you may see.",
    page: (before) => context.client.get(`/users/${id}/posts`, {before}),
    show: (post) => card(context, post),
  });
  follow(context, list, (post) => post.author_id === id && list.prepend(card(context, post)));
  for (const type of ["friend.added", "friend.removed"]) {
    context.on(type, ({user_id}) => user_id === id && list.reload());
  }
  list.reload();
  return {
    title: nameOf(user),
    element: [profileHead(context, user), isMe ? composer(context, list) : null, list.element],
  };
}
