"""The laboratory of the API: who gets in, what it counts, and what its switches do."""

from __future__ import annotations

import pytest

from hl_utils.servers.process import wait_until
from hl_utils.servers.services import Api
from hlfast.lab.schemas import LabSwitches, LabSwitchesPatch
from hlfast.settings import Tuning
from tests.clients import Client
from tests.superusers import superuser

SWITCHES = list(LabSwitches.model_fields)
# Of websocket nodes, where there is no laboratory.
OF_NODES = {"join_events"}


@pytest.fixture
def boss(several: Api) -> Client:
    return superuser(several)


def asked(one: Client, path: str = "/lab") -> Client:
    """The same user over a connection of its own, which another process may take."""
    return Client(one.root, one.headers["authorization"].removeprefix("Bearer "))


@pytest.mark.one_database
def test_every_switch_is_there() -> None:
    assert [name for name in Tuning.model_fields if name not in OF_NODES] == SWITCHES
    assert list(LabSwitchesPatch.model_fields) == SWITCHES


@pytest.mark.one_database
def test_nobody_but_a_superuser_gets_in(several: Api, boss: Client) -> None:
    with Client(several.url) as anybody:
        me = anybody.user()
        assert boss.get("/lab").status_code == 200
        for answer in (me.get("/lab"), me.patch("/lab", json={"keep_bodies": False})):
            assert answer.status_code == 403
        for answer in (anybody.get("/lab"), anybody.patch("/lab", json={})):
            assert answer.status_code == 401


@pytest.mark.one_database
def test_it_is_off_unless_a_setting_allows_it(api: Api) -> None:
    boss = superuser(api)
    for answer in (boss.get("/lab"), boss.patch("/lab", json={"keep_bodies": False})):
        assert answer.status_code == 404
        assert "HLFAST_LAB" in answer.json()["detail"]


@pytest.mark.one_database
@pytest.mark.parametrize(
    "body",
    [
        {"keep_bodies": 0}, {"keep_bodies": "false"}, {"keep_bodies": None}, {"keep_body": True},
        {"keep_bodies": False, "nothing": True}, [], "keep_bodies",
    ],
)  # fmt: skip
def test_what_is_no_switch(boss: Client, body: object) -> None:
    before = boss.get("/lab").json()["switches"]
    assert boss.patch("/lab", json=body).status_code == 422
    assert boss.get("/lab").json()["switches"] == before


def test_a_flip_concerns_the_process_that_answers(boss: Client) -> None:
    """Each switch, off and on again, and the other process has none of it."""
    usual = boss.get("/lab").json()
    here = usual["process"]

    def other() -> dict[str, object] | None:
        with asked(boss) as one:
            answer = one.get("/lab").json()
            return answer["switches"] if answer["process"] != here else None

    for name, was in usual["switches"].items():
        if not was:
            # Where no statement can have several messages.
            assert name == "batch_sends"
            assert boss.patch("/lab", json={name: True}).status_code == 409
            continue
        off = boss.patch("/lab", json={name: False}).json()
        assert off["process"] == here, "the connection went from one process to another"
        assert off["switches"] == {**usual["switches"], name: False}
        theirs: list[dict[str, object]] = []
        wait_until(lambda seen=theirs: seen.extend(filter(None, [other()])) or seen, "no other")  # type: ignore[misc]
        assert theirs[0] == usual["switches"]
        # Whatever is off, requests are answered as ever.
        friend = boss.user()
        boss.send_to(friend, name)
        assert boss.items(f"/dialogs/{friend.id}/messages")[0]["content"] == name
        assert boss.get(f"/users/{friend.id}").json() == friend.get("/users/me").json()
        assert boss.patch("/lab", json={name: True}).json()["switches"] == usual["switches"]
    assert boss.patch("/lab", json={}).json()["switches"] == usual["switches"]


@pytest.mark.one_database
def test_what_it_counts(boss: Client) -> None:
    first = boss.get("/lab").json()["numbers"]
    for _ in range(5):
        assert boss.get(f"/users/{boss.id}").status_code == 200
    second = boss.get("/lab").json()["numbers"]
    assert len(first["durations"]) == len(first["bounds_s"]) + 1
    # The first report, which was not answered when it was made, and the five.
    assert sum(second["durations"]) - sum(first["durations"]) >= 6
    assert second["clock_s"] > first["clock_s"]
    assert second["duration_s"] > first["duration_s"]
    assert second["in_progress"] >= 1
    assert second["batches"] > first["batches"]
    assert second["cache_hits"] >= first["cache_hits"] + 3
    assert second["cached_answers"] >= 1
    assert boss.patch("/lab", json={"keep_bodies": False}).json()["numbers"]["cached_answers"] == 0
    for _ in range(3):
        assert boss.get(f"/users/{boss.id}").status_code == 200
    emptied = boss.patch("/lab", json={"keep_bodies": True}).json()["numbers"]
    assert emptied["cached_answers"] == 0
    assert emptied["cache_hits"] == boss.get("/lab").json()["numbers"]["cache_hits"]
