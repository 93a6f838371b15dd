"""Two people who ask, accept, withdraw and leave at the same time.

Whatever meets, the answers and what is stored must be those of some order in which the requests
could have come one after the other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Literal

import pytest

from bench.crowd import Answer, Crowd, Person
from hl_utils.servers.services import Api
from hl_utils.servers.sql import Connection, connect
from tests.races.conftest import FRIENDS_MAX

ROUNDS = 25
PAIRS = 4

Side = Literal["a", "b"]
State = Literal["none", "a asked", "b asked", "friends"]
Act = tuple[Side, Literal["PUT", "DELETE"]]

A_PUT: Act = ("a", "PUT")
B_PUT: Act = ("b", "PUT")
A_DELETE: Act = ("a", "DELETE")
B_DELETE: Act = ("b", "DELETE")

RACES: dict[str, tuple[State, tuple[Act, ...]]] = {
    "two requests cross": ("none", (A_PUT, B_PUT)),
    "request and unfriend": ("friends", (A_PUT, B_DELETE, A_DELETE, B_PUT)),
    "accept and withdraw": ("a asked", (B_PUT, A_DELETE)),
    "accept and decline": ("a asked", (B_PUT, B_DELETE, A_PUT)),
    "both leave": ("friends", (A_DELETE, B_DELETE)),
    "everything": ("none", (A_PUT, B_PUT, A_DELETE, B_DELETE, A_PUT)),
}


def step(state: State, act: Act) -> tuple[State, tuple[int, str]]:
    """The contract: the state after an act, and its answer."""
    side, method = act
    mine: State = "a asked" if side == "a" else "b asked"
    if method == "DELETE":
        return "none", (404, "") if state == "none" else (204, "")
    if state in ("none", mine):
        return mine, (200, "requested")
    return "friends", (200, "friends")


def explained(
    state: State, acts: Sequence[Act], answers: Sequence[tuple[int, str]], end: State
) -> bool:
    """Whether some order of the acts gives these answers and this end."""
    for order in itertools.permutations(range(len(acts))):
        now = state
        for index in order:
            now, answer = step(now, acts[index])
            if answer != answers[index]:
                break
        else:
            if now == end:
                return True
    return False


def short(answer: Answer) -> tuple[int, str]:
    """What `step` says of an answer."""
    return answer.status, answer.json["status"] if answer.status == 200 else ""


async def bring_to(crowd: Crowd, a: Person, b: Person, state: State) -> None:
    await crowd.ask(a.ask("DELETE", f"/friends/{b.id}"))
    requests = {"none": (), "a asked": ((a, b),), "b asked": ((b, a),)}
    for one, other in requests.get(state, ((a, b), (b, a))):
        answer = await crowd.ask(one.ask("PUT", f"/friends/{other.id}"))
        assert answer.status == 200, answer


async def stored(connection: Connection, a: Person, b: Person) -> State:
    """The pair's state, after a look at everything that must hold of it."""
    rows = await connection.rows(
        "SELECT user_id, state, version FROM friend WHERE user_id IN ($1, $2)", a.id, b.id
    )
    counts = await connection.rows(
        "SELECT friends FROM friendcount WHERE user_id IN ($1, $2)", a.id, b.id
    )
    by_user = {user_id: state for user_id, state, _ in rows}
    assert len(rows) == len(by_user)
    assert len({version for _, _, version in rows}) <= 1, "both sides are of one change"
    names: dict[tuple[int | None, int | None], State] = {
        (None, None): "none",
        (1, 2): "a asked",
        (2, 1): "b asked",
        (3, 3): "friends",
    }
    state = names[by_user.get(a.id), by_user.get(b.id)]
    assert {friends for (friends,) in counts} <= {int(state == "friends")}
    assert state != "friends" or len(counts) == 2
    return state


@pytest.mark.parametrize("race", RACES)
def test_a_pair_in_a_race_ends_as_if_one_came_after_the_other(
    race: str, two_processes: Api
) -> None:
    state, acts = RACES[race]

    async def run() -> None:
        connection = await connect(two_processes.settings["DATABASE_URL"])
        async with Crowd(two_processes.url, PAIRS * len(acts)) as crowd:
            pairs = [tuple(await crowd.people(2)) for _ in range(PAIRS)]
            for _ in range(ROUNDS):
                await one_round(crowd, connection, pairs)
        await connection.close()

    async def one_round(
        crowd: Crowd, connection: Connection, pairs: Sequence[tuple[Person, ...]]
    ) -> None:
        for a, b in pairs:
            await bring_to(crowd, a, b, state)
        asks = []
        for side, method in acts:
            for a, b in pairs:
                me, them = (a, b) if side == "a" else (b, a)
                asks.append(me.ask(method, f"/friends/{them.id}"))
        answers = await crowd.at_once(asks)
        for index, (a, b) in enumerate(pairs):
            mine = [short(answer) for answer in answers[index :: len(pairs)]]
            end = await stored(connection, a, b)
            assert explained(state, acts, mine, end), (acts, mine, end)
            lists = [
                (await crowd.ask(me.ask("GET", f"/friends{which}"))).json["items"]
                for me in (a, b)
                for which in ("", "/requests")
            ]
            # Friends of a, who asked a, friends of b, who asked b.
            assert [[user["id"] for user in users] for users in lists] == [
                [b.id] if end == "friends" else [],
                [b.id] if end == "b asked" else [],
                [a.id] if end == "friends" else [],
                [a.id] if end == "a asked" else [],
            ]

    asyncio.run(run())


