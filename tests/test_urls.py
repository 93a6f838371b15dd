"""URLs of servers: what is wrong is said, and nothing of what is secret."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from hlfast import urls
from hlfast.settings import Settings, SettingsError

ODD = ["a@b", "a/b", "a#b", "a?b", "a:b", "a%40b", "a b", "ä&=+,;", "S3cret$word#1 x", "@/#"]
SECRET = "s3cr3t"


@pytest.mark.parametrize("password", ODD)
def test_a_password_may_be_anything(password: str) -> None:
    settings = Settings(
        database_url="postgresql://user@db:5432/name?sslmode=disable",
        database_replica_urls="postgresql://user@one/name, postgresql://user@two/name",
        database_password=password,
        dialogs_database_url="mysql://user@other/name",
        dialogs_database_password=password,
        redis_url="redis://redis:6379",
        redis_password=password,
        events_url="amqp://user@one,two:5673,[::1]/",
        events_password=password,
    )
    for url, schemes in (
        *((url, urls.DATABASES) for url in (settings.database_url, *settings.replica_urls)),
        (settings.dialogs_database_url, urls.DATABASES),
        (settings.redis_url, urls.REDIS),
        (settings.events_url, urls.EVENTS),
    ):
        assert not urls.problem(url, schemes)
        assert unquote(urlsplit(url).password or "") == password
    assert settings.replica_urls[1].endswith("@two/name")
    assert settings.events_url.endswith("@one,two:5673,[::1]/")
    assert password not in repr(settings.model_copy(update=dict.fromkeys(ADDRESSES, "")))


ADDRESSES = ("database_url", "database_replica_urls", "dialogs_database_url", "redis_url",
             "events_url")  # fmt: skip


@pytest.mark.parametrize("url", ["", "postgresql://user:own@db/name", "nonsense"])
def test_what_has_a_password_or_cannot_have_one_stays(url: str) -> None:
    assert Settings(database_url=url, database_password="other").database_url == url


def test_a_user_is_not_needed_for_a_password() -> None:
    settings = Settings(redis_url="unix:///run/redis.sock?db=1", redis_password="a@b")
    assert settings.redis_url == "unix://:a%40b@/run/redis.sock?db=1"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:word@host/name",
        "postgres://user@one:5432,two,[::1]:5433/name?target_session_attrs=read-write",
        "postgresql://user:a%40b@/name?host=/run/p@q",
        "postgresql:///name",
        "mysql://user:a@b@host:3306/name",
    ],
)
def test_what_is_acceptable(url: str) -> None:
    urls.need("it", url, urls.DATABASES)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql+asyncpg://user:{SECRET}@host/name", "begins with postgresql+asyncpg://"),
        (f"mysql+aiomysql://user:{SECRET}@host/name", "postgresql:// or mysql:// is right"),
        (f"mariadb://user:{SECRET}@host/name", "begins with mariadb://"),
        (f"user:{SECRET}@host/name", "has no scheme"),
        (f"{SECRET}", "has no scheme"),
        (f"postgresql://user:{SECRET}/x@host/name", "/ is %2F"),
        (f"postgresql://user:{SECRET}@x@host/name", "@ is written %40"),
        (f"postgresql://user:{SECRET}#x@host/name", "# is %23"),
        (f"postgresql://user:{SECRET}?x@host/name", "? is %3F"),
        (f"mysql://user:{SECRET}#x@host/name", "# is %23"),
        (f"postgresql://user:x@host:{SECRET}/name", "cannot be taken apart"),
    ],
)
def test_what_is_none_is_named(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        urls.need("the database's URL", url, urls.DATABASES)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
