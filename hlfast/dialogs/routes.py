"""Dialogs: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec
from hlfast.dialogs.schemas import show
from hlfast.dialogs.service import Dialogs
from hlfast.web.endpoint import Call, Reply
from hlfast.web.fields import page


async def send(call: Call[Dialogs]) -> Reply:
    """POST /dialogs/{user_id}/messages"""
    message, is_new = await call.service.send(call.me, call.id, call.body)
    return Reply(message, 201 if is_new else 200)


async def messages(call: Call[Dialogs]) -> Reply:
    """GET /dialogs/{user_id}/messages"""
    return Reply(await call.service.page(call.me, call.id, call.query))


async def listing(call: Call[Dialogs]) -> Reply:
    """GET /dialogs"""
    found = await call.service.listing(call.me, call.query.before, call.query.limit)
    items = [
        {
            "user": codec.encoded(user),
            "last_message": show(row, call.me, peer),
            "unread": row["unread"],
        }
        for row, peer, user in found.dialogs
    ]
    shown = page(items, found.cursor)
    if not found.is_whole:
        shown["incomplete"] = True
    return Reply(codec.encode(shown))


async def read(call: Call[Dialogs]) -> Reply:
    """POST /dialogs/{user_id}/read"""
    await call.service.mark_read(call.me, call.id, call.body.up_to)
    return Reply()
