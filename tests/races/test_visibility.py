"""What one process has acknowledged, every other process shows at once."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.crowd import Crowd
from hl_utils.servers.services import Api

ROUNDS = 30


def test_a_change_acknowledged_by_one_process_is_seen_through_the_other(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 2) as crowd:
            writer, reader = crowd.lines
            author, friend, stranger = await crowd.people(3)

            async def seen(path: str, by: Any) -> Any:
                answer = await reader.ask(by.ask("GET", path))
                return answer.json if answer.status == 200 else answer.status

            async def feed(by: Any) -> list[str]:
                return [post["content"] for post in (await seen("/feed", by))["items"]]

            for number in range(ROUNDS):
                # The processes swap their parts.
                writer, reader = reader, writer
                await crowd.befriend(author, friend)
                new = author.ask("POST", "/posts", {"content": f"new {number}"})
                post = (await writer.ask(new)).json
                path = f"/posts/{post['id']}"
                wall = f"/users/{author.id}/posts"
                assert await seen(path, stranger) == post
                assert await feed(friend) == [f"new {number}"]
                assert [p["id"] for p in (await seen(wall, stranger))["items"]] == [post["id"]]

                edit = author.ask("PATCH", path, {"content": "edited", "privacy": "friends"})
                edited = (await writer.ask(edit)).json
                assert await seen(path, friend) == edited
                assert await seen(path, stranger) == 404
                assert (await seen(wall, stranger))["items"] == []
                assert await feed(friend) == ["edited"]

                gone = await writer.ask(author.ask("DELETE", f"/friends/{friend.id}"))
                assert gone.status == 204
                assert await seen(path, friend) == 404
                assert await feed(friend) == []
                assert (await seen("/friends", friend))["items"] == []

                assert (await writer.ask(author.ask("DELETE", path))).status == 204
                assert await seen(path, author) == 404
                assert (await seen(wall, author))["items"] == []

                name = author.ask("PATCH", "/users/me", {"first_name": f"Name {number}"})
                assert (await writer.ask(name)).status == 200
                assert (await seen(f"/users/{author.id}", friend))["first_name"] == f"Name {number}"

    asyncio.run(run())


def test_editing_and_deleting_a_post_at_once(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 8) as crowd:
            author, friend = await crowd.people(2)
            await crowd.befriend(author, friend)
            for _ in range(ROUNDS):
                new = author.ask("POST", "/posts", {"content": "new"})
                path = f"/posts/{(await crowd.ask(new)).json['id']}"
                edits = [author.ask("PATCH", path, {"content": f"edit {n}"}) for n in range(4)]
                look = friend.ask("GET", path)
                answers = await crowd.at_once(
                    [*edits, author.ask("DELETE", path), look, look, friend.ask("GET", "/feed")]
                )
                statuses = [answer.status for answer in answers]
                assert set(statuses[:4]) <= {200, 404}
                assert statuses[4] == 204
                assert set(statuses[5:7]) <= {200, 404}
                for answer, edit in zip(answers, edits, strict=False):
                    if answer.status == 200:
                        assert answer.json["content"] == edit.body["content"]
                tags = [answer.headers["etag"] for answer in answers[:4] if answer.status == 200]
                assert len(tags) == len(set(tags)), "every state has a tag of its own"
                assert statuses[7] == 200
                assert (await crowd.ask(look)).status == 404
                assert (await crowd.ask(friend.ask("GET", "/feed"))).json["items"] == []

    asyncio.run(run())
