"""Seeding: what it fills keeps every rule of the schema, twice over and beside live traffic."""

from __future__ import annotations

import asyncio
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import argon2
import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import SqlServer, name_of, rows, value
from hl_utils.user_faker import PASSWORD
from hlfast import codec
from hlfast.codec import search_key
from hlfast.db import queries
from hlfast.posts.schemas import FIELDS
from hlfast.settings import Settings
from tests import zygote
from tests.conftest import TEMPLATE, new_database
from tests.hl_utils.seeding import (
    PROFILES_ONLY,
    TABLES,
    USERS,
    count,
    digests,
    environment,
    post,
    register,
    seed,
    with_service,
)

# Each counts the rows that break a rule.
RULES = {
    "lengths of the profile": """
        SELECT count(*) FROM "user"
        WHERE char_length(first_name) NOT BETWEEN 1 AND 64
           OR char_length(last_name) NOT BETWEEN 1 AND 64
           OR char_length(bio) NOT BETWEEN 1 AND 1000
           OR char_length(city) NOT BETWEEN 1 AND 64 OR char_length(country) NOT BETWEEN 1 AND 64
    """,
    "both rows of a pair": """
        SELECT count(*) FROM friend AS mine
        LEFT JOIN friend AS theirs
               ON theirs.user_id = mine.friend_id AND theirs.friend_id = mine.user_id
        WHERE theirs.version IS NULL OR theirs.version <> mine.version
           OR (mine.state, theirs.state) NOT IN ((3, 3), (1, 2), (2, 1))
           OR mine.user_id = mine.friend_id
    """,
    "a version for each pair": """
        SELECT count(*) FROM (
            SELECT version FROM friend GROUP BY version HAVING count(*) <> 2
        ) AS shared
    """,
    "friends of users": """
        SELECT count(*) FROM friend WHERE user_id NOT IN (SELECT id FROM "user")
    """,
    "counts of friends": """
        SELECT count(*) FROM (
            SELECT user_id, sum(found) AS found, sum(kept) AS kept FROM (
                SELECT user_id, 1 AS found, 0 AS kept FROM friend WHERE state = 3
                UNION ALL
                SELECT user_id, 0 AS found, friends AS kept FROM friendcount
            ) AS both_of_them GROUP BY user_id
        ) AS counts
        WHERE found <> kept
    """,
    "posts": """
        SELECT count(*) FROM post
        LEFT JOIN "user" AS author ON author.id = post.author_id
        WHERE author.id IS NULL OR post.created_at < author.created_at
           OR post.updated_at <> post.created_at OR post.created_at > now()
           OR char_length(content) NOT BETWEEN 1 AND 4096
    """,
    "who talks": """
        SELECT count(*) FROM dialog
        WHERE dialog_id <> dialog_id_of(low_id, high_id) OR low_id >= high_id
           OR low_id NOT IN (SELECT id FROM "user") OR high_id NOT IN (SELECT id FROM "user")
    """,
    "messages of dialogs": """
        SELECT count(*) FROM message AS m LEFT JOIN dialog AS d ON d.dialog_id = m.dialog_id
        WHERE d.dialog_id IS NULL OR m.from_user_id NOT IN (d.low_id, d.high_id)
           OR char_length(m.content) NOT BETWEEN 1 AND 4096 OR m.created_at > now()
    """,
    "counters of dialogs": """
        SELECT count(*) FROM (
            SELECT d.last_message_id, d.last_message_at, d.low_read, d.high_read,
                   d.low_unread, d.high_unread,
                   count(m.id) AS n, min(m.id) AS oldest, max(m.id) AS newest,
                   count(DISTINCT m.from_user_id) AS authors, max(m.created_at) AS newest_at,
                   sum(CASE WHEN m.id = d.last_message_id AND m.created_at = d.last_message_at
                            THEN 1 ELSE 0 END) AS at_last,
                   sum(CASE WHEN m.id > d.low_read AND m.from_user_id = d.high_id
                            THEN 1 ELSE 0 END) AS low,
                   sum(CASE WHEN m.id > d.high_read AND m.from_user_id = d.low_id
                            THEN 1 ELSE 0 END) AS high
            FROM dialog AS d LEFT JOIN message AS m ON m.dialog_id = d.dialog_id
            GROUP BY d.dialog_id, d.last_message_id, d.last_message_at, d.low_read, d.high_read,
                     d.low_unread, d.high_unread
        ) AS found
        WHERE n = 0 OR oldest <> 1 OR newest <> n OR n <> last_message_id OR at_last <> 1
           OR newest_at <> last_message_at OR low <> low_unread OR high <> high_unread
           OR low_read NOT BETWEEN 0 AND n OR high_read NOT BETWEEN 0 AND n OR authors <> 2
    """,
    "order of messages": """
        SELECT count(*) FROM (
            SELECT created_at, lag(created_at) OVER (PARTITION BY dialog_id ORDER BY id) AS earlier
            FROM message
        ) AS messages
        WHERE created_at < earlier
    """,
    "nothing to tell": """
        SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM messageoutbox)
    """,
}


