"""A client that keeps its connection open is told when a refusal ends it."""

from __future__ import annotations

import pytest

from tests.clients import Client

pytestmark = pytest.mark.one_database

ROUNDS = 150


@pytest.mark.parametrize(
    ("length", "token", "status"), [(65_537, True, 413), (300_000, True, 413), (60_000, False, 401)]
)
def test_what_follows_a_body_that_was_not_read(
    client: Client, length: int, token: bool, status: int
) -> None:
    """Told too late, it would send its next request into a closing connection."""
    sender = client.user() if token else client
    for _ in range(ROUNDS):
        refused = sender.post("/posts", content=b" " * length)
        assert refused.status_code == status
        assert refused.headers["connection"] == "close"
        assert sender.get("/users/0").status_code == 404
