"""Posts: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec
from hlfast.db.database import Row
from hlfast.posts.schemas import show
from hlfast.posts.service import Posts
from hlfast.web.endpoint import PREFIX, Call, Reply


def _one(post: Row) -> Reply:
    return Reply(codec.encode(show([post])[0]), version=post["version"])


async def create(call: Call[Posts]) -> Reply:
    """POST /posts"""
    post, is_new = await call.service.create(call.me, call.body)
    location = f"{PREFIX}/posts/{post['id']}"
    return Reply(codec.encode(show([post])[0]), 201 if is_new else 200, location)


async def get(call: Call[Posts]) -> Reply:
    """GET /posts/{id}"""
    return _one(await call.service.get(call.me, call.id))


async def change(call: Call[Posts]) -> Reply:
    """PATCH /posts/{id}"""
    return _one(await call.service.change(call.me, call.id, call.body))


async def delete(call: Call[Posts]) -> Reply:
    """DELETE /posts/{id}"""
    await call.service.delete(call.me, call.token_version, call.id)
    return Reply()


async def wall(call: Call[Posts]) -> Reply:
    """GET /users/{id}/posts"""
    query = call.query
    return Reply(await call.service.wall(call.me, call.id, query.before, query.limit))


async def feed(call: Call[Posts]) -> Reply:
    """GET /feed"""
    return Reply(await call.service.feed(call.me, call.query.before, call.query.limit))
