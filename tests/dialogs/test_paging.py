"""Paging through messages, both ways, and through dialogs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from hl_utils.servers.services import Api
from tests.clients import Client

LIMITS = [1, 2, 5, 20, 24, 25, 26, 100]


class Talk(NamedTuple):
    """Two users, and what they wrote to each other, newest first."""

    pair: Sequence[Client]
    messages: Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def talk(api: Api) -> Talk:
    """25 messages."""
    with Client(api.url) as client:
        a, b = client.user(), client.user()
        turns = [(a, b) if number % 3 else (b, a) for number in range(25)]
        sent = [me.send_to(them, str(number)) for number, (me, them) in enumerate(turns)]
        return Talk((a, b), sent[::-1])


def all_items(pages: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The items of all pages."""
    return [item for page in pages for item in page]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("who", [0, 1])
def test_all_pages_both_ways(talk: Talk, who: int, limit: int) -> None:
    me, other = talk.pair[who], talk.pair[1 - who]
    path = f"/dialogs/{other.id}/messages"
    back = me.pages(path, "before", limit=limit)
    forth = me.pages(path, "after", limit=limit, after=0)
    assert all_items(back) == talk.messages
    assert all_items(forth) == talk.messages[::-1]
    for pages in (back, forth):
        assert all(len(page) == limit for page in pages[:-1])


def test_before_and_after_a_message(talk: Talk) -> None:
    me, other = talk.pair
    path = f"/dialogs/{other.id}/messages"

    def ids(**query: int) -> list[int]:
        return [message["id"] for message in me.items(path, **query)]

    assert ids() == list(range(25, 5, -1))
    assert ids(after=0) == list(range(1, 21))
    assert ids(before=4) == [3, 2, 1]
    assert ids(after=22) == [23, 24, 25]
    assert ids(before=1) == ids(after=25) == ids(after=2**53 - 1) == []
    assert ids(before=2**53 - 1, limit=2) == [25, 24]


def test_one_way_at_a_time(talk: Talk) -> None:
    me, other = talk.pair
    answer = me.get(f"/dialogs/{other.id}/messages", params={"before": 9, "after": 3})
    assert answer.status_code == 422


def test_reading_on_from_the_last_message_that_i_have(client: Client) -> None:
    a, b = client.user(), client.user()
    seen: list[int] = []
    for count in (3, 0, 1, 5):
        for _ in range(count):
            b.send_to(a)
        new = a.items(f"/dialogs/{b.id}/messages", after=seen[-1] if seen else 0)
        seen += [message["id"] for message in new]
    assert seen == list(range(1, 10))


@pytest.fixture(scope="module")
def talkative(api: Api) -> tuple[Client, list[int]]:
    """Somebody with 25 dialogs, and the others by latest activity."""
    with Client(api.url) as client:
        others = [client.user() for _ in range(12)]
        me = client.user()  # in the middle: ids below mine and above
        others += [client.user() for _ in range(13)]
        for other in others:
            me.send_to(other)
        awake, asleep = others[3:20:4], [other for other in others if other not in others[3:20:4]]
        for other in awake:
            other.send_to(me)
        return me, [other.id for other in (asleep + awake)[::-1]]


@pytest.mark.parametrize("limit", LIMITS)
def test_all_pages_of_dialogs(talkative: tuple[Client, list[int]], limit: int) -> None:
    me, order = talkative
    pages = me.pages("/dialogs", "before", limit=limit)
    assert [dialog["user"]["id"] for dialog in all_items(pages)] == order
    assert all(len(page) == limit for page in pages[:-1])


def test_20_dialogs_are_on_a_page_unless_asked_otherwise(
    talkative: tuple[Client, list[int]],
) -> None:
    me, order = talkative
    page = me.get("/dialogs").json()
    assert [dialog["user"]["id"] for dialog in page["items"]] == order[:20]
    last = me.get("/dialogs", params={"before": page["next"]}).json()
    assert [dialog["user"]["id"] for dialog in last["items"]] == order[20:]
    assert last["next"] is None
