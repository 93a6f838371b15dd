"""Users: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec
from hlfast.context import Call
from hlfast.profiles import Profile, profile
from hlfast.users import service
from hlfast.web.endpoint import PREFIX, Reply


def _one(user: Profile) -> Reply:
    return Reply(user.body, version=user.version)


async def login(call: Call) -> Reply:
    """POST /login"""
    form, context = call.body, call.context
    if form.grant_type == "refresh_token":
        pair = await context.sessions.renew(form.refresh_token)
    else:
        pair = await service.login(
            context.main,
            context.passwords,
            context.sessions,
            context.login_failures,
            username=form.username,
            password=form.password,
            address=call.address,
        )
    return Reply(codec.encode(pair))


async def logout(call: Call) -> Reply:
    """POST /logout"""
    await call.context.sessions.end(call.body.refresh_token)
    return Reply()


async def register(call: Call) -> Reply:
    """POST /users"""
    user = await service.register(
        call.context.main, call.context.passwords, call.body, address=call.address
    )
    return Reply(profile(user).body, location=f"{PREFIX}/users/{user['id']}")


async def get_me(call: Call) -> Reply:
    """GET /users/me"""
    return _one(await service.get(call.context.users, call.me))


async def change_me(call: Call) -> Reply:
    """PATCH /users/me"""
    context = call.context
    user = await service.change(context.main, context.users, context.bodies, call.me, call.body)
    return _one(user)


async def change_password(call: Call) -> Reply:
    """POST /users/me/password"""
    context = call.context
    await service.change_password(
        context.main,
        context.passwords,
        context.authenticator,
        context.password_failures,
        call.me,
        old=call.body.old_password,
        new=call.body.new_password,
        address=call.address,
    )
    return Reply()


async def get(call: Call) -> Reply:
    """GET /users/{id}"""
    return _one(await service.get(call.context.users, call.id))


async def several(call: Call) -> Reply:
    """GET /users"""
    ids = [int(text) for text in call.query.ids.split(",") if text]
    found = await service.several(call.context.users, ids)
    return Reply(codec.page_of([user.body for user in found], None))


async def administer(call: Call) -> Reply:
    """PATCH /users/{id}"""
    given = "disabled" in call.body.model_fields_set
    user = await service.administer(
        call.context.main,
        call.context.authenticator,
        call.me,
        call.context.authenticator.token_version(call.head.authorization),
        call.id,
        disabled=call.body.disabled if given else None,
    )
    return _one(profile(user))


async def search(call: Call) -> Reply:
    """GET /users/search"""
    context, query = call.context, call.query
    return Reply(await service.search(context.reads, context.searches, context.bodies, query))
