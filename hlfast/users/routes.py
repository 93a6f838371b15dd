"""Users: HTTP to service and back."""

from __future__ import annotations

from hlfast import codec
from hlfast.profiles import Profile, profile
from hlfast.users.service import Users
from hlfast.web.endpoint import PREFIX, Call, Reply


def _one(user: Profile) -> Reply:
    return Reply(user.body, version=user.version)


async def login(call: Call[Users]) -> Reply:
    """POST /login"""
    form = call.body
    if form.grant_type == "refresh_token":
        pair = await call.service.renew(form.refresh_token)
    else:
        pair = await call.service.login(
            username=form.username, password=form.password, address=call.address
        )
    return Reply(codec.encode(pair))


async def logout(call: Call[Users]) -> Reply:
    """POST /logout"""
    await call.service.logout(call.body.refresh_token)
    return Reply()


async def register(call: Call[Users]) -> Reply:
    """POST /users"""
    user = await call.service.register(call.body, address=call.address)
    return Reply(profile(user).body, location=f"{PREFIX}/users/{user['id']}")


async def get_me(call: Call[Users]) -> Reply:
    """GET /users/me"""
    return _one(await call.service.get(call.me))


async def change_me(call: Call[Users]) -> Reply:
    """PATCH /users/me"""
    return _one(await call.service.change(call.me, call.body))


async def change_password(call: Call[Users]) -> Reply:
    """POST /users/me/password"""
    body = call.body
    await call.service.change_password(
        call.me, old=body.old_password, new=body.new_password, address=call.address
    )
    return Reply()


async def get(call: Call[Users]) -> Reply:
    """GET /users/{id}"""
    return _one(await call.service.get(call.id))


async def several(call: Call[Users]) -> Reply:
    """GET /users"""
    ids = [int(text) for text in call.query.ids.split(",") if text]
    found = await call.service.several(ids)
    return Reply(codec.page_of([user.body for user in found], None))


async def administer(call: Call[Users]) -> Reply:
    """PATCH /users/{id}"""
    given = "disabled" in call.body.model_fields_set
    user = await call.service.administer(
        call.me, call.token_version, call.id, disabled=call.body.disabled if given else None
    )
    return _one(profile(user))


async def search(call: Call[Users]) -> Reply:
    """GET /users/search"""
    return Reply(await call.service.search(call.query))
