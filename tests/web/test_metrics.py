"""/metrics: of all processes together, whichever answers."""

from __future__ import annotations

import re
from collections import Counter

from tests import wire
from tests.clients import Client
from tests.servers import Api, wait_until


def scrape(api: Api) -> tuple[str, dict[str, float]]:
    """Which process answered, and the series by name and labels."""
    answer = wire.get(api.url, b"/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", answer.body.decode(), re.MULTILINE)
    process = answer.headers["x-request-id"].partition("-")[0]
    return process, {name: float(value) for name, value in lines}


def series(endpoint: str, status: int) -> str:
    """The counter of an endpoint's answers."""
    return f'hlfast_requests_total{{endpoint="{endpoint}",status="{status}"}}'


def test_every_process_counts_and_each_tells_all(several: Api) -> None:
    counted = [series("users_get", 404), series("users_get", 200)]
    duration = 'hlfast_request_duration_seconds_count{endpoint="users_get"}'
    with Client(several.url) as client:
        user_id = client.user().id
    _, before = scrape(several)
    asked: Counter[str] = Counter()

    def both_were_asked() -> bool:
        for path in (b"/api/v1/users/0", b"/api/v1/users/%d" % user_id):
            answer = wire.get(several.url, path)
            asked[answer.headers["x-request-id"].partition("-")[0]] += 1
        return len(asked) == 2

    wait_until(both_were_asked, "one process answers everything")
    told: dict[str, dict[str, float]] = {}

    def both_told() -> bool:
        process, now = scrape(several)
        told[process] = now
        return len(told) == 2

    wait_until(both_told, "one process answers everything")
    assert told.keys() == asked.keys()
    for now in told.values():
        for name in counted:
            assert now[name] - before.get(name, 0) == asked.total() / 2
        assert now[duration] - before.get(duration, 0) == asked.total()


def test_statuses_are_counted_apart(several: Api) -> None:
    with Client(several.url) as client:
        me = client.user()
        _, before = scrape(several)
        me.write()
        me.post("/posts", json={})
        me.post("/posts", content=b"{")
        client.post("/posts", json={})
        me.post("/posts", content=b" " * 65537)
        me.post("/posts", json={"content": "x", "client_id": "a"})
        me.post("/posts", json={"content": "x", "client_id": "a"})
        _, after = scrape(several)
    for status, count in {201: 2, 200: 1, 400: 1, 401: 1, 413: 1, 422: 1}.items():
        name = series("posts_create", status)
        assert after[name] - before.get(name, 0) == count, status
    assert not [name for name in after if 'status="500"' in name]
