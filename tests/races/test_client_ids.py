"""A client that repeats itself: one `client_id`, one row."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bench.crowd import Answer, Crowd
from hl_utils.servers.services import Api
from hl_utils.servers.sql import connect

AT_ONCE = 50


def the_first(answers: list[Answer]) -> Answer:
    """The one 201; every other answer is a 200 that says the same."""
    assert Counter(answer.status for answer in answers) == {201: 1, 200: len(answers) - 1}
    assert len({answer.body for answer in answers}) == 1
    return answers[0]


def test_a_post_sent_fifty_times_at_once_is_one_post(two_processes: Api) -> None:
    async def run() -> None:
        connection = await connect(two_processes.settings["DATABASE_URL"])
        async with Crowd(two_processes.url, AT_ONCE) as crowd:
            me, other = await crowd.people(2)
            for number in range(4):
                post = {"content": f"text {number}", "client_id": f"post {number}"}
                answers = await crowd.at_once([me.ask("POST", "/posts", post)] * AT_ONCE)
                first = the_first(answers)
                assert {answer.headers["location"] for answer in answers} == {
                    f"/api/v1/posts/{first.json['id']}"
                }
            # The same client_id of somebody else is another post; with other words it is not.
            post = {"content": "other words", "client_id": "post 0"}
            assert (await crowd.ask(other.ask("POST", "/posts", post))).status == 201
            repeated = await crowd.ask(me.ask("POST", "/posts", post))
            assert (repeated.status, repeated.json["content"]) == (200, "text 0")
            rows = await connection.rows("SELECT content FROM post WHERE author_id = $1", me.id)
        await connection.close()
        assert sorted(content for (content,) in rows) == [f"text {n}" for n in range(4)]

    asyncio.run(run())


@pytest.mark.parametrize("dialog", ["new", "old"])
def test_a_message_sent_fifty_times_at_once_is_one_message(dialog: str, two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, AT_ONCE) as crowd:
            for _ in range(8):
                await one_round(crowd)

    async def one_round(crowd: Crowd) -> None:
        a, b = await crowd.people(2)
        count = 0
        if dialog == "old":
            hello = b.ask("POST", f"/dialogs/{a.id}/messages", {"content": "hello"})
            assert (await crowd.ask(hello)).json["id"] == 1
            count = 1
        message = {"content": "once", "client_id": "the same"}
        ask = a.ask("POST", f"/dialogs/{b.id}/messages", message)
        first = the_first(await crowd.at_once([ask] * AT_ONCE))
        assert first.json["id"] == count + 1
        # The same client_id of the other one is another message.
        answer = await crowd.ask(b.ask("POST", f"/dialogs/{a.id}/messages", message))
        assert (answer.status, answer.json["id"]) == (201, count + 2)
        page = await crowd.ask(a.ask("GET", f"/dialogs/{b.id}/messages"))
        assert [message["id"] for message in page.json["items"]] == [*range(count + 2, 0, -1)]
        for me, unread in ((a, count + 1), (b, 1)):
            [item] = (await crowd.ask(me.ask("GET", "/dialogs"))).json["items"]
            assert item["unread"] == unread

    asyncio.run(run())


def test_a_repeat_that_meets_the_deletion_of_its_post(two_processes: Api) -> None:
    """It finds the first one, makes a new one, or fails because the first one has just gone."""

    async def run() -> None:
        async with Crowd(two_processes.url, 8) as crowd:
            me = await crowd.person()
            for number in range(40):
                create = me.ask("POST", "/posts", {"content": "x", "client_id": f"c{number}"})
                first = await crowd.ask(create)
                assert first.status == 201
                delete = me.ask("DELETE", f"/posts/{first.json['id']}")
                answers = await crowd.at_once([create] * 3 + [delete] + [create] * 3)
                gone = answers.pop(3)
                assert gone.status == 204
                assert {answer.status for answer in answers} <= {200, 201, 409}
                new = [answer.json["id"] for answer in answers if answer.status == 201]
                assert len(new) <= 1
                known = {answer.json["id"] for answer in answers if answer.status == 200}
                assert known <= {first.json["id"], *new}
                wall = await crowd.ask(me.ask("GET", f"/users/{me.id}/posts?limit=100"))
                left = {post["id"] for post in wall.json["items"]}
                assert first.json["id"] not in left
                assert left >= set(new)
                for post_id in new:
                    assert (await crowd.ask(me.ask("DELETE", f"/posts/{post_id}"))).status == 204

    asyncio.run(run())
