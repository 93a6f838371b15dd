"""The answers of a real MariaDB, taken apart in whatever pieces they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import aiomysql
import pytest
import uvloop
from pymysql.constants import COMMAND

from hl_utils.servers.mariadb import MariadbServer
from hlfast.db import mysql
from hlfast.db.mysql_answer import Answer, AnswerReader, Columns
from tests.conftest import TEMPLATE, new_database

# Lengths on either side of where their own length gets longer.
LENGTHS = (0, 1, 250, 251, 252, 65535, 65536, 70_000)
QUERY = (
    "SELECT 1 AS `read`, {texts}, NULL AS nothing, -7 AS number UNION ALL SELECT 0, {texts}, 2, 3"
)
TEXTS = ", ".join(f"REPEAT('я', {length}) AS t{length}" for length in LENGTHS)


async def bytes_of(connection: Any, text: str) -> bytes:
    """The packets of an answer, as they come from the server."""
    await connection._execute_command(COMMAND.COM_QUERY, text.encode())
    came = b""
    while True:
        came += await connection._reader.read(1 << 20)
        try:
            await taken_apart(came, len(came))
        except aiomysql.MySQLError as error:
            if error.args[0] == 2013:
                continue
        return came


async def taken_apart(came: bytes, piece: int, known: Columns | None = None) -> Answer:
    """The answer from pieces of so many bytes, after which nothing comes."""

    class Pieces:
        at = 0

        async def read(self, _: int) -> bytes:
            self.at += piece
            return came[self.at - piece : self.at]

    pieces: Any = Pieces()
    return await AnswerReader(pieces, mysql._BY_TYPE, mysql._BY_NAME).read(known)


def on_a_connection(
    server: MariadbServer, play: Callable[[Any], Awaitable[None]], template: str = ""
) -> None:
    """Play with a connection to a new database."""

    async def run() -> None:
        connection = await mysql.connect(new_database(server, template))
        try:
            # Whoever misreads an answer waits for more of it.
            async with asyncio.timeout(60):
                await play(connection)
        finally:
            connection.close()

    uvloop.run(run())


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
def test_an_answer_is_the_same_in_pieces(mariadb_server: MariadbServer, piece: int) -> None:
    async def play(connection: Any) -> None:
        came = await bytes_of(connection, QUERY.format(texts=TEXTS.replace("65535", "655")))
        short = await bytes_of(connection, QUERY.format(texts="'é' AS t"))
        wanted = ["я" * length for length in (*LENGTHS[:5], 655, *LENGTHS[6:])]
        if piece < 100:
            came, wanted = short, ["é"]
        columns, rows = await taken_apart(came, piece)
        assert rows == [(True, *wanted, None, -7), (False, *wanted, 2, 3)]
        assert columns is not None
        assert columns.names[-2:] == ("nothing", "number")
        assert await taken_apart(came, piece, columns) == (columns, rows)
        # Those of another statement are of no use.
        other = columns._replace(packets=columns.packets.replace(b"number", b"nimber"))
        assert (await taken_apart(came, piece, other)).columns == columns
        with pytest.raises(aiomysql.OperationalError, match="Lost connection"):
            await taken_apart(came[:-1], piece)

    on_a_connection(mariadb_server, play)


def test_values_of_every_type(mariadb_server: MariadbServer) -> None:
    values: Sequence[tuple[str, Any]] = [
        ("CAST('2026-05-04' AS DATE)", date(2026, 5, 4)),
        ("TIMESTAMP '2026-05-04 09:30:00.123456'", datetime(2026, 5, 4, 9, 30, 0, 123456, UTC)),
        ("TIMESTAMP '2026-05-04 09:30:00'", datetime(2026, 5, 4, 9, 30, tzinfo=UTC)),
        ("CAST(9223372036854775807 AS SIGNED)", 2**63 - 1),
        ("1.50", Decimal("1.50")),
        ("1.5e0", 1.5),
        ("x'00ff'", b"\x00\xff"),
        ("'ÿ\\0'", "ÿ\0"),
        ("NULL", None),
    ]

    async def play(connection: Any) -> None:
        text = "SELECT " + ", ".join(sql for sql, _ in values)
        [row] = await mysql.query(connection, text)
        assert [(type(value), value) for value in row] == [
            (type(value), value) for _, value in values
        ]
        assert len(await mysql.query(connection, "SELECT 1 FROM seq_1_to_70000")) == 70_000
        # A column that has no name is called what it is made of.
        nameless = " + ".join(["1"] * 80)
        assert [tuple(row) for row in await mysql.query(connection, f"SELECT {nameless}, 'x'")] == [
            (80, "x")
        ]

    on_a_connection(mariadb_server, play)


def test_of_a_procedure_the_first_rows_and_its_error(mariadb_server: MariadbServer) -> None:
    async def play(connection: Any) -> None:
        for name, then in (("good", "SELECT 'more'"), ("bad", "SELECT 1 FROM nowhere")):
            await mysql.query(connection, f"CREATE PROCEDURE {name}() BEGIN SELECT 7; {then}; END")
        for _ in range(2):
            assert [tuple(row) for row in await mysql.query(connection, "CALL good()")] == [(7,)]
            with pytest.raises(aiomysql.ProgrammingError):
                await mysql.query(connection, "CALL bad()")
            with pytest.raises(aiomysql.ProgrammingError):
                await mysql.query(connection, "SELECT")
        assert await mysql.query(connection, "DO 1") == []
        assert await mysql.query(connection, "SELECT 1 FROM seq_1_to_3 WHERE seq > 3") == []

    on_a_connection(mariadb_server, play)


def test_numbers_of_every_length_stand_before_the_status(mariadb_server: MariadbServer) -> None:
    """The id that a row was given: as long as it is, the next answer is another's."""

    async def play(connection: Any) -> None:
        await mysql.query(connection, "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY)")
        for number in (250, 251, 255, 2**16 - 1, 2**24 - 1, 2**24, 2**56 - 1, 2**63 - 2):
            text = f"INSERT INTO t VALUES (LAST_INSERT_ID({number}))"
            assert await mysql.query(connection, text) == []
            [(found,)] = await mysql.query(connection, "SELECT LAST_INSERT_ID()")
            assert found == number

    on_a_connection(mariadb_server, play)


def test_a_connection_that_the_server_ended_is_closed(mariadb_server: MariadbServer) -> None:
    async def play(connection: Any) -> None:
        other = await mysql.connect(mariadb_server.url(TEMPLATE))
        [(number,)] = await mysql.query(connection, "SELECT CONNECTION_ID()")
        await mysql.query(other, f"KILL {number}")
        other.close()
        with pytest.raises(aiomysql.OperationalError):
            await asyncio.wait_for(mysql.query(connection, "SELECT 1"), 30)
        assert connection.closed

    on_a_connection(mariadb_server, play)
