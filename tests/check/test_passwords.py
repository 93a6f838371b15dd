"""Secrets and passwords that anybody may know."""

from __future__ import annotations

import secrets

import pytest

from hl_utils.check import passwords
from hl_utils.servers.services import SECRET
from hlfast.settings import Settings
from tests.check.command import found, random_secret, wrong

FAR = "far.invalid:1"


@pytest.mark.parametrize(
    "secret",
    ["a-few-bytes", "x" * 31, secrets.token_hex(15), ""],
    ids=["words", "one letter", "random", "none"],
)
def test_a_short_secret(sound: dict[str, str], secret: str) -> None:
    findings = found(sound | {"HLFAST_SECRET": secret})
    assert [one["code"] for one in findings] == ["secret-short"]
    assert not secret or secret not in str(findings)


@pytest.mark.parametrize(
    "secret",
    [
        "change-me-" * 5,
        "x" * 64,
        "0123456789" * 4,
        "your-very-long-random-secret-key-please-change",
        "secretsecretsecretsecretsecretsecret",
        SECRET,  # as it stands in a file of the repository
    ],
)
def test_a_secret_that_is_known(sound: dict[str, str], secret: str) -> None:
    findings = found(sound | {"HLFAST_SECRET": secret})
    assert [one["code"] for one in findings] == ["secret-known"]
    assert secret not in str(findings)


def test_random_secrets_are_good() -> None:
    for _ in range(5):
        for secret in (random_secret(), secrets.token_hex(16), secrets.token_urlsafe(24)):
            answers = passwords.look(Settings(secret=secret, first_superuser_password=secret[:24]))
            assert [one for one in answers if one] == []


@pytest.mark.parametrize("password", ["admin", "changeme", "Password123", "superuser", "Root-1"])
def test_the_superuser_s_password(sound: dict[str, str], password: str) -> None:
    who = {"FIRST_SUPERUSER": "root-1", "FIRST_SUPERUSER_PASSWORD": password}
    assert wrong(sound | who) == ["password-known FIRST_SUPERUSER_PASSWORD"]
    good = who | {"FIRST_SUPERUSER_PASSWORD": secrets.token_urlsafe(18)}
    assert found(sound | good) == []


def test_passwords_in_urls() -> None:
    def reported(**urls: str) -> list[str]:
        settings = Settings(secret=random_secret(), **urls)
        return [one.subject for one in passwords.look(settings) if one]

    known = {
        "database_url": f"postgresql://hlfast:hlfast@{FAR}/x",
        "dialogs_database_url": f"postgresql://someone:SOMEONE@{FAR}/x",
        "database_replica_urls": f"postgresql://hlfast:p%61ssword@{FAR}/x",
        "redis_url": f"redis://:changeme@{FAR}",
        "events_url": f"amqp://guest:guest@{FAR}",
    }
    assert reported(**known) == [
        "DATABASE_URL",
        "DIALOGS_DATABASE_URL",
        "DATABASE_REPLICA_URLS",
        "REDIS_URL",
        "EVENTS_URL",
    ]
    # Nobody else gets to a port of the loopback address.
    assert reported(**{name: url.replace(FAR, "127.0.0.1") for name, url in known.items()}) == []
    good = secrets.token_urlsafe(18)
    assert reported(database_url=f"postgresql://hlfast:{good}@{FAR}/x") == []