@pytest.fixture(scope="module")
def seeded_once(database_server: SqlServer) -> str:
    """2,000 users of seed 7."""
    url = new_database(database_server, TEMPLATE)
    seed(url, "--seed", 7)
    return url


@pytest.fixture(scope="module")
def seeded_twice(seeded_once: str, database_server: SqlServer) -> str:
    """A database that was seeded twice with one seed."""
    url = new_database(database_server, name_of(seeded_once))
    seed(url, "--seed", 7)
    return url


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_holds(seeded_twice: str, rule: str) -> None:
    assert value(seeded_twice, RULES[rule]) == 0


def test_names_of_accounts(seeded_twice: str) -> None:
    names = rows(seeded_twice, 'SELECT username, username_key FROM "user"')
    for name, key in names:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{3,32}", name)
        assert text(key) == name.lower()


def text(key: str | bytes) -> str:
    """What is compared, which MySQL keeps as bytes."""
    return key.decode() if isinstance(key, bytes) else key


def test_keys_are_those_that_search_compares(seeded_once: str) -> None:
    names = rows(seeded_once, 'SELECT first_name, first_key, last_name, last_key FROM "user"')
    assert all(
        (text(first_key), text(last_key)) == (search_key(first), search_key(last))
        for first, first_key, last, last_key in names
    )
    scripts = {unicodedata.name(first[0]).split()[0] for first, *_ in names}
    assert scripts >= {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "DEVANAGARI", "HANGUL", "CJK"}


def test_people_are_as_people_are(seeded_once: str) -> None:
    friends = [row[0] for row in rows(seeded_once, "SELECT friends FROM friendcount ORDER BY 1")]
    mean, median = sum(friends) / USERS, friends[len(friends) // 2]
    assert 15 < mean < 25
    assert median < mean / 2 < mean * 10 < friends[-1]
    assert value(seeded_once, "SELECT count(*) FROM friend WHERE state = 2") > USERS / 2
    told = rows(
        seeded_once,
        'SELECT count(birthdate), count(bio), count(city), count(country) FROM "user"',
    )[0]
    assert all(USERS * 0.2 < count < USERS * 0.9 for count in told)
    posts = rows(seeded_once, "SELECT count(*) FROM post GROUP BY author_id ORDER BY 1")
    assert sum(row[0] for row in posts) == USERS * 5
    assert posts[-1][0] > 50
    privacy = dict(rows(seeded_once, "SELECT privacy, count(*) FROM post GROUP BY 1"))
    assert USERS < privacy["friends"] < privacy["public"]
    assert 0.8 < count(seeded_once, "dialog") / USERS < 1.2
    assert 6 < value(seeded_once, "SELECT avg(last_message_id) FROM dialog") < 10
    assert value(seeded_once, "SELECT count(*) FROM dialog WHERE low_unread + high_unread > 0")


def test_newer_posts_have_higher_ids(seeded_once: str) -> None:
    times = rows(seeded_once, "SELECT created_at FROM post ORDER BY id")
    assert times == sorted(times)


def test_posts_are_stored_as_json_too(seeded_once: str) -> None:
    posts = rows(seeded_once, f"SELECT {', '.join(FIELDS)}, encoded FROM post")
    assert len(posts) == USERS * 5
    for *fields, encoded in posts:
        shown = codec.encode(dict(zip(FIELDS, fields, strict=True)))
        assert f'{{"id":{fields[0]}{encoded}}}'.encode() == shown


def test_the_password_is_known_and_hashed_once(seeded_once: str) -> None:
    hashes = rows(seeded_once, 'SELECT DISTINCT password_hash FROM "user"')
    assert len(hashes) == 1
    assert argon2.PasswordHasher().verify(hashes[0][0], PASSWORD)
    wanted = argon2.extract_parameters(hashes[0][0])
    defaults = Settings()
    assert (wanted.type, wanted.time_cost, wanted.memory_cost, wanted.parallelism) == (
        argon2.Type.ID,
        defaults.password_hash_time,
        defaults.password_hash_memory_kib,
        1,
    )


@pytest.mark.one_database  # which has to be told what needs no look at the table
def test_index_only_scans_read_no_table(seeded_once: str, postgres_server: PostgresServer) -> None:
    for table, columns in (("friend", "user_id, friend_id"), ("message", "dialog_id, id")):
        plan = postgres_server.psql(
            name_of(seeded_once),
            *("-c", "SET enable_seqscan = off"),
            *("-c", f"EXPLAIN (ANALYZE) SELECT {columns} FROM {table} ORDER BY 1, 2"),
        )
        assert "Heap Fetches: 0" in plan, plan


def test_twice_the_same_seed_is_twice_the_users_and_life_goes_on(seeded_twice: str) -> None:
    assert count(seeded_twice, '"user"') == 2 * USERS
    assert count(seeded_twice, "post") == 2 * USERS * 5
    newest_post = value(seeded_twice, "SELECT max(id) FROM post")

    async def live(database: Any) -> None:
        user_id = await register(database, "newcomer")
        assert user_id > 2 * USERS
        assert await post(database, user_id) > newest_post
        asked = await database.fetch_row("friend_put", user_id, 1, 10_000)
        assert asked["outcome"] == "requested"

    versions = value(seeded_twice, "SELECT max(version) FROM friend")
    with_service(seeded_twice, live)
    assert value(seeded_twice, RULES["both rows of a pair"]) == 0
    assert value(seeded_twice, RULES["a version for each pair"]) == 0
    assert value(seeded_twice, "SELECT max(version) FROM friend") > versions


def test_the_same_seed_gives_the_same_rows(seeded_once: str, migrated_database_url: str) -> None:
    seed(migrated_database_url, "--seed", 7, PYTHONHASHSEED="5")
    assert digests(migrated_database_url) == digests(seeded_once)


def test_another_seed_gives_other_people(seeded_once: str, migrated_database_url: str) -> None:
    seed(migrated_database_url, "--seed", 8, *PROFILES_ONLY)
    names = 'SELECT first_name, last_name FROM "user" WHERE id <= 100 ORDER BY id'
    others = rows(migrated_database_url, names)
    same = sum(one == other for one, other in zip(rows(seeded_once, names), others, strict=True))
    assert same < 10


def test_a_script_gives_the_same_rows_and_leaves_nothing_to_migrate(
    seeded_once: str, database_url: str, database_server: SqlServer, tmp_path: Path
) -> None:
    script = tmp_path / "init.sql"
    dialect = queries.dialect_of(database_url)
    seed("", "--seed", 7, "--sql", script, "--dialect", dialect)
    database_server.run_script(name_of(database_url), script)
    assert digests(database_url) == digests(seeded_once)
    done = zygote.run("tables", env=environment(DATABASE_URL=database_url))
    assert (done.returncode, done.stdout) == (0, "the tables are up to date\n")

    async def live(database: Any) -> None:
        user_id = await register(database, "newcomer")
        assert user_id == USERS + 1
        assert await post(database, user_id) == USERS * 5 + 1

    with_service(database_url, live)
    # Again it is refused as a whole: the tables are there.
    with pytest.raises(subprocess.CalledProcessError):
        database_server.run_script(name_of(database_url), script)
    assert count(database_url, '"user"') == USERS + 1


def test_registrations_and_posts_go_on_meanwhile(migrated_database_url: str) -> None:
    url = migrated_database_url

    async def live(database: Any) -> int:
        runs = [
            asyncio.create_task(asyncio.to_thread(seed, url, "--seed", number, users=200))
            for number in range(2)
        ]
        registered = 0
        while not all(run.done() for run in runs):
            user_id = await register(database, f"live-{registered}")
            await post(database, user_id)
            registered += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*runs)
        return registered

    registered = with_service(url, live)
    assert registered > 0
    assert count(url, '"user"') == 2 * 200 + registered
    for rule in ("counts of friends", "both rows of a pair", "a version for each pair"):
        assert value(url, RULES[rule]) == 0


