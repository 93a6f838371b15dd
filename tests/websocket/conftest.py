"""A server that echoes, shared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hlfast.websocket.limits import Limits
from tests.websocket.echo import Server, serving


@pytest.fixture(scope="session")
def echo() -> Iterator[Server]:
    """A server that sends back every message up to 70,000 bytes."""
    with serving(Limits(message_bytes_max=70_000)) as server:
        yield server
