"""FRAMES: what is parsed by it, and what is built."""

from __future__ import annotations

import pytest

from hlfast import codec, frames
from hlfast.errors import Malformed


def test_every_frame_of_a_node_is_built_as_its_example() -> None:
    for row in frames.FRAMES:
        if row.from_client:
            continue
        assert [example["type"] for example in row.examples] == list(row.types)
        for example in row.examples:
            fields = {name: value for name, value in example.items() if name != "type"}
            assert codec.decode(frames.build(example["type"], fields)) == example


def test_a_field_that_is_missing_is_noticed() -> None:
    with pytest.raises(ValueError, match="presence lacks"):
        frames.build("presence", {"user_id": 1})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("presence", {"user_id": 1, "online": True, "since": "2031-01-01"}),
        ("group.created", {"group_id": 1}),
    ],
    ids=["a new field", "a new type"],
)
def test_an_event_of_a_newer_release_passes(kind: str, fields: dict[str, object]) -> None:
    assert codec.decode(frames.build(kind, fields)) == {"type": kind, **fields}


def test_every_frame_of_a_client_is_parsed() -> None:
    for row in frames.FRAMES:
        for example in row.examples if row.from_client else ():
            found = frames.parse(codec.encode(example).decode())
            assert found.model_dump() == example


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "1", "{}", '{"type": 1}', '{"type": ["typing"]}', '{"type": "hello"}'),
        *('{"type": "typing"}', '{"type": "typing", "user_id": "1"}'),
        *('{"type": "typing", "user_id": true}', '{"type": "typing", "user_id": 1.5}'),
        *('{"type": "token"}', '{"type": "token", "access_token": "пароль"}'),
    ],
)
def test_what_is_no_frame_of_a_client_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as refused:
        frames.parse(text)
    assert "пароль" not in refused.value.detail
