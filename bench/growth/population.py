"""What the seeder does not make: people with many friends, and dialogs with many messages."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from urllib.parse import urlencode

import asyncpg

from bench import scenarios
from bench.scenarios import PAGE, USER, Read, Sends, Thread
from hlfast.dialogs import dialog_ids

# A friend has so many posts or more: ten of them fill a page.
_POSTS_MIN = 2
_MESSAGES = """
INSERT INTO message (dialog_id, id, from_user_id, content, client_id, created_at)
SELECT dialog_id, n, CASE n % 2 WHEN 0 THEN low_id ELSE high_id END,
       'Well, this is ' || n || ': no longer than most messages are.', 'made-' || n,
       last_message_at - (last_message_id - n) * interval '1 second'
FROM dialog, generate_series(1, last_message_id) AS n
WHERE dialog_id = ANY($1::bigint[])
"""
# The first letters of names that fill a page.
_LETTERS = """
SELECT k.by_last, left(k.key, 1) AS prefix
FROM "user" AS u, LATERAL (VALUES (false, u.first_key), (true, u.last_key)) AS k (by_last, key)
GROUP BY 1, 2
HAVING count(*) >= $1
ORDER BY md5(left(k.key, 1)), k.by_last
LIMIT $2
"""
# Begins no name that people have, and is the same folded.
_RARE = "zyxw"
# Whether it begins the last name, and what it is.
Prefix = tuple[bool, str]


async def tidy(database: asyncpg.Connection) -> None:
    """The planner knows what there is, and it is on disk: neither happens while we measure."""
    await database.execute("VACUUM (ANALYZE)")
    await database.execute("CHECKPOINT")


async def befriend(
    database: asyncpg.Connection, sizes: Sequence[int], count: int, chance: random.Random
) -> dict[int, list[int]]:
    """For each size `count` users who get that many friends with posts. Nobody has any before."""
    authors = [
        row["author_id"]
        for row in await database.fetch(
            "SELECT author_id FROM post GROUP BY 1 HAVING count(*) >= $1 ORDER BY 1", _POSTS_MIN
        )
    ]
    chance.shuffle(authors)
    viewers = {size: [authors.pop() for _ in range(count)] for size in sizes}
    versions = itertools.count(1)
    pairs = (
        (user, friend, next(versions))
        for size, users in viewers.items()
        for user in users
        for friend in chance.sample(authors, size)
    )
    await database.copy_records_to_table(
        "friend",
        columns=("user_id", "friend_id", "state", "version"),
        records=(
            row
            for user, friend, version in pairs
            for row in ((user, friend, 3, version), (friend, user, 3, version))
        ),
    )
    await database.execute("SELECT setval('friend_version_seq', max(version)) FROM friend")
    await database.execute(
        "INSERT INTO friendcount SELECT user_id, count(*) FROM friend GROUP BY 1"
    )
    return viewers


async def converse(
    database: asyncpg.Connection, sizes: Sequence[int], count: int, chance: random.Random
) -> dict[int, list[int]]:
    """For each size the ids of `count` new dialogs of that many messages, all of them read."""
    users = [row["id"] for row in await database.fetch('SELECT id FROM "user" ORDER BY id')]
    found: dict[int, list[int]] = {size: [] for size in sizes}
    pairs = {tuple(sorted(chance.sample(users, 2))) for _ in range(2 * count * len(sizes))}
    there = {row["dialog_id"] for row in await database.fetch("SELECT dialog_id FROM dialog")}
    free = (pair for pair in sorted(pairs) if dialog_ids.dialog_id(*pair) not in there)
    for size in sizes:
        for low, high in itertools.islice(free, count):
            found[size].append(dialog_ids.dialog_id(low, high))
            await database.execute(
                """INSERT INTO dialog (dialog_id, low_id, high_id, last_message_id, last_event_id,
                                       low_read, high_read)
                   VALUES ($1, $2, $3, $4, $4, $4, $4)""",
                *(found[size][-1], low, high, size),
            )
        await database.execute(_MESSAGES, found[size])
    return found


async def sends(database: asyncpg.Connection, dialogs: Sequence[int], secret: str) -> Sends:
    """Messages into these dialogs, from the lower id to the higher one."""
    versions = {
        row["id"]: row["token_version"]
        for row in await database.fetch(
            'SELECT id, token_version FROM "user" WHERE id = ANY($1)',
            [dialog_ids.users_of(one)[0] for one in dialogs],
        )
    }
    return Sends(
        [
            Thread(one, low, high, scenarios.sign(low, secret, versions[low]))
            for one in dialogs
            for low, high in [dialog_ids.users_of(one)]
        ]
    )


async def letters(database: asyncpg.Connection, count: int) -> list[Prefix]:
    """Single letters that a page of users have, or more."""
    rows = await database.fetch(_LETTERS, PAGE, count)
    if len(rows) < count:
        raise ValueError(f"Only {len(rows)} of {count} searches: seed more users.")
    return [tuple(row) for row in rows]


async def namesakes(
    database: asyncpg.Connection, count: int, chance: random.Random
) -> list[Prefix]:
    """Last names that just a page of users have each, who get them."""
    ids = [row["id"] for row in await database.fetch('SELECT id FROM "user" ORDER BY id')]
    chosen = chance.sample(ids, count * PAGE)
    names = [f"{_RARE}{chr(ord('a') + number)}" for number in range(count)]
    await database.execute(
        """UPDATE "user" AS u SET last_name = n.name, last_key = n.name
           FROM unnest($1::integer[], $2::text[]) AS n (id, name) WHERE u.id = n.id""",
        chosen,
        names * PAGE,
    )
    return [(True, name) for name in names]


async def searches(database: asyncpg.Connection, wanted: Sequence[Prefix]) -> list[Read]:
    """The first page of each, by brute force."""
    reads = []
    for by_last, prefix in wanted:
        name = "last" if by_last else "first"
        rows = await database.fetch(
            f"""SELECT {", ".join(USER)} FROM "user" WHERE starts_with({name}_key, $1)
                ORDER BY id LIMIT $2""",  # noqa: S608
            prefix,
            PAGE + 1,
        )
        path = "/users/search?" + urlencode({f"{name}_name": prefix})
        reads.append(Read(path, scenarios.page([scenarios.item(USER, row) for row in rows])))
    return reads
