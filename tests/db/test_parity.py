"""Two dialects, one contract: the same statements do the same with the same small world."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hlfast.db import mysql, postgres, queries
from hlfast.dialogs.dialog_ids import dialog_id
from tests.conftest import TEMPLATE, new_database

DATABASES = (queries.MAIN, queries.DIALOGS)
# Standbys are PostgreSQL's alone, and so is what asks after them; pages are batched only there, and
# only there is a cluster of which a node may be away.
POSTGRES_ONLY = ("replicas", "dialogs_living", "posts_batched")
# What they delete they return in PostgreSQL only; nobody reads it.
TELL_NOTHING = {
    "outbox_delete", "messageoutbox_delete", "session_end", "user_rehash", "dialog_heal",
    "post_encode",
}  # fmt: skip
# Events and friendships are numbered apart in PostgreSQL and together in MySQL.
NUMBERS_OF_EVENTS = {"event_id", "previous_id", "after_ids"}
BORN = date(1990, 5, 17)
DIALOG = dialog_id(1, 2)
END = 2**53
MOMENT = re.compile(rb'"[0-9-]{10}T[0-9:]{8}(\.[0-9]{6})?Z"')
# Of the second post, which was changed, and of a version that the first one does not have.
ENCODED = '[{"id":1,"version":9,"encoded":",1"},{"id":2,"version":2,"encoded":",\\"é\\""}]'

World = list[tuple[str, tuple[Any, ...]]]


def statements(dialect: str) -> dict[str, str]:
    """Those of both databases, by name."""
    texts: dict[str, str] = {}
    for database in DATABASES:
        texts |= queries.load(dialect, database)
    for stem in POSTGRES_ONLY:
        path = queries.SQL_DIRECTORY / dialect / "queries" / f"{stem}.sql"
        if path.exists():
            for name in re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE):
                del texts[name]
    return texts


def parameters(text: str) -> set[int]:
    """The numbers of the arguments that a statement takes. $0 is an argument's place in a list."""
    return {int(number) for number in re.findall(r"\$([1-9]\d*)", text)}


def test_the_same_names() -> None:
    assert statements("mysql").keys() == statements("postgres").keys()


def test_the_same_files() -> None:
    files = {
        dialect: {path.stem for path in (queries.SQL_DIRECTORY / dialect / "queries").glob("*.sql")}
        for dialect in ("mysql", "postgres")
    }
    assert files["mysql"] == files["postgres"] - set(POSTGRES_ONLY)


def test_the_same_parameters() -> None:
    ours, theirs = statements("mysql"), statements("postgres")
    assert {name: parameters(ours[name]) for name in theirs} == {
        name: parameters(text) for name, text in theirs.items()
    }


def person(name: str, first: str, last: str) -> World:
    """A registration."""
    keys = first.casefold(), last.casefold()
    fields = (name, name.lower(), "a hash", first, last, *keys, BORN, "a bio", "Köln", None)
    return [("user_create", fields)]


