"""What an answer or a frame must be like: status, shape, ids.

Messages of `Wrong` name no ids, so that equal errors are one row of the report.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

Body = dict[str, Any]
Check = Callable[[Any], None]


class Wrong(Exception):
    """The service did something else than it must."""


class Answer(NamedTuple):
    """An answer that is right. `body` is None where there is none."""

    status: int
    body: Any
    etag: str


def need(holds: bool, otherwise: str) -> None:
    """Raises Wrong with the text."""
    if not holds:
        raise Wrong(otherwise)


def read(response: Any, accept: Collection[int], check: Check | None) -> Answer:
    """Take a response apart. Raises Wrong."""
    status = response.status_code
    if not status:
        raise Wrong(f"no answer: {type(response.error).__name__}")
    content = response.content or b""
    if status not in accept:
        raise Wrong(f"{status} {_title(content)}".rstrip())
    etag = response.headers.get("etag") or ""
    if status in (204, 304):
        need(not content, f"{status} with a body")
        return Answer(status, None, etag)
    body = _decode(content)
    if check is not None and status < 400:
        check(body)
    return Answer(status, body, etag)


def _decode(content: bytes | str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise Wrong("not JSON") from None


def _title(content: bytes) -> str:
    try:
        return str(json.loads(content)["title"])
    except (ValueError, KeyError, TypeError):
        return "without a problem+json"


_TEXT, _OPTIONAL = (str,), (str, type(None))
_ID = (int,)
Shape = Mapping[str, tuple[type, ...]]
USER: Shape = {
    "id": _ID,
    "username": _TEXT,
    "first_name": _TEXT,
    "last_name": _TEXT,
    "birthdate": _OPTIONAL,
    "bio": _OPTIONAL,
    "city": _OPTIONAL,
    "country": _OPTIONAL,
}
POST: Shape = {
    "id": _ID,
    "author_id": _ID,
    "content": _TEXT,
    "privacy": _TEXT,
    "created_at": _TEXT,
    "updated_at": _TEXT,
}
MESSAGE: Shape = {
    "id": _ID,
    "from_user_id": _ID,
    "to_user_id": _ID,
    "content": _TEXT,
    "client_id": _OPTIONAL,
    "created_at": _TEXT,
    "read": (bool,),
}
TOKENS: Shape = {
    "access_token": _TEXT,
    "refresh_token": _TEXT,
    "token_type": _TEXT,
    "expires_in": _ID,
}
_OF_USER: Shape = {"user_id": _ID}
_EVENT: Shape = {"cursor": _TEXT, "event_id": _TEXT}
FRAMES: Mapping[str, Shape] = {
    "hello": {"user_id": _ID, "node": _TEXT, "cursor": _TEXT, "online": (list,)},
    "resumed": {"recovered": (bool,)},
    "post.created": {**_EVENT, "post": (dict,)},
    "post.updated": {**_EVENT, "post": (dict,)},
    "post.deleted": {**_EVENT, "post_id": _ID},
    "message.created": {**_EVENT, "message": (dict,)},
    "message.read": {**_EVENT, "user_id": _ID, "peer_id": _ID, "up_to": _ID},
    "friend.requested": {**_EVENT, **_OF_USER},
    "friend.added": {**_EVENT, **_OF_USER},
    "friend.removed": {**_EVENT, **_OF_USER},
    "typing": _OF_USER,
    "presence": {**_OF_USER, "online": (bool,)},
    "error": {"code": _TEXT, "detail": _TEXT},
}
_NESTED = {"post": POST, "message": MESSAGE}


def has(shape: Shape, **values: Any) -> Check:
    """An object of the shape, in which these fields have just these values."""

    def check(body: Any) -> None:
        need(isinstance(body, dict), "not an object")
        for field, types in shape.items():
            need(type(body.get(field)) in types, f"{field} is missing or of another type")
        for field, value in values.items():
            need(body[field] == value, f"{field} is not what it must be")

    return check


def page(shape: Shape, *, ascending: bool, limit: int = 20, **values: Any) -> Check:
    """A list of objects of the shape by id, each of which has these values."""
    one = has(shape, **values)

    def check(body: Any) -> None:
        items = paged(body, limit)
        for item in items:
            one(item)
        ids = [item["id"] for item in items]
        need(ids == sorted(set(ids), reverse=not ascending), "ids are not in order")

    return check


def paged(body: Any, limit: int) -> list[Any]:
    """The items of a list. Raises Wrong."""
    need(isinstance(body, dict) and {"items", "next"} <= body.keys(), "not a list")
    items = body["items"]
    need(isinstance(items, list) and len(items) <= limit, "too many items, or none at all")
    return list(items)


def found(limit: int, **prefixes: str) -> Check:
    """A page of users whose names begin so."""
    users = page(USER, ascending=True, limit=limit)

    def check(body: Any) -> None:
        users(body)
        for field, prefix in prefixes.items():
            fits = (_key(user[field]).startswith(_key(prefix)) for user in body["items"])
            need(all(fits), f"{field} does not begin as asked")

    return check


def _key(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def dialogs(body: Any) -> None:
    """The list of dialogs. Raises Wrong."""
    user, message = has(USER), has(MESSAGE)
    for item in paged(body, 20):
        need(isinstance(item, dict), "a dialog is not an object")
        user(item.get("user"))
        message(item.get("last_message"))
        need(type(item.get("unread")) is int and item["unread"] >= 0, "unread is no number")


def begins_with(check: Check, id_: int) -> Check:
    """A list in which this item is the first, as its writer must see it."""

    def with_it(body: Any) -> None:
        check(body)
        need([item["id"] for item in body["items"][:1]] == [id_], "own write is not there")

    return with_it


def frame(text: str | bytes) -> Body:
    """A frame of the websocket. Raises Wrong."""
    body: Any = _decode(text)
    need(isinstance(body, dict), "a frame is not an object")
    shape = FRAMES.get(body.get("type"))
    if shape is None:
        raise Wrong("a frame of no known type")
    has(shape)(body)
    for name, nested in _NESTED.items():
        if name in shape:
            has(nested)(body[name])
    return dict(body)


def encode(body: Body) -> str:
    """A frame to send."""
    return json.dumps(body, separators=(",", ":"))


def ids(body: Any) -> Iterable[int]:
    """The ids of a list's items."""
    return (item["id"] for item in body["items"])
