"""The page at `/` with servers behind it, and two friends who use it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hl_utils.embedded.demo import seed_if_empty
from hl_utils.servers.rabbitmq import RabbitServer
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api, Node
from hlfast.settings import Settings
from tests.clients import PASSWORD, Client
from tests.live.conftest import API, NODE

if TYPE_CHECKING:
    from tests.web.chromium import Browser, Person

WORDS = itertools.count(1)


@dataclass
class Site:
    """The servers, and a browser in front of them."""

    api: Api
    node: Node
    log: RedisServer | RabbitServer
    browser: Browser


@contextmanager
def open_site(
    database: str, redis: str, log: RedisServer | RabbitServer, profile: Path
) -> Iterator[Site]:
    """With demo people, and a list of origins in which the page's own is not: it needs none."""
    from tests.web.chromium import Browser

    with ExitStack() as stack:
        asyncio.run(seed_if_empty(Settings(database_url=database), PASSWORD))
        more = {"EVENTS_URL": log.url, "HLFAST_EVENTS_NAME": "page", "HLFAST_LAB": "true"}
        api, node = Api(database, redis, **API, **more), Node(database, redis, **NODE, **more)
        for server in (api, node):
            server.settings["HLFAST_ALLOWED_ORIGINS"] = f"http://localhost:{node.port}"
        api.settings["HLFAST_WS_PORT"] = str(node.port)
        node.settings["HLFAST_HTTP_PORT"] = str(api.port)
        stack.enter_context(api)
        stack.enter_context(node)
        browser = Browser(profile)
        stack.callback(browser.quit)
        yield Site(api, node, log, browser)


@dataclass
class Pair:
    """Two friends, each at a window of their own, and as clients of the API."""

    ada: Person
    bob: Person
    ada_api: Client
    bob_api: Client

    @classmethod
    def of(cls, site: Site) -> Pair:
        """Both logged in, and live."""
        with Client(site.api.url) as anybody:
            ada = anybody.user(first_name="Ada", last_name="Arden")
            bob = anybody.user(first_name="Bob", last_name="Blum")
        ada.befriend(bob)
        people = [site.browser.person(site.api.url) for _ in (ada, bob)]
        for person, user in zip(people, (ada, bob), strict=True):
            person.log_in(user.username, PASSWORD)
        return cls(*people, ada, bob)

    def both_live(self) -> None:
        """Wait until both are connected."""
        for one in (self.ada, self.bob):
            one.state("Live")

    def talk(self) -> None:
        """Bob types, writes and posts: Ada sees each of it at once, and once."""
        said, posted = f"said {next(WORDS)}", f"posted {next(WORDS)}"
        self.ada.at(f"#/messages/{self.bob_api.id}")
        self.ada.find("//section[contains(@class, 'conversation')]")
        self.bob.at(f"#/messages/{self.ada_api.id}")
        self.bob.write("Message", said)
        self.ada.find("//p[contains(@class, 'typing')][normalize-space()='Bob is writing …']")
        self.bob.press("Send")
        self.ada.sees(said, "//ol")
        self.bob.find(f"//li[.//p='{said}']//*[normalize-space()='Read']")
        assert self.ada.count(said) == self.bob.count(said) == 1
        self.ada.at("#/feed")
        self.ada.find("//h1[normalize-space()='Feed']")
        self.bob.at("#/feed")
        self.bob.write("A new post", posted)
        self.bob.press("Post")
        self.ada.sees(posted, "//article")
        assert self.ada.count(posted) == 1
