"""Dialogs: HTTP to service and back."""

from __future__ import annotations

from typing import Any

from hlfast import codec, profiles
from hlfast.context import Call
from hlfast.db.database import Row
from hlfast.dialogs import service
from hlfast.web.endpoint import Reply
from hlfast.web.fields import page


def _show(message: Row, me: int, other: int) -> dict[str, Any]:
    author = message["from_user_id"]
    return {
        "id": message["id"],
        "from_user_id": author,
        "to_user_id": other if author == me else me,
        "content": message["content"],
        "client_id": message["client_id"],
        "created_at": message["created_at"],
        "read": message["read"],
    }


async def send(call: Call) -> Reply:
    """POST /dialogs/{user_id}/messages"""
    context = call.context
    message, is_new = await service.send(
        context.dialogs, context.users, call.me, call.id, call.body
    )
    return Reply(codec.encode(_show(message, call.me, call.id)), 201 if is_new else 200)


async def messages(call: Call) -> Reply:
    """GET /dialogs/{user_id}/messages"""
    context, query = call.context, call.query
    found = await service.page(
        context.dialogs,
        context.users,
        call.me,
        call.id,
        before=query.before,
        after=query.after,
        limit=query.limit,
    )
    cursor = found[-1]["id"] if found else None
    shown = [_show(message, call.me, call.id) for message in found]
    return Reply(codec.encode(page(shown, query.limit, cursor)))


async def listing(call: Call) -> Reply:
    """GET /dialogs"""
    context, query = call.context, call.query
    found, cursor = await service.listing(
        context.dialogs, context.users, call.me, query.before, query.limit
    )
    items = [
        {
            "user": profiles.show([user])[0],
            "last_message": _show(row, call.me, user["id"]),
            "unread": row["unread"],
        }
        for row, user in found
    ]
    return Reply(codec.encode({"items": items, "next": cursor}))


async def read(call: Call) -> Reply:
    """POST /dialogs/{user_id}/read"""
    context = call.context
    await service.mark_read(context.dialogs, context.users, call.me, call.id, call.body.up_to)
    return Reply()
