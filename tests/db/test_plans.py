"""Plans at 100,000 users: pages come from indexes, whoever asks and however much there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hl_utils.servers.postgres import PostgresServer
from hlfast.codec import prefix_end
from hlfast.db.postgres import connect
from hlfast.dialogs.dialog_ids import users_of
from tests.db import plans

LIMIT = 20
ID_MAX = 2**53 - 1
MODES: tuple[plans.Mode, ...] = ("force_generic_plan", "force_custom_plan")


@dataclass(frozen=True, slots=True)
class Facts:
    """Who is who in the seeded database: those with the most, and somebody with little."""

    celebrity: int
    friends: int  # of the celebrity
    last_friend: int  # of the celebrity, by id
    late_celebrity: int  # all of whose friends have high ids
    hermit: int  # one friend, of a high id
    author: int
    posts: int  # of the author
    author_friend: int
    dialog: int
    messages: int  # in the dialog
    talker: int
    first: str  # the commonest first letter of a first name
    rare_first: str
    last: str
    pair: tuple[str, str]  # the commonest first letters of one user's names
    apart: tuple[str, str, int]  # two letters common each, and how few users have them both


FACTS = {
    ("celebrity", "friends", "last_friend"): """
        SELECT user_id, count(*), max(friend_id) FROM friend WHERE state = 3
        GROUP BY 1 ORDER BY 2 DESC LIMIT 1""",
    ("late_celebrity",): """
        SELECT user_id FROM friend WHERE state = 3 GROUP BY 1
        HAVING min(friend_id) > 70000 ORDER BY count(*) DESC LIMIT 1""",
    ("hermit",): """
        SELECT user_id FROM friend WHERE state = 3 GROUP BY 1
        HAVING count(*) = 1 AND min(friend_id) > 70000 ORDER BY 1 DESC LIMIT 1""",
    ("author", "posts"): "SELECT author_id, count(*) FROM post GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
    ("dialog", "messages"): """
        SELECT dialog_id, last_message_id FROM dialog ORDER BY 2 DESC LIMIT 1""",
    ("talker",): """
        SELECT u FROM (SELECT low_id FROM dialog UNION ALL SELECT high_id FROM dialog) AS d(u)
        GROUP BY 1 ORDER BY count(*) DESC LIMIT 1""",
    (
        "first",
    ): """SELECT left(first_key, 1) FROM "user" GROUP BY 1 ORDER BY count(*) DESC LIMIT 1""",
    ("rare_first",): """
        SELECT left(first_key, 3) FROM "user" GROUP BY 1 ORDER BY count(*), 1 LIMIT 1""",
    ("last",): """SELECT left(last_key, 1) FROM "user" GROUP BY 1 ORDER BY count(*) DESC LIMIT 1""",
}


APART = """
WITH firsts AS (
    SELECT left(first_key, 1) AS letter FROM "user" GROUP BY 1 ORDER BY count(*) DESC LIMIT 5
), lasts AS (
    SELECT left(last_key, 1) AS letter FROM "user" GROUP BY 1 ORDER BY count(*) DESC LIMIT 5
)
SELECT f.letter, l.letter, count(u.id)
FROM firsts AS f CROSS JOIN lasts AS l
LEFT JOIN "user" AS u
    ON left(u.first_key, 1) = f.letter AND left(u.last_key, 1) = l.letter
