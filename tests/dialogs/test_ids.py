"""The ids of dialogs: taken apart to what they were made of, the same everywhere, and spread."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.sql import SqlServer, connect, rows
from hlfast.dialogs.dialog_ids import dialog_id, pair, peer, users_of
from tests.conftest import TEMPLATE

LARGEST = 2**31 - 1
EDGES = (1, 2, 3, 2**15, 2**16 - 1, 2**16, 2**30 - 1, 2**30, LARGEST - 1, LARGEST)
NEIGHBOURS = 3001


def pairs(count: int) -> list[tuple[int, int]]:
    """Of users: the edges with each other, neighbours, and some by chance."""
    chance = random.Random(7)
    return [
        *((one, other) for one in EDGES for other in EDGES if one != other),
        *((one, one + 1) for one in range(1, 100)),
        *((chance.randint(1, LARGEST - 1), LARGEST) for _ in range(100)),
        *((chance.randrange(1, 10**9), chance.randrange(10**9, LARGEST)) for _ in range(count)),
    ]


def test_an_id_is_taken_apart_to_the_pair() -> None:
    asked = pairs(20_000)
    ids = {}
    for one, other in asked:
        id = dialog_id(one, other)
        assert 0 <= id < 2**62
        assert id == dialog_id(other, one)
        assert users_of(id) == (min(one, other), max(one, other))
        assert (peer(id, one), peer(id, other)) == (other, one)
        ids[pair(one, other)] = id
    # As many as pairs.
    assert len(set(ids.values())) == len(ids)


def test_every_id_is_some_pairs() -> None:
    """What is taken apart is made again, so no step loses anything."""
    chance = random.Random(7)
    for _ in range(20_000):
        id = chance.getrandbits(62)
        low, high = users_of(id)
        if low < high:
            assert dialog_id(low, high) == id


def test_ids_never_change() -> None:
    """Rows are stored under them."""
    assert dialog_id(1, 2) == 2408926580793590728
    assert dialog_id(9, 7) == 4013007903085475962
    assert dialog_id(1, LARGEST) == 3696595524806238407
    assert pair(9, 7) == 7 << 32 | 9


def test_databases_have_the_same(database_server: SqlServer) -> None:
    url = database_server.url(TEMPLATE)

    async def ask() -> None:
        connection = await connect(url)
        try:
            asked = pairs(1000)
            for start in range(0, len(asked), 200):
                some = asked[start : start + 200]
                columns = ", ".join(f"dialog_id_of({one}, {other})" for one, other in some)
                (found,) = await connection.rows(f"SELECT {columns}")
                assert list(found) == [dialog_id(*two) for two in some]
        finally:
            await connection.close()

    asyncio.run(ask())


def test_each_bit_is_as_good_as_random() -> None:
    """Whichever bit of a user's id is another one, each bit of the dialog's is in half of cases."""
    count = 1000
    turned: Counter[tuple[int, int]] = Counter()
    for one in range(1, count + 1):
        low, high = one, one + 2**20
        id = dialog_id(low, high)
        for bit in range(20):
            # Of neighbours' ids the higher bits never differ.
            change = id ^ dialog_id(low, high ^ 1 << bit)
            turned.update((bit, place) for place in range(62) if change >> place & 1)
    assert len(turned) == 20 * 62
    shares = [found / count for found in turned.values()]
    # Five standard deviations and more: one in millions of them is so far off by chance.
    assert min(shares) > 0.41
    assert max(shares) < 0.59


@pytest.mark.parametrize("count", [32, 64, 4096])
def test_dialogs_of_neighbours_are_spread_by_the_hash_of_a_cluster(
    postgres_server: PostgresServer, count: int
) -> None:
    """A shard has a range of hashes, each of the same width."""
    found = rows(
        postgres_server.url(TEMPLATE),
        "SELECT (hashint8(dialog_id_of(a, a + 1))::bigint + 2147483648) * $2 >> 32, count(*)"
        " FROM generate_series(1, $1) AS a GROUP BY 1",
        NEIGHBOURS,
        count,
    )
    mean = NEIGHBOURS / count
    # Six standard deviations of a fair choice.
    assert max(number for _, number in found) < mean + 6 * mean**0.5 + 4
    # And of the bare pairs.
    (bare,) = rows(
        postgres_server.url(TEMPLATE),
        "SELECT count(DISTINCT hashint8(a::bigint << 32 | a + 1)) FROM generate_series(1, $1) AS a",
        NEIGHBOURS,
    )
    assert bare == (12,)
