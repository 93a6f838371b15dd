"""Users: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec, profiles
from hlfast.context import Call
from hlfast.db.database import Row
from hlfast.users import service
from hlfast.web.endpoint import PREFIX, Reply
from hlfast.web.fields import page


def _one(user: Row) -> Reply:
    return Reply(codec.encode(profiles.show([user])[0]), version=user["version"])


async def login(call: Call) -> Reply:
    """POST /login"""
    form, context = call.body, call.context
    if form.grant_type == "refresh_token":
        pair = await service.refresh(context.main, context.tokens, form.refresh_token)
    else:
        pair = await service.login(
            context.main,
            context.passwords,
            context.tokens,
            context.login_failures,
            username=form.username,
            password=form.password,
            address=call.address,
        )
    return Reply(codec.encode(pair))


async def register(call: Call) -> Reply:
    """POST /users"""
    user = await service.register(call.context.main, call.context.passwords, call.body)
    return Reply(codec.encode(profiles.show([user])[0]), location=f"{PREFIX}/users/{user['id']}")


async def get_me(call: Call) -> Reply:
    """GET /users/me"""
    return _one(await service.get(call.context.users, call.me))


async def change_me(call: Call) -> Reply:
    """PATCH /users/me"""
    return _one(await service.change(call.context.main, call.context.users, call.me, call.body))


async def change_password(call: Call) -> Reply:
    """POST /users/me/password"""
    context = call.context
    await service.change_password(
        context.main,
        context.passwords,
        context.authenticator,
        call.me,
        old=call.body.old_password,
        new=call.body.new_password,
    )
    return Reply()


async def get(call: Call) -> Reply:
    """GET /users/{id}"""
    return _one(await service.get(call.context.users, call.id))


async def administer(call: Call) -> Reply:
    """PATCH /users/{id}"""
    given = "disabled" in call.body.model_fields_set
    user = await service.administer(
        call.context.main,
        call.context.authenticator,
        call.me,
        call.id,
        disabled=call.body.disabled if given else None,
    )
    return _one(user)


async def search(call: Call) -> Reply:
    """GET /users/search"""
    found = await service.search(call.context.reads, call.query)
    cursor = found[-1]["id"] if found else None
    return Reply(codec.encode(page(profiles.show(found), call.query.limit, cursor)))
