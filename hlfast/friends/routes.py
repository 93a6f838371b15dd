"""Friends: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec, profiles
from hlfast.friends.service import ASKED_ME, ASKED_THEM, FRIENDS, Friends
from hlfast.web.endpoint import Call, Reply
from hlfast.web.fields import first, page


async def put(call: Call[Friends]) -> Reply:
    """PUT /friends/{user_id}"""
    status = await call.service.request(call.me, call.id)
    return Reply(codec.encode({"status": status}))


async def delete(call: Call[Friends]) -> Reply:
    """DELETE /friends/{user_id}"""
    await call.service.remove(call.me, call.id)
    return Reply()


async def get(call: Call[Friends]) -> Reply:
    """GET /friends/{user_id}"""
    status = await call.service.status(call.me, call.id)
    return Reply(codec.encode({"status": status}))


async def _page(call: Call[Friends], state: int) -> Reply:
    query = call.query
    found = await call.service.page(call.me, state, query.after, query.limit + 1)
    shown, more = first(found, query.limit)
    cursor = shown[-1]["id"] if more else None
    return Reply(codec.encode(page(profiles.show(shown), cursor)))


async def friends(call: Call[Friends]) -> Reply:
    """GET /friends"""
    return await _page(call, FRIENDS)


async def requests(call: Call[Friends]) -> Reply:
    """GET /friends/requests"""
    return await _page(call, ASKED_ME if call.query.direction == "in" else ASKED_THEM)
