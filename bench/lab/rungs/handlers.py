"""The handlers of the two rungs without FastAPI: a call in, status and bytes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from bench.lab.rungs import sessions, store
from bench.lab.rungs.store import ID_MAX, Fetch, Refused
from bench.peers.fastapi.models import MessageIn
from hlfast import codec


@dataclass(slots=True)
class Call:
    """What a request asks, whoever took it apart. `user_id`: that of the path, as text."""

    user_id: str
    query: Mapping[str, str]
    authorization: str
    body: bytes


Handler = Callable[[Fetch, Call], Awaitable[tuple[int, bytes]]]


def number(text: str, low: int, high: int) -> int:
    """A number of a path or a query. Raises Refused."""
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise Refused(422, f"{text!r} is no number from {low} to {high}")
    return int(text)


def _limit(call: Call) -> int:
    return number(call.query.get("limit", "20"), 1, 100)


def _user_id(call: Call) -> int:
    return number(call.user_id, 1, 2**31 - 1)


async def _me(fetch: Fetch, call: Call) -> int:
    scheme, _, token = call.authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(401, "Not authenticated")
    return await store.caller(fetch, token)


async def _login(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    form = parse_qs(call.body.decode())
    name, password = form.get("username", [""])[0], form.get("password", [""])[0]
    return 200, codec.encode(await sessions.log_in(fetch, name, password))


async def _search(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    names = call.query.get("first_name", ""), call.query.get("last_name", "")
    after = number(call.query.get("after", "0"), 0, ID_MAX)
    return 200, codec.encode(await store.search(fetch, *names, after, _limit(call)))


async def _user(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    return 200, codec.encode(await store.user(fetch, _user_id(call)))


async def _feed(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    return 200, codec.encode(await store.feed(fetch, await _me(fetch, call), _limit(call)))


async def _messages(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    me = await _me(fetch, call)
    before = number(call.query.get("before", str(ID_MAX)), 1, ID_MAX)
    found = await store.messages(fetch, me, _user_id(call), before, _limit(call))
    return 200, codec.encode(found)


async def _send(fetch: Fetch, call: Call) -> tuple[int, bytes]:
    me = await _me(fetch, call)
    new = MessageIn.model_validate_json(call.body)
    sent, is_new = await store.send(fetch, me, _user_id(call), new.content, new.client_id)
    return 201 if is_new else 200, codec.encode(sent)


# By method, and by path with {user_id} where that stands.
HANDLERS: dict[tuple[str, str], Handler] = {
    ("POST", "/api/v1/login"): _login,
    ("GET", "/api/v1/users/search"): _search,
    ("GET", "/api/v1/users/{user_id}"): _user,
    ("GET", "/api/v1/feed"): _feed,
    ("GET", "/api/v1/dialogs/{user_id}/messages"): _messages,
    ("POST", "/api/v1/dialogs/{user_id}/messages"): _send,
}


def refusal(error: Refused) -> tuple[int, bytes]:
    """The response for an error."""
    return error.status, codec.encode({"detail": error.detail})
