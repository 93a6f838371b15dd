"""One name, one account."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter

from bench.crowd import Ask, Crowd
from hl_utils.servers.services import Api
from hl_utils.servers.sql import connect

AT_ONCE = 20
ROUNDS = 8


def test_of_twenty_registrations_of_one_name_one_wins(two_processes: Api) -> None:
    async def race() -> None:
        async with Crowd(two_processes.url, AT_ONCE) as crowd:
            for _ in range(ROUNDS):
                await one_round(crowd)

    async def one_round(crowd: Crowd) -> None:
        name = f"name-{secrets.token_hex(6)}"
        # The same name in twenty spellings: bit i of n says whether letter i is a capital.
        spellings = [
            "".join(c.upper() if n >> i & 1 else c for i, c in enumerate(name))
            for n in range(AT_ONCE)
        ]
        news = [
            {
                "username": spelling,
                "password": f"password of number {n}",
                "first_name": f"F{n}",
                "last_name": "L",
            }
            for n, spelling in enumerate(spellings)
        ]
        answers = await crowd.at_once([Ask("POST", "/users", new) for new in news])
        assert Counter(answer.status for answer in answers) == {201: 1, 409: AT_ONCE - 1}
        winner = next(n for n, answer in enumerate(answers) if answer.status == 201)
        assert answers[winner].json["username"] == spellings[winner]

        # What is stored is the winner's, whole.
        connection = await connect(two_processes.settings["DATABASE_URL"])
        try:
            rows = await connection.rows(
                'SELECT id, username, first_name FROM "user" WHERE lower(username) = $1', name
            )
        finally:
            await connection.close()
        assert rows == [(answers[winner].json["id"], spellings[winner], f"F{winner}")]
        await crowd.log_in(name, news[winner]["password"])

    asyncio.run(race())
