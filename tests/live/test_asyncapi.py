"""The document of the websocket beside the contract."""

from __future__ import annotations

from typing import Any

import pytest

from hl_utils.servers.services import Api
from hlfast.frames import FRAMES
from tests.http import get
from tests.nodes import PATH

# What the contract lists, with the fields of each.
EVENT = {"cursor", "event_id"}
TO_ME = {
    "hello": {"user_id", "node", "cursor", "online"},
    "resumed": {"recovered"},
    "post.created": EVENT | {"post"},
    "post.updated": EVENT | {"post"},
    "post.deleted": EVENT | {"post_id"},
    "message.created": EVENT | {"message"},
    "message.read": EVENT | {"user_id", "peer_id", "up_to"},
    "friend.requested": EVENT | {"user_id"},
    "friend.added": EVENT | {"user_id"},
    "friend.removed": EVENT | {"user_id"},
    "typing": {"user_id"},
    "presence": {"user_id", "online"},
    "error": {"code", "detail"},
    # Asked for by superusers only.
    "lab": {
        "node", "clock_s", "cpu_s", "sockets", "users", "readers_behind", "frames", "writes",
        "events", "bounds_s", "lags",
    },
}  # fmt: skip
FROM_ME = {"typing": {"user_id"}, "token": {"access_token"}, "lab": set()}


@pytest.fixture(scope="module")
def document(api: Api) -> Any:
    answer = get(f"{api.url}/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def resolve(document: Any, reference: Any) -> Any:
    """What is meant, if it is a reference."""
    while "$ref" in reference:
        found = document
        for part in reference["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        reference = found
    return reference


def frames(document: Any, operation: str) -> dict[str, set[str]]:
    """The fields of each type, all of which are required."""
    found = {}
    for reference in document["operations"][operation]["messages"]:
        payload = resolve(document, resolve(document, reference)["payload"])
        kind = payload["properties"]["type"]
        assert set(payload["required"]) == payload["properties"].keys()
        for name in kind.get("enum", [kind.get("const")]):
            found[name] = payload["properties"].keys() - {"type"}
    return found


def test_the_frames_are_those_of_the_contract(document: Any) -> None:
    assert frames(document, "tell") == TO_ME
    assert frames(document, "hear") == FROM_ME
    # Over a stream nobody can ask.
    assert frames(document, "stream") == {k: v for k, v in TO_ME.items() if k != "lab"}


def test_the_document_is_whole(document: Any) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["live"]["address"] == "/ws"
    assert document["channels"]["events"]["address"] == PATH
    assert {server["protocol"] for server in document["servers"].values()} == {"ws", "http"}
    used = set()
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "$ref" in part:
                used.add(part["$ref"])
                assert resolve(document, part)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in used
    said = document["channels"]["live"]["description"]
    for code in (1001, 1007, 1008, 1009, 1011, 1013, 4429):
        assert str(code) in said
    for reason in ("invalid", "expired", "revoked"):
        assert f'"token {reason}"' in said


def test_every_frame_has_an_example_that_it_fits(document: Any) -> None:
    models = {frame.name: frame.model for frame in FRAMES}
    shown = set()
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            read = models[name].model_validate(example["payload"])
            # None of its fields is unknown, nor left out.
            assert read.model_dump().keys() == example["payload"].keys()
            assert example["name"] == example["payload"]["type"]
            shown.add((name in ("Typing", "Token", "Lab"), example["name"]))
    assert {name for from_me, name in shown if not from_me} == TO_ME.keys()
    assert {name for from_me, name in shown if from_me} == FROM_ME.keys()
