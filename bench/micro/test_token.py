"""Who calls: a token seen for the first time, and one that is remembered."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.coroutines import finished
from hlfast.auth.account import AccountStatus, Authenticator
from hlfast.auth.tokens import Claims, Tokens
from hlfast.settings import Settings


@pytest.fixture
def settings() -> Settings:
    return Settings(secret="signs nothing but what is timed here", revocation_check_s=60)


def test_token_verified(benchmark: BenchmarkFixture, settings: Settings) -> None:
    tokens = Tokens(settings)
    token = tokens.sign("access", 7, 3)
    claims: Claims = benchmark(lambda: tokens.verify("access", token))
    assert (claims.user_id, claims.token_version) == (7, 3)


def test_token_remembered(benchmark: BenchmarkFixture, settings: Settings) -> None:
    looked_up: list[int] = []

    async def look_up(user_id: int) -> AccountStatus:
        looked_up.append(user_id)
        return AccountStatus(token_version=3, disabled=False, is_superuser=False)

    tokens = Tokens(settings)
    header = b"Bearer " + tokens.sign("access", 7, 3).encode()
    authenticator = Authenticator(tokens, look_up, settings)
    assert benchmark(lambda: finished(authenticator.user_id(header))) == 7
    # Again only if this took longer than the account status is believed.
    assert set(looked_up) == {7}
