"""POST and GET /dialogs/{user_id}/messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hlfast.text import is_visible
from tests.clients import Client


@pytest.fixture
def pair(client: Client) -> Sequence[Client]:
    """Two users: neither friends nor have they written before."""
    return client.user(), client.user()


def both_see(pair: Sequence[Client]) -> list[dict[str, Any]]:
    """The newest page, which is the same for both."""
    a, b = pair
    found = a.items(f"/dialogs/{b.id}/messages")
    assert b.items(f"/dialogs/{a.id}/messages") == found
    return found


def test_a_message(pair: Sequence[Client]) -> None:
    a, b = pair
    answer = a.post(f"/dialogs/{b.id}/messages", json={"content": "Hi"})
    assert answer.status_code == 201
    message = answer.json()
    assert message == {
        "id": 1,
        "from_user_id": a.id,
        "to_user_id": b.id,
        "content": "Hi",
        "client_id": None,
        "created_at": message["created_at"],
        "read": False,
    }
    sent = datetime.fromisoformat(message["created_at"])
    assert abs(sent - datetime.now(UTC)) < timedelta(hours=1)
    assert both_see(pair) == [message]


def test_ids_count_within_the_dialog(client: Client, pair: Sequence[Client]) -> None:
    a, b = pair
    other = client.user()
    writers = [(a, b), (b, a), (b, a), (a, b), (a, other), (other, a), (a, b)]
    sent = [me.send_to(them, str(n)) for n, (me, them) in enumerate(writers)]
    assert [message["id"] for message in sent] == [1, 2, 3, 4, 1, 2, 5]
    assert both_see(pair) == [sent[n] for n in (6, 3, 2, 1, 0)]
    assert both_see((a, other)) == [sent[5], sent[4]]
    times = [message["created_at"] for message in both_see(pair)]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("character", ["x", "é", "語", "😀", "\n", "\x01", "\\"])
def test_content_is_1_to_4096_characters(pair: Sequence[Client], character: str) -> None:
    a, b = pair
    # Something in it has to be seen.
    first = character if is_visible(character) else "x"
    sent = [a.send_to(b, first + character * length) for length in (0, 4095)]
    refused = a.post(f"/dialogs/{b.id}/messages", json={"content": character * 4097})
    assert refused.status_code == 422
    assert both_see(pair) == sent[::-1]
    assert sent[1]["content"] == first + character * 4095


@pytest.mark.parametrize(
    "fields",
    [
        {"content": ""},
        {"content": None},
        {"content": 5},
        {"content": "nul\0"},
        {"client_id": ""},
        {"client_id": "x" * 65},
        {"client_id": 5},
        {"client_id": "nul\0"},
        {"to_user_id": 1},
        {"read": True},
    ],
)
def test_what_is_no_message(pair: Sequence[Client], fields: dict[str, Any]) -> None:
    a, b = pair
    refused = a.post(f"/dialogs/{b.id}/messages", json={"content": "x"} | fields)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", *fields]
    assert a.post(f"/dialogs/{b.id}/messages", json={}).status_code == 422
    assert both_see(pair) == []
    assert a.items("/dialogs") == []


@pytest.mark.parametrize("client_id", ["1", "x" * 64, "語" * 64, "a b/c?d"])
def test_the_same_client_id_again_is_the_first_message(
    pair: Sequence[Client], client_id: str
) -> None:
    a, b = pair
    first = a.send_to(b, "first", client_id=client_id)
    assert first["client_id"] == client_id
    a.send_to(b, "between")
    again = {"content": "again", "client_id": client_id}
    answer = a.post(f"/dialogs/{b.id}/messages", json=again)
    assert (answer.status_code, answer.json()) == (200, first)
    assert [message["id"] for message in both_see(pair)] == [2, 1]
    assert b.items("/dialogs")[0]["unread"] == 2
    assert a.send_to(b)["id"] == 3


def test_the_first_message_comes_back_as_it_is_now(pair: Sequence[Client]) -> None:
    a, b = pair
    first = a.send_to(b, client_id="c")
    b.post(f"/dialogs/{a.id}/read", json={"up_to": 1})
    answer = a.post(f"/dialogs/{b.id}/messages", json={"content": "Hi", "client_id": "c"})
    assert (answer.status_code, answer.json()) == (200, first | {"read": True})


def test_client_ids_are_those_of_one_sender_in_one_dialog(
    client: Client, pair: Sequence[Client]
) -> None:
    a, b = pair
    other = client.user()
    sent = [
        a.send_to(b, client_id="c"),
        b.send_to(a, client_id="c"),
        a.send_to(other, client_id="c"),
        a.send_to(b, client_id="C"),
    ]
    assert [message["id"] for message in sent] == [1, 2, 1, 3]


def test_without_a_client_id_every_message_is_new(pair: Sequence[Client]) -> None:
    a, b = pair
    for fields in ({}, {}, {"client_id": None}):
        a.send_to(b, "same", **fields)
    assert len(both_see(pair)) == 3


def test_nobody_else_sees_it(client: Client, pair: Sequence[Client]) -> None:
    a, b = pair
    a.send_to(b, "between us")
    third = client.user()
    assert third.items(f"/dialogs/{a.id}/messages") == []
    assert third.items(f"/dialogs/{b.id}/messages") == []
    assert third.items("/dialogs") == []


@pytest.mark.parametrize("unknown", [0, -1, 2**31 - 1, 2**31, 2**32, 2**53, 10**30, "me", "x"])
def test_nobody_there(client: Client, unknown: int | str) -> None:
    me = client.user()
    assert me.get(f"/dialogs/{unknown}/messages").status_code == 404
    answer = me.post(f"/dialogs/{unknown}/messages", json={"content": "x"})
    assert answer.status_code == 404
    answer = me.post(f"/dialogs/{unknown}/read", json={"up_to": 1})
    assert answer.status_code == 404
    assert me.items("/dialogs") == []


def test_not_with_myself(client: Client) -> None:
    me = client.user()
    path = f"/dialogs/{me.id}"
    for answer in (
        me.post(f"{path}/messages", json={"content": "x"}),
        me.get(f"{path}/messages"),
        me.post(f"{path}/read", json={"up_to": 1}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["path", "user_id"]
    assert me.items("/dialogs") == []


def test_no_message_yet(pair: Sequence[Client]) -> None:
    a, b = pair
    for query in ({}, {"after": 0}, {"before": 5}):
        answer = a.get(f"/dialogs/{b.id}/messages", params=query)
        assert answer.json() == {"items": [], "next": None}
