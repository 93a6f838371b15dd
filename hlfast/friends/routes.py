"""Friends: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec, profiles
from hlfast.context import Call
from hlfast.friends import service
from hlfast.web.endpoint import Reply
from hlfast.web.fields import first, page


async def put(call: Call) -> Reply:
    """PUT /friends/{user_id}"""
    context = call.context
    status = await service.request(
        context.main, context.outbox, call.me, call.id, friends_max=context.settings.friends_max
    )
    return Reply(codec.encode({"status": status}))


async def delete(call: Call) -> Reply:
    """DELETE /friends/{user_id}"""
    await service.remove(call.context.main, call.context.outbox, call.me, call.id)
    return Reply()


async def get(call: Call) -> Reply:
    """GET /friends/{user_id}"""
    status = await service.status(call.context.main, call.me, call.id)
    return Reply(codec.encode({"status": status}))


async def _page(call: Call, state: int) -> Reply:
    query = call.query
    found = await service.page(call.context.main, call.me, state, query.after, query.limit + 1)
    shown, more = first(found, query.limit)
    cursor = shown[-1]["id"] if more else None
    return Reply(codec.encode(page(profiles.show(shown), cursor)))


async def friends(call: Call) -> Reply:
    """GET /friends"""
    return await _page(call, service.FRIENDS)


async def requests(call: Call) -> Reply:
    """GET /friends/requests"""
    asked_me = call.query.direction == "in"
    return await _page(call, service.ASKED_ME if asked_me else service.ASKED_THEM)