# Every statement at least once with an answer, and most of them once without. Users are 1, 2, 3
# and the superuser 5: a name that is taken costs a number.
WORLD: World = [
    ("ping", ()),
    *person("Ada", "Ada", "Lovelace"),
    *person("boris", "Борис", "Ёлкин"),
    *person("carl", "Carl", "Löw"),
    *person("ADA", "Another", "Ada"),
    ("user_by_ids", ([1, 2, 99],)),
    ("user_by_ids", ([],)),
    ("user_credentials", ("ada",)),
    ("user_credentials", ("nobody",)),
    ("user_credentials_by_id", (2,)),
    ("user_make_superuser", ("root", "root", "hash", "Super", "User", "super", "user", False)),
    ("user_make_superuser", ("root", "root", "another", "Super", "User", "super", "user", False)),
    ("user_make_superuser", ("Carl", "carl", "hash", "Super", "User", "super", "user", False)),
    ("password_parameters", ("$argon2id$v=19$m=8,t=1,p=1",)),
    ("password_parameters", ("$argon2id$v=19$m=256,t=1,p=1",)),
    ("password_parameters", ("$argon2id$v=19$m=8,t=1,p=1",)),
    ("session_start", ("s1", 2, 600.0, 2, 4)),
    ("session_start", ("s2", 2, 601.0, 2, 4)),
    # The first of the three ends.
    ("session_start", ("s3", 2, 602.0, 2, 4)),
    ("session_renew", ("s1", 0, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 0, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 1, 2, 0, False, 60.0, 600.0)),
    # Both may have been lost on the way.
    ("session_renew", ("s2", 0, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 1, 2, 0, False, 60.0, 600.0)),
    # From before a failover that lost something.
    ("session_renew", ("s2", 5, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 5, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 1, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s2", 6, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s3", 0, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s3", 0, 2, 0, False, -1.0, 600.0)),
    ("session_renew", ("s3", 1, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s4", 0, 2, 1, True, 60.0, 600.0)),
    ("session_renew", ("s4", 0, 2, 0, True, 60.0, 600.0)),
    ("session_renew", ("s4", 1, 2, 0, False, 60.0, 600.0)),
    ("session_end", ("s4", 2, False, 600.0)),
    ("session_renew", ("s4", 2, 2, 0, False, 60.0, 600.0)),
    ("session_renew", ("s4", 0, 2, 0, True, 60.0, 600.0)),
    ("session_end", ("s5", 2, True, 600.0)),
    ("session_renew", ("s5", 0, 2, 0, True, 60.0, 600.0)),
    ("session_start", ("s6", 2, -1.0, 9, 4)),
    ("session_end", ("s6", 2, False, 600.0)),
    ("session_renew", ("s6", 0, 2, 0, False, 60.0, 600.0)),
    ("user_account_status", ([1, 5],)),
    ("user_update", (1, "Augusta", None, "augusta", None, ["bio"], None, None, None, None)),
    ("user_update", (2, None, None, None, None, [], None, None, None, None)),
    (
        "user_update",
        (
            3,
            None,
            None,
            None,
            None,
            ["city", "country", "birthdate"],
            BORN,
            "x",
            "Ürgüp",
            "Türkiye",
        ),
    ),
    ("user_update", (99, "X", None, "x", None, [], None, None, None, None)),
    ("user_set_password", (1, "a hash", "a new hash")),
    ("user_set_password", (1, "a hash", "a late hash")),
    ("user_rehash", (2, "another hash", "a late hash")),
    ("user_rehash", (2, "a hash", "the same in another way")),
    ("user_credentials_by_id", (2,)),
    ("user_set_disabled", (3, True, 5, 1)),
    ("user_set_disabled", (3, False, 5, 1)),
    ("user_set_disabled", (3, None, 5, 1)),
    ("user_set_disabled", (3, True, 5, 0)),
    ("user_set_disabled", (3, True, 1, 1)),
    ("user_versions", ([1, 2, 99],)),
    ("user_find_by_first", (["a"], ["b"], [0], [10])),
    ("user_find_by_last", (["ё"], ["ѐ\U0010ffff"], [0], [10])),
    ("user_find_by_both", (["c"], ["d"], ["l"], ["m"], [0], [10])),
    ("user_find_by_first", (["c", "a"], ["d", "b"], [0, 1], [10, 2])),
    ("friend_put", (1, 2, 2)),
    ("friend_put", (1, 2, 2)),
    ("friend_page", (2, 2, 0, 10)),
    ("friend_page", (1, 1, 0, 10)),
    ("friend_status", (1, 2)),
    ("friend_status", (2, 1)),
    ("friend_status", (1, 3)),
    ("friend_status", (1, 99)),
    ("friend_put", (2, 1, 2)),
    ("friend_put", (1, 99, 2)),
    ("friend_put", (1, 3, 1)),
    ("friend_put", (3, 1, 2)),
    ("friend_put", (1, 3, 2)),
    ("friend_page", (1, 3, 0, 10)),
    ("friend_page", (1, 3, 2, 10)),
    ("friends_of_many", ([1, 2, 3],)),
    ("post_create", (2, "Привет 👋\nline \\ 'two'", "public", "c1", '"…"')),
    ("post_create", (2, "for friends", "friends", None, None)),
    ("post_create", (5, "elsewhere", "friends", None, None)),
    ("post_get", (1, 3)),
    ("post_get", (2, 1)),
    ("post_get", (2, 3)),
    ("post_change", (2, 2, "changed", None, None)),
    ("post_change", (2, 1, "mine?", None, None)),
    ("post_change", (5, 3, "changed", None, '"…"')),
    ("post_wall_encoded", (5, 5, END, 10)),
    ("post_wall", (2, 3, END, 10)),
    ("post_wall", (2, 1, END, 1)),
    ("post_wall_encoded", (2, 3, END, 10)),
    ("post_wall_encoded", (3, 3, END, 10)),
    ("post_encode", (ENCODED,)),
    ("post_wall_encoded", (2, 1, END, 1)),
    ("feed_versions", ([1, 2, 3, 5],)),
    ("post_feed", (1, END, 10)),
    ("feed_reached", (1, 1, 100)),
    ("feed_reached", (1, 2, 100)),
    ("feed_reached", (1, 1, 1)),
    ("post_feed", (1, 2, 10)),
    ("post_feed_encoded", (1, END, 10)),
    ("post_feed_encoded", (1, END, 1)),
    ("post_feed_encoded", (5, END, 10)),
    ("post_feed", (5, END, 10)),
    ("post_feed_newest", (1, END, 1, 100)),
    ("post_feed_newest", (1, END, 10, 1)),
    ("post_feed_newest", (1, 2, 10, 100)),
    ("post_feed_newest", (1, 1, 10, 100)),
    ("post_feed_newest_encoded", (1, END, 10, 100)),
    ("feed_reached_newest", (1, 1, 100, 100)),
    ("feed_reached_newest", (1, 1, 1, 100)),
    ("feed_reached_newest", (1, 1, 100, 1)),
    ("friend_count", (1,)),
    ("friend_count", (99,)),
    ("outbox_left", (-1.0, 3)),
    ("outbox_left", (3600.0, 3)),
    ("post_remove", (1, 3, 0)),
    ("post_remove", (1, 5, 0)),
    ("post_remove", (1, 5, 1)),
    ("post_remove", (1, 5, 1)),
    ("friend_delete", (1, 2)),
    ("friend_delete", (1, 2)),
    ("outbox_left", (-1.0, 100)),
    ("outbox_up_to", (1, END, 100)),
    ("outbox_up_to", (2, END, 100)),
    ("outbox_up_to", (3, END, 1)),
    ("outbox_up_to", (5, 0, 100)),
    ("outbox_delete", ([1], [2**40])),
    ("dialog_send", (DIALOG, 1, 2, "hello 👋", "c1", False)),
    ("dialog_send", (DIALOG, 1, 2, "hello 👋", "c1", True)),
    ("dialog_send", (DIALOG, 1, 2, "hello again", "c1", False)),
    ("dialog_send", (DIALOG, 2, 1, "hi", None, False)),
    ("dialog_send", (DIALOG, 2, 1, "there", None, True)),
    ("dialog_send", (dialog_id(1, 3), 3, 1, "you", None, True)),
    ("dialog_send_many", ([DIALOG], [1], ["one\n\t'of' \\ \"many\" 👋"], ["é 👋"])),
    ("dialog_send_many", ([DIALOG], [1], ["the same again"], ["é 👋"])),
    ("dialog_send_many", ([dialog_id(1, 3)], [1], ["null"], [None])),
    ("dialog_send_many", ([dialog_id(1, 3), 99], [3, 3], ["null", "nowhere"], ["null", "x"])),
    ("dialog_send_many", ([99], [1], ["nowhere"], [None])),
    ("dialog_read", (DIALOG, 1, 2)),
    ("dialog_read", (DIALOG, 1, 1)),
    ("dialog_read", (DIALOG, 2, 99)),
    ("dialog_read", (99, 2, 1)),
    # Nothing is behind.
    ("dialog_heal", (DIALOG, 2, 1)),
    ("dialog_versions", ([DIALOG, 99],)),
    ("dialog_page_before", (DIALOG, END, 2)),
    ("dialog_page_after", (DIALOG, 1, 10)),
    ("dialog_page_after", (99, 0, 10)),
    ("dialog_list", (1, 2**52, END, 10)),
    ("dialog_list", (2, 2**52, END, 1)),
    ("dialog_list", (5, 2**52, END, 10)),
    ("messageoutbox_left", (-1.0, 100)),
    ("messageoutbox_up_to", (DIALOG, 2, 100)),
    ("messageoutbox_up_to", (DIALOG, 99, 1)),
    ("messageoutbox_delete", ([DIALOG, DIALOG], [1, 2])),
    ("messageoutbox_up_to", (DIALOG, 2, 100)),
    ("messageoutbox_up_to", (DIALOG, 99, 1)),
    ("messageoutbox_left", (-1.0, 1)),
    ("lease_take", ("sweep", "one", 60.0)),
    ("lease_take", ("sweep", "another", 60.0)),
    # It may cost a number, too.
    ("post_create", (2, "again", "friends", "c2", None)),
    ("post_create", (2, "and again", "friends", "c2", None)),
]


@dataclass
class Answer:
    """A statement's columns, none if it only writes, and its rows."""

    columns: list[str]
    rows: list[list[Any]]


async def in_postgres(url: str) -> list[Answer]:
    """The world's answers."""
    texts = statements("postgres")
    connection = await postgres.connect(url)
    answers = []
    for name, arguments in WORLD:
        prepared = await connection.prepare(texts[name])
        columns = [attribute.name for attribute in prepared.get_attributes()]
        answers.append(Answer(columns, [list(row) for row in await prepared.fetch(*arguments)]))
    await connection.close()
    return answers


async def in_mysql(url: str) -> list[Answer]:
    """The answers of MySQL, with the columns that the server itself names."""
    texts = statements("mysql")
    connection = await mysql.connect(url)
    answers = []
    for name, arguments in WORLD:
        text = mysql.Statement(texts[name]).with_arguments(arguments)
        columns, found = await mysql.answer(connection, text)
        rows = [list(row) for row in found]
        answers.append(Answer(list(columns.names) if columns else [], rows))
    connection.close()
    return answers


@pytest.fixture(scope="module")
def worlds(
    postgres_server: PostgresServer, mariadb_server: MariadbServer
) -> list[tuple[str, Answer, Answer]]:
    """Statement, PostgreSQL's answer, MySQL's answer."""
    theirs = asyncio.run(in_postgres(new_database(postgres_server, TEMPLATE)))
    ours = asyncio.run(in_mysql(new_database(mariadb_server, TEMPLATE)))
    names = [name for name, _ in WORLD]
    return list(zip(names, theirs, ours, strict=True))


def test_the_world_has_every_statement() -> None:
    assert {name for name, _ in WORLD} == statements("postgres").keys()


def test_the_same_columns(worlds: Sequence[tuple[str, Answer, Answer]]) -> None:
    seen = set()
    for name, theirs, ours in worlds:
        # A procedure that finds nothing answers nothing, not even columns.
        if ours.columns or theirs.rows:
            assert name in TELL_NOTHING or ours.columns == theirs.columns, name
            seen.add(name)
    assert seen | TELL_NOTHING == statements("postgres").keys()


def test_the_same_rows(worlds: Sequence[tuple[str, Answer, Answer]]) -> None:
    for place, (name, theirs, ours) in enumerate(worlds):
        if name not in TELL_NOTHING:
            assert shown(name, ours) == shown(name, theirs), (place, name)


def shown(name: str, answer: Answer) -> list[list[Any]]:
    """The rows without what two servers cannot have in common: moments and numbers of events."""
    return [
        [
            (
                column,
                kind_of(value) if is_own(name, column, value) else (type(value), of_no_time(value)),
            )
            for column, value in zip(answer.columns, row, strict=True)
        ]
        for row in answer.rows
    ]


def is_own(name: str, column: str, value: Any) -> bool:
    """Whether a value is right though it is another one in the other database."""
    if isinstance(value, datetime):
        # In UTC, and of now.
        assert abs((value - datetime.now(UTC)).total_seconds()) < 3600
        return True
    if column == "used_ms" and value is not None:
        assert abs(value / 1000 - datetime.now(UTC).timestamp()) < 3600
        return True
    of_friends = name.startswith("friend") or name in ("outbox_left", "outbox_up_to")
    return column in NUMBERS_OF_EVENTS or (column == "version" and of_friends)


def of_no_time(value: Any) -> Any:
    """Bytes of JSON without the times in them."""
    return MOMENT.sub(b'"now"', value) if isinstance(value, bytes) else value


def kind_of(value: Any) -> Any:
    """The type, and of a list those of its items."""
    return [type(item) for item in value] if isinstance(value, list) else type(value)