def test_nobody_has_more_friends_than_the_limit(migrated_database_url: str) -> None:
    seed(migrated_database_url, "--posts", 0, users=1000, HLFAST_FRIENDS_MAX="30")
    assert value(migrated_database_url, "SELECT max(friends) FROM friendcount") in range(20, 31)
    assert value(migrated_database_url, RULES["counts of friends"]) == 0


def test_parts_can_be_left_out(migrated_database_url: str) -> None:
    seed(migrated_database_url, *PROFILES_ONLY, users=10)
    counts = [count(migrated_database_url, table) for table in TABLES]
    assert counts == [10, 0, 0, 0, 0, 0]
    seed(migrated_database_url, "--friends", 0, "--posts", 0, users=200)
    counts = [count(migrated_database_url, table) for table in TABLES]
    assert counts[:4] == [210, 0, 0, 0]
    assert counts[4] > 100
    assert counts[5] > counts[4]


@pytest.mark.parametrize("users", [1, 3])
def test_a_handful_is_enough(migrated_database_url: str, users: int) -> None:
    seed(migrated_database_url, users=users)
    assert count(migrated_database_url, '"user"') == users
    assert sum(value(migrated_database_url, statement) for statement in RULES.values()) == 0


def test_dialogs_go_to_their_own_database(
    migrated_database_url: str, database_server: SqlServer
) -> None:
    talk = new_database(database_server, TEMPLATE)
    seed(migrated_database_url, users=100, DIALOGS_DATABASE_URL=talk)
    assert count(migrated_database_url, "dialog") == 0
    assert count(talk, '"user"') == 0
    assert count(talk, "dialog") > 20
    assert value(talk, RULES["counters of dialogs"]) == 0