GROUP BY 1, 2 ORDER BY 3 LIMIT 1
"""


async def gather_facts(url: str) -> Facts:
    connection = await connect(url)
    found: dict[str, Any] = {}
    for names, query in FACTS.items():
        row = await connection.fetchrow(query)
        found |= zip(names, row, strict=True)
    found["author_friend"] = await connection.fetchval(
        "SELECT friend_id FROM friend WHERE user_id = $1 AND state = 3 LIMIT 1", found["author"]
    )
    found["pair"] = tuple(
        await connection.fetchrow(
            'SELECT left(first_key, 1), left(last_key, 1) FROM "user" GROUP BY 1, 2'
            " ORDER BY count(*) DESC LIMIT 1"
        )
    )
    found["apart"] = tuple(await connection.fetchrow(APART))
    await connection.close()
    return Facts(**found)


@pytest.fixture(scope="module")
def facts(seeded_database_url: str) -> Facts:
    found = asyncio.run(gather_facts(seeded_database_url))
    # Or what follows would prove nothing.
    assert found.friends > 50 * LIMIT
    assert found.posts > 2 * LIMIT
    assert found.messages > 2 * LIMIT
    return found


def search(*names: str, after: int = 0) -> tuple[list[Any], ...]:
    """The arguments of one search, by one name or both."""
    ranges = (text for name in names for text in (name, prefix_end(name)))
    return tuple([argument] for argument in (*ranges, after, LIMIT))


@dataclass(frozen=True, slots=True)
class Case:
    """A page: whose, and how many rows it may read from tables (`{}`: a page of each)."""

    statement: str
    arguments: Callable[[Facts], tuple[Any, ...]]
    sorts: frozenset[str] = frozenset()


# The newest or lowest of many; and all of a few, as those of a page are.
TOP, WHOLE = frozenset({"top-N heapsort"}), frozenset({"quicksort"})

CASES = {
    "wall, its author's": Case("post_wall", lambda f: (f.author, f.author, ID_MAX, LIMIT)),
    "wall, a friend's": Case("post_wall", lambda f: (f.author, f.author_friend, ID_MAX, LIMIT)),
    "the same from JSON": Case(
        "post_wall_encoded", lambda f: (f.author, f.author_friend, ID_MAX, LIMIT)
    ),
    "walls from JSON, of several": Case(
        "post_wall_encoded_many",
        lambda f: ([f.author, f.hermit], [f.author_friend] * 2, [ID_MAX] * 2, [LIMIT // 2] * 2),
    ),
    "feeds from JSON, of several": Case(
        "post_feed_encoded_many",
        lambda f: ([f.celebrity] * 2, [ID_MAX] * 2, [LIMIT // 2] * 2),
        TOP,
    ),
    "feed of a celebrity from JSON": Case(
        "post_feed_encoded", lambda f: (f.celebrity, ID_MAX, LIMIT), TOP
    ),
    "feed of somebody with one friend": Case(
        "post_feed", lambda f: (f.hermit, ID_MAX, LIMIT), WHOLE
    ),
    "feed of a celebrity": Case("post_feed", lambda f: (f.celebrity, ID_MAX, LIMIT), TOP),
    "how far a celebrity's feed has come": Case("feed_reached", lambda f: (f.celebrity, 1, 1000)),
    "friends of a celebrity": Case("friend_page", lambda f: (f.celebrity, 3, 0, LIMIT)),
    "friends of a celebrity, the last": Case(
        "friend_page", lambda f: (f.celebrity, 3, f.last_friend - 1, LIMIT)
    ),
    "friends of a celebrity, all of whom came late": Case(
        "friend_page", lambda f: (f.late_celebrity, 3, 0, LIMIT)
    ),
    "friends of somebody with one": Case("friend_page", lambda f: (f.hermit, 3, 0, LIMIT)),
    "requests": Case("friend_page", lambda f: (f.celebrity, 2, 0, LIMIT)),
    "dialog, the newest": Case("dialog_page_before", lambda f: (f.dialog, ID_MAX, LIMIT)),
    "dialog, before": Case("dialog_page_before", lambda f: (f.dialog, f.messages // 2, LIMIT)),
    "dialog, from its beginning": Case("dialog_page_after", lambda f: (f.dialog, 0, LIMIT)),
    "dialog, after": Case("dialog_page_after", lambda f: (f.dialog, f.messages // 2, LIMIT)),
    "dialog list": Case("dialog_list", lambda f: (f.talker, ID_MAX, ID_MAX, LIMIT)),
    "dialog list of somebody without any": Case(
        "dialog_list", lambda _: (2**31 - 1, ID_MAX, ID_MAX, LIMIT)
    ),
    # One row for each friend, which is what makes a feed.
    "mark of a feed": Case("feed_versions", lambda f: ([f.hermit],)),
    "marks of dialogs": Case("dialog_versions", lambda f: ([f.dialog],)),
    "versions of users": Case(
        "user_versions", lambda f: (sorted({f.author, f.hermit, f.celebrity}),)
    ),
    "users": Case("user_by_ids", lambda f: (sorted({f.author, f.hermit, f.celebrity}),)),
    # What is sorted is all that match, where those are few; nothing where they are many.
    "search, a common first letter": Case("user_find_by_first", lambda f: search(f.first), WHOLE),
    "search, a common letter, far on": Case(
        "user_find_by_first", lambda f: search(f.first, after=50_000), WHOLE
    ),
    "search, a rare name": Case("user_find_by_first", lambda f: search(f.rare_first), WHOLE),
    "search, the last name": Case("user_find_by_last", lambda f: search(f.last), WHOLE),
    "search, both common": Case("user_find_by_both", lambda f: search(*f.pair), WHOLE),
    "search, both, the first one rare": Case(
        "user_find_by_both", lambda f: search(f.rare_first, f.last), WHOLE
    ),
    "search, both common and rare together": Case(
        "user_find_by_both", lambda f: search(*f.apart[:2]), WHOLE
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_a_page_reads_no_more_than_itself(
    case: str, mode: plans.Mode, seeded_database_url: str, facts: Facts
) -> None:
    wanted = CASES[case]

    async def run() -> plans.Plan:
        connection = await connect(seeded_database_url)
        plan = await plans.run(connection, wanted.statement, wanted.arguments(facts), mode)
        await connection.close()
        return plan

    plan = asyncio.run(run())
    plan.assert_indexes_only()
    assert plan.sort_methods() == wanted.sorts
    assert max(plan.fetched().values()) <= LIMIT, plan.fetched()


@pytest.mark.parametrize("mode", MODES)
def test_names_common_each_and_rare_together_are_not_all_looked_at(
    mode: plans.Mode, seeded_database_url: str, facts: Facts
) -> None:
    """Of each name 200, which say that it is common, and the users of the pair."""
    *letters, together = facts.apart
    few = 200

    async def run() -> tuple[plans.Plan, list[int]]:
        connection = await connect(seeded_database_url)
        found = await plans.run(connection, "user_find_by_both", search(*letters), mode)
        common = [
            await connection.fetchval(
                f'SELECT count(*) FROM "user" WHERE starts_with({name}_key, $1)', letter
            )
            for name, letter in zip(("first", "last"), letters, strict=True)
        ]
        await connection.close()
        return found, common

    plan, common = asyncio.run(run())
    # Or what follows would prove nothing.
    assert min(common) > 5 * few > together
    looked_at = sum(node.rows_read for node in plan.nodes() if node.kind in plans.FROM_INDEX)
    assert looked_at <= 2 * few + together


@pytest.mark.parametrize("mode", MODES)
def test_a_stranger_pages_past_what_she_may_not_see(
    mode: plans.Mode, seeded_database_url: str, facts: Facts
) -> None:
    """The author's posts for friends are looked at and left out, and no other author's."""

    async def run() -> plans.Plan:
        connection = await connect(seeded_database_url)
        stranger = (facts.author, 2**31 - 1, ID_MAX, LIMIT)
        plan = await plans.run(connection, "post_wall", stranger, mode)
        await connection.close()
        return plan

    plan = asyncio.run(run())
    plan.assert_indexes_only()
    assert plan.sort_methods() == set()
    assert LIMIT <= plan.fetched()["post"] <= facts.posts


@pytest.mark.parametrize("mode", MODES)
def test_the_newest_posts_are_walked_until_a_page_is_full(
    mode: plans.Mode, seeded_database_url: str, facts: Facts
) -> None:
    """What is not a friend's is passed, and no friend's wall is looked at."""

    async def run() -> plans.Plan:
        connection = await connect(seeded_database_url)
        celebrity = (facts.celebrity, ID_MAX, LIMIT, 1000)
        plan = await plans.run(connection, "post_feed_newest_encoded", celebrity, mode)
        await connection.close()
        return plan

    plan = asyncio.run(run())
    plan.assert_indexes_only()
    assert plan.sort_methods() == set()
    assert LIMIT <= plan.fetched()["post"] < 1000


# The outboxes hold the last moments' events. They are swept along the key, oldest first, until the
# limit: an index by age would be one more to write with every change.
WHOLE = {"password_parameters"}  # a few rows, read at the start
OF_OUTBOXES = ("outbox_", "messageoutbox_")


def test_no_statement_reads_a_table_from_end_to_end(
    seeded_database_url: str, postgres_server: PostgresServer
) -> None:
    database = seeded_database_url.partition("?")[0].rpartition("/")[2]
    found = plans.generic(postgres_server, database)
    assert found.keys() == plans.STATEMENTS.keys()
    for name, plan in found.items():
        if not name.startswith(OF_OUTBOXES) and name not in WHOLE:
            plan.assert_indexes_only()


WRITES = {
    "a message": (
        "SELECT outcome FROM message_send($1, $2, $3, 'hi', 'c', false)",
        lambda f: (f.dialog, *users_of(f.dialog)),
        "sent",
    ),
    "messages that meet": (
        "SELECT outcome FROM message_send_many("
        "ARRAY[$1::bigint], ARRAY[$2::integer], ARRAY['hi'], ARRAY['c'])",
        lambda f: (f.dialog, users_of(f.dialog)[0]),
        "sent",
    ),
    "a read mark": (
        "SELECT CASE WHEN event_id > 0 THEN 'read' END FROM message_read($1, $2, $3)",
        lambda f: (f.dialog, users_of(f.dialog)[1], f.messages - LIMIT),
        "read",
    ),
    "a request": (
        "SELECT outcome FROM friend_put($1, $2, 10000)",
        lambda f: (f.hermit, f.celebrity),
        "requested",
    ),
    "the end of a friendship": (
        "SELECT outcome FROM friend_delete($1, $2)",
        lambda f: (f.celebrity, f.last_friend),
        "removed",
    ),
    "a session": (
        "SELECT session_start('s', $1, 600, 1, 4) AS outcome",
        lambda f: (f.author,),
        "s",
    ),
    "the next token": (
        "SELECT outcome FROM session_start('s', $1, 600, 1, 4) AS s, LATERAL"
        " session_renew(s, 0, $1, 0, false, 10, 600)",
        lambda f: (f.author,),
        "renewed",
    ),
    "a post": (
        "SELECT CASE WHEN created THEN 'created' END FROM post_create($1, 'hi', 'public', 'c')",
        lambda f: (f.author,),
        "created",
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_functions_find_their_rows_by_index(
    write: str, seeded_database_url: str, facts: Facts
) -> None:
    """EXPLAIN does not look into functions: what they touched is counted by the server."""
    query, arguments, outcome = WRITES[write]

    async def run() -> dict[str, tuple[int, int]]:
        connection = await connect(seeded_database_url)
        transaction = connection.transaction()
        await transaction.start()
        # The seeded reader may have read everything.
        await connection.execute(
            "UPDATE dialog SET high_read = 0 WHERE dialog_id = $1", facts.dialog
        )
        assert await connection.fetchval(query, *arguments(facts)) == outcome
        found = await connection.fetch(
            "SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE seq_scan > 0 OR idx_scan > 0 OR n_tup_ins > 0"
        )
        await transaction.rollback()
        await connection.close()
        return {row[0]: (row[1], row[2]) for row in found}

    touched = asyncio.run(run())
    assert touched
    assert {scans for scans, _ in touched.values()} == {0}
    assert max(fetched for _, fetched in touched.values()) <= LIMIT + 3
