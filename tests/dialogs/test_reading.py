"""POST /dialogs/{user_id}/read, `unread` and `read`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.clients import Client


@pytest.fixture
def pair(client: Client) -> Sequence[Client]:
    """Two users; the first one has the lower id."""
    return client.user(), client.user()


def unread(me: Client, other: Client) -> int:
    """What the list of my dialogs says."""
    dialogs = me.items("/dialogs")
    return next(int(item["unread"]) for item in dialogs if item["user"]["id"] == other.id)


def read(me: Client, other: Client, up_to: Any) -> int:
    """The status of a read mark."""
    return me.post(f"/dialogs/{other.id}/read", json={"up_to": up_to}).status_code


def marks(me: Client, other: Client) -> list[int]:
    """The ids of the messages that are read, which both see alike."""
    mine = me.items(f"/dialogs/{other.id}/messages", limit=100)
    theirs = other.items(f"/dialogs/{me.id}/messages", limit=100)
    assert mine == theirs
    return sorted(message["id"] for message in mine if message["read"])


@pytest.mark.parametrize("who", [0, 1])
def test_unread_counts_what_the_other_wrote_after_my_mark(pair: Sequence[Client], who: int) -> None:
    me, other = pair[who], pair[1 - who]
    for number in range(1, 11):  # odd ones are to me
        (other if number % 2 else me).send_to(me if number % 2 else other)
    assert (unread(me, other), unread(other, me)) == (5, 5)
    assert marks(me, other) == []
    for up_to, left in ((1, 4), (2, 4), (3, 3), (7, 1), (8, 1), (9, 0), (10, 0)):
        assert read(me, other, up_to) == 204
        assert (unread(me, other), unread(other, me)) == (left, 5)
        assert marks(me, other) == list(range(1, up_to + 1, 2))
    assert read(other, me, 4) == 204
    assert unread(other, me) == 3
    assert marks(me, other) == [1, 2, 3, 4, 5, 7, 9]


@pytest.mark.parametrize("who", [0, 1])
def test_the_mark_never_goes_back(pair: Sequence[Client], who: int) -> None:
    me, other = pair[who], pair[1 - who]
    for _ in range(5):
        other.send_to(me)
    for up_to in (4, 1, 3, 4):
        assert read(me, other, up_to) == 204
        assert unread(me, other) == 1
        assert marks(me, other) == [1, 2, 3, 4]


def test_beyond_the_newest_is_the_newest(pair: Sequence[Client]) -> None:
    me, other = pair
    for _ in range(3):
        other.send_to(me)
    for up_to in (4, 2**31, 2**53 - 1):
        assert read(me, other, up_to) == 204
        assert unread(me, other) == 0
    other.send_to(me)  # is not read yet
    assert unread(me, other) == 1
    assert marks(me, other) == [1, 2, 3]


def test_new_messages_count_on(pair: Sequence[Client]) -> None:
    me, other = pair
    for count in range(1, 4):
        other.send_to(me)
        assert unread(me, other) == count
    me.send_to(other)
    assert (unread(me, other), unread(other, me)) == (3, 1)
    read(me, other, 4)
    assert unread(me, other) == 0
    other.send_to(me)
    assert unread(me, other) == 1


def test_my_own_messages_are_not_unread(pair: Sequence[Client]) -> None:
    me, other = pair
    me.send_to(other)
    assert unread(me, other) == 0
    assert read(me, other, 1) == 204
    assert unread(other, me) == 1
    assert marks(me, other) == []


def test_before_there_is_a_dialog(pair: Sequence[Client]) -> None:
    me, other = pair
    assert read(me, other, 1) == 204
    assert me.items("/dialogs") == other.items("/dialogs") == []
    other.send_to(me)
    assert unread(me, other) == 1


@pytest.mark.parametrize("up_to", [0, -1, -(2**63), 2**53, 2**63, 2**64 - 1])
def test_ids_out_of_range(pair: Sequence[Client], up_to: int) -> None:
    me, other = pair
    other.send_to(me)
    assert read(me, other, up_to) == 404
    assert unread(me, other) == 1


@pytest.mark.parametrize("up_to", ["1", 1.0, 1.5, True, None, [1], {}, "", 2**64])
def test_what_is_no_id(pair: Sequence[Client], up_to: Any) -> None:
    me, other = pair
    other.send_to(me)
    assert read(me, other, up_to) == 422
    assert me.post(f"/dialogs/{other.id}/read", json={}).status_code == 422
    more = {"up_to": 1, "more": 1}
    assert me.post(f"/dialogs/{other.id}/read", json=more).status_code == 422
    assert unread(me, other) == 1


def test_a_third_one_is_not_concerned(client: Client, pair: Sequence[Client]) -> None:
    me, other = pair
    third = client.user()
    other.send_to(me)
    third.send_to(me)
    assert read(me, third, 1) == 204
    assert (unread(me, other), unread(me, third)) == (1, 0)
    assert read(third, other, 1) == 204
    assert unread(me, other) == 1
