"""Pages of a search, by the index on names where few match and along the ids where many do."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from hl_utils.servers.sql import connect
from hlfast.codec import prefix_end
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.settings import Settings

# PostgreSQL goes along the ids from 200 that match; letters are as common as this makes them.
LETTERS = "aaaaaaaabbbbcdй"
USERS, SEARCHES = 1500, 400


async def fill(url: str, chance: Random) -> dict[int, tuple[str, str]]:
    """Users with made-up names; their keys by id."""
    keys = [
        tuple("".join(chance.choices(LETTERS, k=chance.randint(1, 4))) for _ in range(2))
        for _ in range(USERS)
    ]
    # Exactly as many as make the difference, and one less.
    keys += [("x", "x")] * 199 + [("y", "y")] * 200
    chance.shuffle(keys)
    rows = ", ".join(
        f"('u{n}', 'u{n}', '', '', '', '{first}', '{last}')" for n, (first, last) in enumerate(keys)
    )
    columns = "username, username_key, password_hash, first_name, last_name, first_key, last_key"
    connection = await connect(url)
    await connection.rows(f'INSERT INTO "user" ({columns}) VALUES {rows}')
    found = await connection.rows('SELECT id, first_key, last_key FROM "user"')
    await connection.close()
    text = [
        [key.decode() if isinstance(key, bytes) else key for key in names] for _, *names in found
    ]
    return {row[0]: (first, last) for row, (first, last) in zip(found, text, strict=True)}


EDGES = (("x", ""), ("", "x"), ("y", ""), ("", "y"), ("x", "x"), ("y", "y"))


def searches(chance: Random, ids: list[int]) -> list[tuple[str, str, int, int]]:
    """First name, last name, after and limit of each."""
    found = [(*names, 0, 20) for names in EDGES]
    for _ in range(SEARCHES):
        first, last = (
            "".join(chance.choices(LETTERS, k=chance.choice((0, 1, 1, 2, 3)))) for _ in range(2)
        )
        if first or last:
            found.append((first, last, chance.choice((0, 0, *ids)), chance.choice((1, 20, 50))))
    return found


def statement(names: tuple[str, str], *page: list[int]) -> tuple[str, list[list[Any]]]:
    """The statement that answers it, with its arguments."""
    by_first, by_last = ([[name], [prefix_end(name)]] for name in names)
    if all(names):
        return "user_find_by_both", [*by_first, *by_last, *page]
    if names[0]:
        return "user_find_by_first", [*by_first, *page]
    return "user_find_by_last", [*by_last, *page]


def test_a_page_has_what_brute_force_finds(migrated_database_url: str) -> None:
    async def run() -> None:
        chance = Random(7)
        people = await fill(migrated_database_url, chance)
        database = await open_database(
            migrated_database_url, (queries.MAIN,), Settings(), wait_s=30
        )
        many = 0
        # All of one statement, and what is right.
        together: dict[str, list[tuple[list[Any], str]]] = {}
        # Of two names, which are common enough: each combination is another way to the page.
        common: Counter[tuple[bool, bool]] = Counter()
        for first, last, after, limit in searches(chance, sorted(people)):
            all_of_them = sorted(
                user_id
                for user_id, (one, other) in people.items()
                if one.startswith(first) and other.startswith(last)
            )
            many += len(all_of_them) >= 200
            if first and last:
                common[
                    sum(one.startswith(first) for one, _ in people.values()) >= 200,
                    sum(other.startswith(last) for _, other in people.values()) >= 200,
                ] += 1
            right = [user_id for user_id in all_of_them if user_id > after][:limit]
            name, arguments = statement((first, last), [after], [limit])
            marks = ",".join(f"{user_id}:1" for user_id in right)
            row = await database.fetch_row(name, *arguments)
            assert row is not None
            assert (row["found"] or "") == marks, (name, first, last, after)
            together.setdefault(name, []).append(([only for (only,) in arguments], marks))
        assert SEARCHES / 10 < many < SEARCHES
        assert len(common) == 4 and min(common.values()) >= 10, common
        assert len(together) == 3
        for name, several in together.items():
            assert len(several) > SEARCHES / 10
            lists = map(list, zip(*(of_one for of_one, _ in several), strict=True))
            rows = await database.fetch(name, *lists)
            found = {row["number"]: row["found"] or "" for row in rows}
            assert found == {n: marks for n, (_, marks) in enumerate(several, 1)}
        await database.close()

    asyncio.run(run())