async def friends_stored(connection: Connection, people: Sequence[Person]) -> dict[int, int]:
    """How many friends each has; what is counted must be what there is."""
    ids = [person.id for person in people]
    these = f"({', '.join(map(str, ids))})"
    counted = await connection.rows(
        f"SELECT user_id, friends FROM friendcount WHERE user_id IN {these}"
    )
    found = await connection.rows(
        "SELECT user_id, count(*) AS friends FROM friend"
        f" WHERE user_id IN {these} AND state = 3 GROUP BY user_id"
    )
    one_sided = await connection.rows(
        f"SELECT user_id FROM friend f WHERE f.user_id IN {these} AND NOT EXISTS ("
        " SELECT 1 FROM friend g WHERE g.user_id = f.friend_id AND g.friend_id = f.user_id"
        " AND g.version = f.version AND g.state = CASE f.state WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 3"
        " END)"
    )
    assert one_sided == []
    nobody = dict.fromkeys(ids, 0)
    assert nobody | dict(counted) == nobody | dict(found)
    return nobody | dict(found)


@pytest.mark.parametrize("who", ["the popular one accepts", "they accept"])
def test_the_limit_of_friends_is_never_exceeded(who: str, two_processes: Api) -> None:
    wanted = FRIENDS_MAX * 3

    async def run() -> None:
        connection = await connect(two_processes.settings["DATABASE_URL"])
        async with Crowd(two_processes.url, wanted + 1) as crowd:
            hub, *others = await crowd.people(wanted + 1)
            puts = [
                (other.ask("PUT", f"/friends/{hub.id}"), hub.ask("PUT", f"/friends/{other.id}"))
                for other in others
            ]
            first = 0 if who == "the popular one accepts" else 1
            for both in puts:
                assert short(await crowd.ask(both[first])) == (200, "requested")
            answers = await crowd.at_once([both[1 - first] for both in puts])
            statuses = [answer.status for answer in answers]
            assert statuses.count(200) == FRIENDS_MAX
            assert statuses.count(409) == wanted - FRIENDS_MAX
            assert (await friends_stored(connection, [hub, *others]))[hub.id] == FRIENDS_MAX
            # A friendship that becomes possible goes to one of those who wait.
            winner = others[statuses.index(200)]
            assert (await crowd.ask(hub.ask("DELETE", f"/friends/{winner.id}"))).status == 204
            waiting = [both for both, status in zip(puts, statuses, strict=True) if status == 409]
            again = await crowd.at_once([both[1 - first] for both in waiting])
            assert sorted(answer.status for answer in again) == [200] + [409] * (len(waiting) - 1)
            assert (await friends_stored(connection, [hub, *others]))[hub.id] == FRIENDS_MAX
        await connection.close()

    asyncio.run(run())


def test_a_crowd_in_which_everybody_asks_everybody(two_processes: Api) -> None:
    async def run() -> None:
        connection = await connect(two_processes.settings["DATABASE_URL"])
        async with Crowd(two_processes.url, 90) as crowd:
            people = await crowd.people(10)
            asks = [
                one.ask("PUT", f"/friends/{other.id}")
                for one, other in itertools.permutations(people, 2)
            ]
            answers = await crowd.at_once(asks)
            assert {answer.status for answer in answers} <= {200, 409}
            counts = await friends_stored(connection, people)
            assert max(counts.values()) == FRIENDS_MAX
            # All leave all while all ask all again.
            leave = [
                one.ask("DELETE", f"/friends/{other.id}")
                for one, other in itertools.combinations(people, 2)
            ]
            ask = [
                other.ask("PUT", f"/friends/{one.id}")
                for one, other in itertools.combinations(people, 2)
            ]
            answers = await crowd.at_once([*leave, *ask])
            assert {answer.status for answer in answers} <= {200, 204, 404, 409}
            assert max((await friends_stored(connection, people)).values()) <= FRIENDS_MAX
        await connection.close()

    asyncio.run(run())
