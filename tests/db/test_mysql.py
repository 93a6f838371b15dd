"""What is MySQL's own: arguments written into text, what compares, the start, the migrations."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from urllib.parse import quote, quote_plus

import aiomysql
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import value
from hlfast.codec import prefix_end
from hlfast.db import migrations, mysql, queries
from hlfast.db.mysql import MysqlDatabase
from hlfast.db.mysql_text import Statement
from hlfast.db.open import open_database
from hlfast.dialogs.dialog_ids import dialog_id
from hlfast.errors import Unavailable
from hlfast.settings import Settings, SettingsError
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.db.mysql_pool import BOTH, one, play, user
from tests.http import get

NASTY = [
    "",
    "it's",
    "'; DROP TABLE user; -- ",
    "\\",
    "\\'",
    "a\\",
    '"`',
    "%s %d %% %(a)s",
    "$1 $2 {0}",
    "\n\r\t\x1a\x01",
    "\0",
    "😀𝔘 é e\u0301",
    "¥\u00a5\u20a9\uff07",  # what other character sets take for a backslash or a quote
    "trailing  ",
    "x" * 4096,
]
# Arguments


@pytest.mark.usefixtures("own_statements")
def test_text_comes_back_as_it_was(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        for text in NASTY:
            assert await one(database, "echo", text) == text
            assert bytes.fromhex(await one(database, "echo_bytes", text)).decode() == text
            assert await one(database, "among", text, ["other", text]) == 1

    play(mysql_url, test)


@pytest.mark.usefixtures("own_statements")
def test_any_text_comes_back_as_it_was(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        async def echo(texts: list[str]) -> None:
            for text in texts:
                assert await one(database, "echo", text) == text

        tried: list[str] = []

        @given(st.text(st.characters(exclude_categories=["Cs"])))
        def collect(text: str) -> None:
            tried.append(text)

        await asyncio.to_thread(collect)
        assert len(set(tried)) > 20
        await echo(tried)

    play(mysql_url, test)


@given(st.text(), st.text())
def test_an_argument_is_one_literal(first: str, second: str) -> None:
    text = Statement("SELECT $1, $2").with_arguments((first, second))
    # Read as the server does: a quote begins a literal, a backslash takes its next character.
    literals, position = [], len("SELECT ")
    while position < len(text):
        assert text[position] == "'"
        end = position + 1
        while text[end] != "'":
            end += 2 if text[end] == "\\" else 1
        literals.append(text[position : end + 1])
        position = end + 1
        assert text[position : position + 2] in (", ", "")
        position += 2
    assert len(literals) == 2


@pytest.mark.usefixtures("own_statements")
def test_arguments_of_every_type(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        assert tuple((await database.fetch("twice", 1, "b"))[0]) == ("b", 1, "b")
        ten = tuple((await database.fetch("tenth", *range(1, 11)))[0])
        assert ten == (10, 1, 2, 3, 4, 5, 6, 7, 8, 9)
        for argument, wanted in (
            (2**63 - 1, 2**63 - 1),
            (-(2**63), -(2**63)),
            (True, 1),
            (False, 0),
            (None, None),
            (date(1, 1, 1), "0001-01-01"),
            (date(9999, 12, 31), "9999-12-31"),
        ):
            assert await one(database, "echo", argument) == wanted
        assert float(await one(database, "echo", 0.25)) == 0.25
        assert await one(database, "among", 2, [1, 2]) == 1
        assert await one(database, "among", 3, [1, 2]) == 0
        assert not await one(database, "among", 3, [])

    play(mysql_url, test)


@pytest.mark.parametrize("argument", [object(), b"bytes", {1}, datetime(2026, 1, 1, tzinfo=UTC)])
def test_other_types_are_refused(argument: object) -> None:
    for arguments in ((argument,), ([argument],)):
        with pytest.raises(ValueError, match="no argument"):
            Statement("SELECT $1").with_arguments(arguments)


def test_the_number_of_arguments_is_the_statements() -> None:
    for arguments in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="instead of 2"):
            Statement("SELECT $1, $2").with_arguments(arguments)


def test_a_statement_of_several_is_written_for_each() -> None:
    several = Statement("SELECT $0 AS number, f($1) FROM t WHERE a = $2 AND $10 > $1")
    assert several.parameters == 10
    several = Statement("SELECT $0, $2 FROM t WHERE a = $1")
    assert (
        several.with_arguments((["x", "$0"], [7, None]))
        == "SELECT 1, 7 FROM t WHERE a = 'x' UNION ALL SELECT 2, NULL FROM t WHERE a = '$0'"
    )
    with pytest.raises(ValueError, match="shorter"):
        several.with_arguments((["x", "y"], [7]))


@pytest.mark.usefixtures("own_statements")
def test_a_lone_surrogate_is_refused_and_nothing_is_sent(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        with pytest.raises(ValueError, match="surrogates"):
            await database.fetch("echo", "\udca7")
        assert await one(database, "echo", "next") == "next"

    play(mysql_url, test, database_pool_size=1)


# Rows and sessions


@pytest.mark.usefixtures("own_statements")
def test_values_have_the_types_of_postgresql(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        (row,) = await database.fetch("types")
        when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        wanted = (True, None, 5, date(1, 1, 1), when, when.replace(microsecond=6))
        assert tuple(row) == (*wanted, [1, 2**53 - 1], None, "x", None)
        assert row["read"] is True
        assert row["t"].tzinfo is UTC
        assert row[2] == row["n"] == 5
        assert row[1:3] == (None, 5)
        assert len(row) == 10
        with pytest.raises(KeyError):
            row["absent"]

    play(mysql_url, test)


@pytest.mark.usefixtures("own_statements")
def test_a_session_is_what_the_statements_need(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        session = await database.fetch_row("session")
        assert session is not None
        assert "STRICT_ALL_TABLES" in session["mode"]
        assert "NO_BACKSLASH_ESCAPES" not in session["mode"]
        wanted = ("+00:00", "utf8mb4_bin", "READ-COMMITTED", 1)
        assert tuple(session)[1:] == wanted

    play(mysql_url, test)


# What is compared


def test_names_are_told_apart_by_every_character(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        await database.fetch("user_create", *user("ada"))
        for other in ("ada ", "ada\t", " ada", "Ada", "ad\u00e1", "ada\u200b"):
            assert await database.fetch("user_credentials", other) == []
        assert len(await database.fetch("user_credentials", "ada")) == 1
        assert await database.fetch("user_create", *user("ada")) == []

    play(mysql_url, test)


def test_client_ids_are_told_apart_by_every_character(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        (author,) = await database.fetch("user_create", *user("client-ids"))
        dialog = dialog_id(1, 2)
        clients = ["a", "a ", "A", "a\t", "á", "a\u0301", "😀" * 64]
        for client in (*clients, *clients):
            await database.fetch("post_create", author["id"], "text", "public", client, None)
            (sent,) = await database.fetch("dialog_send", dialog, 1, 2, "text", client, True)
            assert sent["client_id"] == client
        wall = await database.fetch("post_wall", author["id"], author["id"], 2**53 - 1, 100)
        assert len(wall) == len(clients)
        page = await database.fetch("dialog_page_after", dialog, 0, 100)
        assert [row["client_id"] for row in page] == clients

    play(mysql_url, test)


def test_a_search_finds_what_begins_so_by_code_points(mysql_url: str) -> None:
    keys = ["q", "q ", "q\t", "q\x01", "qa", "q\uffff", "q\U0010ffff", "r", "Q", "q\ue000", "😀"]
    keys += ["😀" * 128, "\ufdfa" * 128, "q" * 128]

    async def test(database: MysqlDatabase) -> None:
        ids = {}
        for number, key in enumerate(keys):
            (row,) = await database.fetch("user_create", *user(f"search-{number}", "F", key))
            ids[row["id"]] = key
        for prefix in (*keys, "q ", "\ufdfa"):
            page = await database.fetch_row(
                "user_find_by_first", [prefix], [prefix_end(prefix)], [0], [100]
            )
            assert page is not None
            found = [int(mark.partition(":")[0]) for mark in page["found"].split(",")]
            wanted = [number for number, key in ids.items() if key.startswith(prefix)]
            assert [user_id for user_id in found if user_id in ids] == wanted, prefix

    play(mysql_url, test)


def test_an_error_in_a_procedure_leaves_nothing_and_the_connection(mysql_url: str) -> None:
    async def test(database: MysqlDatabase) -> None:
        (author,) = await database.fetch("user_create", *user("failing"))
        me = author["id"]
        for content, privacy in (("x" * 5000, "public"), ("x", "nobody")):
            with pytest.raises(aiomysql.MySQLError):
                await database.fetch("post_create", me, content, privacy, "id", None)
        assert await database.fetch("post_wall", me, me, 2**53 - 1, 10) == []
        (post,) = await database.fetch("post_create", me, "x" * 4096, "public", "id", None)
        # Nothing of the failed ones waits to be told of.
        assert post["after_ids"] is None

    play(mysql_url, test)


# The start


@pytest.mark.parametrize(
    "statement",
    [
        "SELEC 1",
        "SELECT nothing FROM user",
        "SELECT 1 FROM nowhere WHERE id IN ($1)",
        "CALL nowhere($1)",
        "CALL friend_put($1, $2)",
        "CALL user_update($1, 'a' IN ($2, $3), $4)",
    ],
)
def test_a_statement_that_does_not_fit_fails_the_start(
    mysql_url: str, own_statements: dict[str, str], statement: str
) -> None:
    own_statements["wrong"] = statement
    with pytest.raises(aiomysql.MySQLError):
        uvloop.run(mysql.open_database(mysql_url, BOTH, Settings()))


def test_a_server_that_is_too_old_is_named(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mysql.VERSION_MIN, "MariaDB", (99, 0, 0))
    for start in (mysql.open_database(mysql_url, BOTH, Settings()), mysql.connect(mysql_url)):
        with pytest.raises(SettingsError, match=r"MariaDB 10\..*: 99\.0\.0 or newer is needed"):
            uvloop.run(start)


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://u:secret@host:port/main",
        "mysql://u:secret@host:99999/main",
        "mysql://u:secret@host",
        "mysql://u:secret@host/main?unix_sock=/x",
        "mysql://u:secret@host/main?secret",
        "mysql://u:secret@[host/main",
    ],
)
def test_a_url_that_is_none_is_one_line_without_its_password(wrong: str) -> None:
    for start in (open_database(wrong, BOTH, Settings()), mysql.connect(wrong)):
        with pytest.raises(SettingsError) as caught:
            uvloop.run(start)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("password", ["p@ss/w:rd?#%", "it's 'ünï'"])
def test_a_password_may_be_anything(mariadb_server: MariadbServer, password: str) -> None:
    text = password.replace("'", "''")
    mariadb_server.administer(
        f"CREATE OR REPLACE USER somebody@localhost IDENTIFIED BY '{text}';"
        f"GRANT ALL ON {TEMPLATE}.* TO somebody@localhost"
    )
    user = f"somebody:{quote(password, safe='')}"
    address = f"/{TEMPLATE}?unix_socket={quote_plus(str(mariadb_server.socket))}"

    async def test() -> None:
        connection = await mysql.connect(f"mysql://{user}@{address}")
        assert len(await mysql.query(connection, "SELECT 1")) == 1
        connection.close()
        with pytest.raises(Unavailable) as caught:
            await mysql.connect(f"mysql://somebody:wrong-one@{address}")
        assert "wrong-one" not in str(caught.value)

    uvloop.run(test())


# Migrations


def test_a_migration_that_failed_halfway_is_run_again(
    mariadb_server: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(mariadb_server)
    whole = queries.migrations("mysql", queries.MAIN)
    for statement in ("CREATE TABLE IF NOT EXISTS post (", "CREATE PROCEDURE friend_delete"):
        broken = [
            queries.Migration(one.name, one.sql.replace(statement, "BROKEN " + statement))
            for one in whole
        ]
        assert broken != whole
        with monkeypatch.context() as patch, pytest.raises(aiomysql.MySQLError):
            patch.setattr(queries, "migrations", lambda *_, broken=broken: broken)
            uvloop.run(migrations.apply(url, queries.MAIN))
    assert uvloop.run(migrations.apply(url, queries.MAIN)) == [one.name for one in whole]
    assert uvloop.run(migrations.apply(url, queries.DIALOGS))
    assert uvloop.run(migrations.apply(url, queries.MAIN)) == []

    async def test(database: MysqlDatabase) -> None:
        assert await database.fetch("ping")

    play(url, test)


def test_one_starter_at_a_time_migrates(mariadb_server: MariadbServer) -> None:
    url = new_database(mariadb_server)

    async def test() -> None:
        rooms = [room for room in BOTH for _ in range(4)]
        applied = await asyncio.gather(*(migrations.apply(url, room) for room in rooms))
        names = sorted(name for names in applied for name in names)
        wanted = [one.name for room in BOTH for one in queries.migrations("mysql", room)]
        assert names == sorted(wanted)

    uvloop.run(test())


# Both at once


def test_dialogs_may_live_in_postgresql(
    mariadb_server: MariadbServer, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    main = new_database(mariadb_server, TEMPLATE)
    dialogs = new_database(postgres_server, TEMPLATE)
    mixed = {"DIALOGS_DATABASE_URL": dialogs}
    with Api(main, redis_server.url, **mixed) as api, Client(api.url) as client:
        me, friend = client.user(), client.user()
        path = f"/dialogs/{friend.id}/messages"
        sent = me.post(path, json={"content": "hello", "client_id": "1"})
        assert sent.status_code == 201
        assert me.post(path, json={"content": "hello", "client_id": "1"}).json() == sent.json()
        page = friend.get(f"/dialogs/{me.id}/messages").json()
        assert [item["content"] for item in page["items"]] == ["hello"]
        listed = friend.get("/dialogs").json()["items"]
        assert [(item["user"]["id"], item["unread"]) for item in listed] == [(me.id, 1)]
        assert get(f"{api.url}/health/dependencies").json()["dialogs"] == "ok"
    assert value(main, "SELECT COUNT(*) FROM dialog") == 0
    assert value(dialogs, "SELECT COUNT(*) FROM dialog") == 1
