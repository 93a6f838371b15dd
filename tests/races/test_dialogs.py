"""Both sides write at once while others read on: nothing is missed, nothing is miscounted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import Any

from bench.crowd import Crowd, Line, Person
from hl_utils.servers.services import Api

SENDS = 100  # of each side
WRITERS = 5  # of each side, each on a line of its own
READERS = 3  # of each side
SMALL_PAGE = 7


async def write(line: Line, me: Person, to: Person, texts: Sequence[str]) -> dict[int, str]:
    """The acknowledged messages, text by id."""
    sent = {}
    for text in texts:
        answer = await line.ask(me.ask("POST", f"/dialogs/{to.id}/messages", {"content": text}))
        assert answer.status == 201, answer
        sent[answer.json["id"]] = text
    return sent


async def follow(line: Line, me: Person, other: Person, total: int, limit: int) -> list[Any]:
    """Everything of the dialog, read by `after` from its beginning while it grows."""
    found: list[Any] = []
    while len(found) < total:
        last = found[-1]["id"] if found else 0
        path = f"/dialogs/{other.id}/messages?after={last}&limit={limit}"
        answer = await line.ask(me.ask("GET", path))
        assert answer.status == 200, answer
        found += answer.json["items"]
    return found


def test_readers_that_page_by_after_miss_nothing_of_two_hundred_sends(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 2 * (WRITERS + READERS)) as crowd:
            for _ in range(2):
                await one_round(crowd)

    async def one_round(crowd: Crowd) -> None:
        a, b = await crowd.people(2)
        lines = iter(crowd.lines)
        share = SENDS // WRITERS
        writing = [
            write(next(lines), me, to, [f"{me.id}/{w}/{n}" for n in range(share)])
            for me, to in ((a, b), (b, a))
            for w in range(WRITERS)
        ]
        reading = [
            follow(next(lines), me, other, 2 * SENDS, limit)
            for me, other in ((a, b), (b, a))
            for limit in (SMALL_PAGE, 1, 100)
        ]
        done = await asyncio.gather(*writing, *reading)
        sent = {}
        for acknowledged in done[: len(writing)]:
            assert not sent.keys() & acknowledged.keys(), "one id for two messages"
            sent |= acknowledged
            # What one connection sends one after the other stays in that order.
            assert list(acknowledged) == sorted(acknowledged)
        assert sorted(sent) == [*range(1, 2 * SENDS + 1)]
        for messages in done[len(writing) :]:
            assert [message["id"] for message in messages] == [*range(1, 2 * SENDS + 1)]
            assert {message["id"]: message["content"] for message in messages} == sent
            times = [datetime.fromisoformat(message["created_at"]) for message in messages]
            assert times == sorted(times)
        for me, other in ((a, b), (b, a)):
            [dialog] = (await crowd.ask(me.ask("GET", "/dialogs"))).json["items"]
            assert dialog["unread"] == SENDS
            assert dialog["last_message"]["id"] == 2 * SENDS
            assert dialog["user"]["id"] == other.id

    asyncio.run(run())


async def mark(line: Line, me: Person, other: Person, marks: Sequence[int]) -> None:
    for up_to in marks:
        answer = await line.ask(me.ask("POST", f"/dialogs/{other.id}/read", {"up_to": up_to}))
        assert answer.status == 204, answer


def test_unread_is_exact_after_writing_and_reading_at_once(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 16) as crowd:
            for seed in range(6):
                await one_round(crowd, Random(seed))

    async def one_round(crowd: Crowd, random: Random) -> None:
        a, b = await crowd.people(2)
        first = a.ask("POST", f"/dialogs/{b.id}/messages", {"content": "first"})
        assert (await crowd.ask(first)).status == 201
        lines = iter(crowd.lines)
        sent = 20
        work = [
            write(next(lines), me, to, [str(n) for n in range(sent)])
            for me, to in ((a, b), (b, a))
            for _ in range(4)
        ]
        # Marks come out of order and from several devices: they never go back.
        marks = {me.id: random.sample(range(1, 4 * sent), 12) for me in (a, b)}
        work += [
            mark(next(lines), me, to, marks[me.id][device::4])
            for me, to in ((a, b), (b, a))
            for device in range(4)
        ]
        await asyncio.gather(*work)
        pages = [
            await crowd.ask(a.ask("GET", f"/dialogs/{b.id}/messages?limit=100&after={after}"))
            for after in (0, 100)
        ]
        messages = [message for page in pages for message in page.json["items"]]
        assert [message["id"] for message in messages] == [*range(1, 8 * sent + 2)]
        for me, other in ((a, b), (b, a)):
            [dialog] = (await crowd.ask(me.ask("GET", "/dialogs"))).json["items"]
            theirs = [m for m in messages if m["from_user_id"] == other.id]
            unread = [m["id"] for m in theirs if not m["read"]]
            assert dialog["unread"] == len(unread)
            # A mark past the newest message of its moment means that one, so the mark
            # that counts is at most the largest one asked for.
            read = [m["id"] for m in theirs if m["read"]]
            assert max(read, default=0) < min(unread, default=2**53)
            assert max(read, default=0) <= max(marks[me.id])
            last = f"/dialogs/{other.id}/read"
            assert (await crowd.ask(me.ask("POST", last, {"up_to": len(messages)}))).status == 204
            assert (await crowd.ask(me.ask("POST", last, {"up_to": 1}))).status == 204
            [dialog] = (await crowd.ask(me.ask("GET", "/dialogs"))).json["items"]
            assert dialog["unread"] == 0

    asyncio.run(run())


def test_the_list_of_dialogs_follows_those_who_write_at_once(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 30) as crowd:
            me, *others = await crowd.people(16)
            for _ in range(3):
                await crowd.at_once(
                    [
                        ask
                        for other in others
                        for ask in (
                            other.ask("POST", f"/dialogs/{me.id}/messages", {"content": "hi"}),
                            me.ask("POST", f"/dialogs/{other.id}/messages", {"content": "hi"}),
                        )
                    ]
                )
            found: list[Any] = []
            before = ""
            while True:
                page = (await crowd.ask(me.ask("GET", f"/dialogs?limit=4{before}"))).json
                found += page["items"]
                if page["next"] is None:
                    break
                before = f"&before={page['next']}"
            assert sorted(item["user"]["id"] for item in found) == sorted(o.id for o in others)
            assert {item["unread"] for item in found} == {3}
            assert {item["last_message"]["id"] for item in found} == {6}
            times = [datetime.fromisoformat(item["last_message"]["created_at"]) for item in found]
            assert times == sorted(times, reverse=True)

    asyncio.run(run())
