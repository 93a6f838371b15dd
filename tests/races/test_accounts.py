"""Changes of one account that meet."""

from __future__ import annotations

import asyncio
from collections import Counter

from bench.crowd import PASSWORD, Ask, Crowd
from hl_utils.servers.services import Api

AT_ONCE = 6


def test_of_password_changes_at_once_one_wins(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, AT_ONCE) as crowd:
            for _ in range(8):
                await one_round(crowd)

    async def one_round(crowd: Crowd) -> None:
        me = await crowd.person()
        # Both processes know the token and its owner now.
        assert {a.status for a in await crowd.at_once([me.ask("GET", "/users/me")] * AT_ONCE)} == {
            200
        }
        changes = [
            {"old_password": PASSWORD, "new_password": f"the new password {n}"}
            for n in range(AT_ONCE)
        ]
        answers = await crowd.at_once(
            [me.ask("POST", "/users/me/password", change) for change in changes]
        )
        statuses = [answer.status for answer in answers]
        assert statuses.count(204) == 1
        # 401: the winner had revoked the token before this one was looked at.
        assert set(statuses) <= {204, 403, 401}
        winner = statuses.index(204)
        for number, change in enumerate([*changes, {"new_password": PASSWORD}]):
            form = {"username": me.username, "password": change["new_password"]}
            answer = await crowd.ask(Ask("POST", "/login", form, form=True))
            assert answer.status == (200 if number == winner else 401)
        # No token from before is good for anything any more, in any process.
        again = await crowd.at_once([me.ask("GET", "/users/me")] * AT_ONCE)
        assert {answer.status for answer in again} == {401}
        form = {"grant_type": "refresh_token", "refresh_token": me.refresh_token}
        assert (await crowd.ask(Ask("POST", "/login", form, form=True))).status == 401

    asyncio.run(run())


def test_changes_of_different_fields_at_once_all_stay(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 6) as crowd:
            me = await crowd.person()
            for number in range(25):
                new = {
                    "first_name": f"first {number}",
                    "last_name": f"last {number}",
                    "bio": f"bio {number}",
                    "city": f"city {number}",
                    "country": f"country {number}",
                    "birthdate": f"19{number + 10}-01-01",
                }
                answers = await crowd.at_once(
                    [me.ask("PATCH", "/users/me", {name: value}) for name, value in new.items()]
                )
                for (name, value), answer in zip(new.items(), answers, strict=True):
                    assert (answer.status, answer.json[name]) == (200, value)
                etags = {answer.headers["etag"] for answer in answers}
                assert len(etags) == len(new), "every state has a tag of its own"
                seen = await crowd.at_once([me.ask("GET", f"/users/{me.id}")] * 6)
                for answer in seen:
                    assert {name: answer.json[name] for name in new} == new
                    assert answer.headers["etag"] in etags

    asyncio.run(run())


def test_tabs_that_refresh_at_once_get_the_same(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, AT_ONCE) as crowd:
            me = await crowd.person()
            token, seen = me.refresh_token, set()
            for _ in range(15):
                form = {"grant_type": "refresh_token", "refresh_token": token}
                ask = Ask("POST", "/login", form, form=True)
                answers = await crowd.at_once([ask] * AT_ONCE)
                assert {answer.status for answer in answers} == {200}
                (token,) = {answer.json["refresh_token"] for answer in answers}
                seen.add(token)
            assert len(seen) == 15
            over = Ask("POST", "/logout", {"refresh_token": token}, form=True)
            both = await crowd.at_once([over, ask] * 2)
            assert {answer.status for answer in both} <= {204, 200, 401}
            form = {"grant_type": "refresh_token", "refresh_token": token}
            after = await crowd.at_once([Ask("POST", "/login", form, form=True)] * AT_ONCE)
            assert {answer.status for answer in after} == {401}

    asyncio.run(run())


def test_failed_logins_are_counted_in_all_processes_together(two_processes: Api) -> None:
    async def run() -> None:
        async with Crowd(two_processes.url, 30) as crowd:
            victim = await crowd.person()
            form = {"username": victim.username, "password": "not the password"}
            wrong = Ask("POST", "/login", form, form=True)
            statuses: Counter[int] = Counter()
            for _ in range(3):
                statuses.update(answer.status for answer in await crowd.at_once([wrong] * 8))
            assert set(statuses) == {401, 429}
            # Both processes refuse, the right password too.
            right = Ask("POST", "/login", form | {"password": PASSWORD}, form=True)
            answers = await crowd.at_once([right] * 10)
            assert {answer.status for answer in answers} == {429}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)

    asyncio.run(run())
