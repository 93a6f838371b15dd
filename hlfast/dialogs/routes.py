"""Dialogs: HTTP to service and back."""

from __future__ import annotations

from functools import partial

from hlfast import codec
from hlfast.context import Call
from hlfast.dialogs import service
from hlfast.dialogs.schemas import show
from hlfast.web.endpoint import Reply
from hlfast.web.fields import first, page


async def send(call: Call) -> Reply:
    """POST /dialogs/{user_id}/messages"""
    context = call.context
    message, is_new = await service.send(context.sender, context.users, call.me, call.id, call.body)
    return Reply(codec.encode(show(message, call.me, call.id)), 201 if is_new else 200)


async def messages(call: Call) -> Reply:
    """GET /dialogs/{user_id}/messages"""
    context, query = call.context, call.query
    dialog = service.between(call.me, call.id)

    async def make() -> bytes:
        found = await service.page(
            context.dialogs,
            context.users,
            context.dialog_marks,
            dialog,
            call.id,
            before=query.before,
            after=query.after,
            limit=query.limit + 1,
        )
        shown, more = first([show(message, call.me, call.id) for message in found], query.limit)
        return codec.encode(page(shown, shown[-1]["id"] if more else None))

    # The same to both of them.
    key = (dialog, query.before, query.after, query.limit)
    return Reply(await context.bodies.kept(key, partial(context.dialog_marks.get, dialog), make))


async def listing(call: Call) -> Reply:
    """GET /dialogs"""
    context, query = call.context, call.query
    found, cursor, is_whole = await service.listing(
        context.dialogs, context.nodes, context.users, call.me, query.before, query.limit
    )
    items = [
        {
            "user": codec.encoded(user),
            "last_message": show(row, call.me, peer),
            "unread": row["unread"],
        }
        for row, peer, user in found
    ]
    shown = page(items, cursor)
    if not is_whole:
        shown["incomplete"] = True
    return Reply(codec.encode(shown))


async def read(call: Call) -> Reply:
    """POST /dialogs/{user_id}/read"""
    context = call.context
    await service.mark_read(
        context.dialogs,
        context.users,
        context.dialogs_outbox,
        call.me,
        call.id,
        call.body.up_to,
    )
    return Reply()
