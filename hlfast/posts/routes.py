"""Posts: HTTP to service and back."""

from __future__ import annotations

from functools import partial

from hlfast import codec
from hlfast.context import Call
from hlfast.db.database import Row
from hlfast.posts import service
from hlfast.posts.schemas import show
from hlfast.web.endpoint import PREFIX, Reply
from hlfast.web.fields import first, page


def _one(post: Row) -> Reply:
    return Reply(codec.encode(show([post])[0]), version=post["version"])


async def create(call: Call) -> Reply:
    """POST /posts"""
    post, is_new = await service.create(call.context.main, call.context.outbox, call.me, call.body)
    location = f"{PREFIX}/posts/{post['id']}"
    return Reply(codec.encode(show([post])[0]), 201 if is_new else 200, location)


async def get(call: Call) -> Reply:
    """GET /posts/{id}"""
    return _one(await service.get(call.context.main, call.me, call.id))


async def change(call: Call) -> Reply:
    """PATCH /posts/{id}"""
    post = await service.change(call.context.main, call.context.outbox, call.me, call.id, call.body)
    return _one(post)


async def delete(call: Call) -> Reply:
    """DELETE /posts/{id}"""
    context = call.context
    token_version = context.authenticator.token_version(call.head.authorization)
    await service.delete(context.main, context.outbox, call.me, token_version, call.id)
    return Reply()


async def wall(call: Call) -> Reply:
    """GET /users/{id}/posts"""
    context, query = call.context, call.query
    found = await service.wall(
        context.reads, context.users, call.me, call.id, query.before, query.limit + 1
    )
    posts, more = first(found, query.limit)
    return Reply(codec.encode(page(show(posts), posts[-1]["id"] if more else None)))


async def feed(call: Call) -> Reply:
    """GET /feed"""
    context, query = call.context, call.query

    async def make() -> bytes:
        posts, cursor = await service.feed(
            context.reads,
            call.me,
            query.before,
            query.limit,
            posts_max=context.settings.feed_posts_max,
        )
        return codec.encode(page(show(posts), cursor))

    key = (call.me, query.before, query.limit)
    return Reply(await context.bodies.kept(key, partial(context.feed_marks.get, call.me), make))
