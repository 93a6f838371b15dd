"""From the bytes of a request to its model."""

from __future__ import annotations

from urllib.parse import urlencode

from pytest_benchmark.fixture import BenchmarkFixture

from hlfast import codec
from hlfast.dialogs.schemas import MessageNew, MessagePage
from hlfast.users.schemas import Search
from hlfast.web.fields import pairs, validate


def test_decode_body(benchmark: BenchmarkFixture) -> None:
    content = "Не забудь: в семь у входа. " * 4
    data = codec.encode({"content": content, "client_id": "2f1c7a3e-1"})
    message = benchmark(lambda: validate(MessageNew, codec.decode(data), "body"))
    assert message == MessageNew(content=content, client_id="2f1c7a3e-1")


def test_decode_query(benchmark: BenchmarkFixture) -> None:
    data = urlencode({"first_name": "Ма", "last_name": "sm", "limit": "20"}).encode()
    search = benchmark(lambda: validate(Search, pairs(data, "query"), "query"))
    assert search == Search(first_name="Ма", last_name="sm", limit=20)


def test_decode_nothing(benchmark: BenchmarkFixture) -> None:
    page = benchmark(lambda: validate(MessagePage, {}, "query"))
    assert page == MessagePage()
