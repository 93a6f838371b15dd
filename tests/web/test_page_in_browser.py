"""The page at `/` as people use it: two of them, in a real browser, while parts of it fail."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from hl_utils.embedded.demo_people import SUPERUSER
from hl_utils.servers.postgres import PostgresServer
from hl_utils.servers.process import ROOT, wait_until
from hl_utils.servers.redis import RedisServer
from tests.clients import PASSWORD, Client
from tests.conftest import TEMPLATE, new_database
from tests.live.conftest import signed
from tests.nodes import PATH, Stream
from tests.web.page import Pair, Site, open_site

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.one_database

AWAY_S = 30.0
# Tries in every field where people type.
MARKUP = """<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'"""


@pytest.fixture(scope="module")
def site(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    database = new_database(postgres_server, TEMPLATE)
    profile = tmp_path_factory.mktemp("chromium")
    with RedisServer() as log, open_site(database, redis_server.url, log, profile) as site:
        yield site


@pytest.fixture(scope="module")
def pair(site: Site) -> Iterator[Pair]:
    """Ada and Bob, friends."""
    yield Pair.of(site)
    # The other name is that of the test with another origin.
    assert site.browser.hosts() <= {"127.0.0.1", "localhost"}


@pytest.fixture(scope="module")
def away(site: Site) -> tuple[Pair, float]:
    """Two of the same names; their Ada is offline since then, while other tests run."""
    pair = Pair.of(site)
    pair.ada.at(f"#/messages/{pair.bob_api.id}")
    pair.ada.find("//section[contains(@class, 'conversation')]")
    pair.ada.offline()
    pair.ada.state("Offline")
    return pair, time.monotonic()


@pytest.mark.usefixtures("away")
def test_what_is_pasted_into_a_console(site: Site) -> None:
    """The first lines of a client, word for word, end with a message that comes live."""
    text = (ROOT / "hlfast" / "README.md").read_text()
    (pasted,) = re.findall(r"^```js\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    somebody = site.browser.person(f"{site.api.url}/asyncapi")
    somebody.find("//*[@id='MessageCreated']")

    def paste(lines: str) -> Any:
        # As a console has it, where `await` may stand anywhere and names stay.
        how = {"replMode": True, "awaitPromise": True, "returnByValue": True}
        done = somebody.command("Runtime.evaluate", expression=lines, **how)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    paste("const told = []; console.log = (frame) => told.push(frame)")
    paste(pasted)
    frames = site.browser.until(
        lambda: [f for f in paste("told") if f["type"] == "message.created"], "nothing came live"
    )
    assert frames[0]["message"]["content"] == "Hello from a console!"
    assert paste("told")[0]["type"] == "hello"


def test_the_event_stream_is_on_the_page(site: Site) -> None:
    """Where it is, what it takes, and a line for a terminal, in which only the token is missing."""
    with Client(site.api.url) as anybody:
        token = anybody.user().headers["authorization"].removeprefix("Bearer ")
    somebody = site.browser.person(f"{site.api.url}/asyncapi#events")
    somebody.sees("Server-sent events", "//main")
    for parameter in ("token", "cursor"):
        somebody.find(f"//table[caption='Parameters of the stream']//code[.='{parameter}']")
    shown = somebody.find("//*[@aria-label='Example of an event']").text
    kinds = [line.partition(": ")[0] for line in shown.splitlines()]
    assert kinds == ["id", "event", "data"]
    url = f"http://127.0.0.1:{site.node.port}{PATH}"
    line = somebody.find("//*[@aria-label='First steps of a stream']").text
    assert line == f'curl -N "{url}" -H "Authorization: Bearer $TOKEN"'
    with Stream(site.node.port, Authorization=f"Bearer {token}") as stream:
        assert stream.greeted()["cursor"]


def test_a_page_of_another_origin_uses_the_client(site: Site) -> None:
    """One that is named: it need not know where the websocket is."""
    with Client(site.api.url) as anybody:
        me, other = anybody.user(), anybody.user()
    # Any document will do for a page: this one is the node's, by another name of the machine.
    somebody = site.browser.person(f"http://localhost:{site.node.port}/health/live")
    somebody.run(
        """const [url, username, password] = arguments;
        window.told = [];
        import(`${url}/page/client.js`).then(async ({Client}) => {
            const client = new Client(url);
            await client.login(username, password);
            client.on("state message.created", (told) => window.told.push(told));
            client.connect();
        });""",
        site.api.url,
        me.username,
        PASSWORD,
    )
    somebody.until("return window.told.includes('live')")
    message = other.send_to(me, "To wherever you are")
    somebody.until("return window.told.find((told) => told.message)")
    told = somebody.run("return window.told.find((told) => told.message)")
    assert told["message"] == message


def test_from_joining_to_a_friend_who_answers(site: Site) -> None:
    """Registered on the page, found as one types, asked, accepted, online."""
    with Client(site.api.url) as anybody:
        friend = anybody.user(first_name="Zoë", last_name="Zimt")
    one = site.browser.person(site.api.url)
    one.press("Join", "//form")
    one.write("First name", "Nils")
    one.write("Last name", "Newcomer")
    one.write("User name", "x")
    one.write("Password", "short")
    one.press("Join", "//form")
    # Each field says what is wrong with it, and the first one is where the keyboard is.
    for label in ("username", "password"):
        one.find(f"//*[@id='{label}'][@aria-invalid]")
    assert one.run("return document.activeElement.id") == "username"
    one.write("User name", "nils")
    one.write("Password", PASSWORD)
    one.press("Join", "//form")
    one.state("Live")
    one.sees("Find some friends")

    one.at("#/people")
    one.write("Find people", "zo")
    one.press("Zoë Zimt", "//ul[@aria-label='Found']")
    one.press("Add friend")
    one.sees("Asked")
    other = site.browser.person(site.api.url)
    other.log_in(friend.username, PASSWORD)
    other.find("//*[@id='asking'][normalize-space()='1']")
    other.at("#/people")
    other.press("Accept", "//section[h2='They ask you']")
    other.gone("//*[@id='asking']")
    other.sees("Nils Newcomer", "//ul[@aria-label='Friends']")
    one.sees("Unfriend")
    one.find("//aside//a[normalize-space()='Zoë Zimt' or contains(., 'Zoë Zimt')]")
    for person in (one, other):
        person.at("#/me")
        person.press("Log out")
        person.find("//form//*[normalize-space()='Log in']")
    assert friend.get(f"/friends/{friend.items('/friends')[0]['id']}").json() == {
        "status": "friends"
    }


def test_a_message_a_post_and_typing_are_seen_live(pair: Pair) -> None:
    pair.talk()
    # Who reads something else has a number beside it.
    pair.bob.at(f"#/messages/{pair.ada_api.id}")
    pair.bob.write("Message", "Are you there?")
    pair.bob.press("Send")
    pair.ada.find("//*[@id='unread'][normalize-space()='1']")
    pair.ada.at("#/messages")
    pair.ada.find("//a[contains(., 'Are you there?')]//*[contains(@class, 'badge')]")
    pair.ada.press("Feed", "//nav")


def test_after_half_a_minute_offline(away: tuple[Pair, float]) -> None:
    pair, since = away
    pair.bob_api.send_to(pair.ada_api, "Into the long tunnel")
    # The tests before have taken most of it, or all.
    wait_until(lambda: time.monotonic() - since > AWAY_S, "the clock stands still", 2 * AWAY_S)
    assert pair.ada.count("Into the long tunnel") == 0
    pair.ada.offline(False)
    pair.both_live()
    pair.ada.sees("Into the long tunnel", "//ol")
    assert pair.ada.count("Into the long tunnel") == 1
    pair.talk()


def test_after_the_node_was_killed(site: Site, pair: Pair) -> None:
    site.node.kill()
    for person in (pair.ada, pair.bob):
        person.state("Reconnecting …")
    pair.bob_api.send_to(pair.ada_api, "While the node was away")
    site.node.start()
    pair.both_live()
    pair.ada.at(f"#/messages/{pair.bob_api.id}")
    pair.ada.sees("While the node was away", "//ol")
    pair.talk()


def test_after_the_event_log_was_restarted(site: Site, pair: Pair) -> None:
    pair.ada.at(f"#/messages/{pair.bob_api.id}")
    site.log.kill()
    pair.bob_api.send_to(pair.ada_api, "While the log was away")
    site.log.start()
    pair.both_live()
    pair.ada.sees("While the log was away", "//ol")
    pair.talk()
    assert pair.ada.count("While the log was away") <= 1


def test_after_being_offline(pair: Pair) -> None:
    ada, bob = pair.ada, pair.bob
    ada.at(f"#/messages/{pair.bob_api.id}")
    ada.find("//section[contains(@class, 'conversation')]")
    ada.offline()
    ada.state("Offline")
    ada.run("performance.clearResourceTimings()")
    ada.write("Message", "From the tunnel")
    ada.press("Send")
    ada.find("//li[.//p='From the tunnel'][contains(., 'Not sent')]")
    pair.bob_api.send_to(pair.ada_api, "Into the tunnel")
    written = pair.bob_api.write("Above the tunnel")
    assert ada.count("Into the tunnel") == 0
    ada.offline(False)
    ada.state("Live")
    # What was missed is replayed, what waited is sent; each once.
    ada.sees("Into the tunnel", "//ol")
    assert ada.read_anew() == 0
    bob.at(f"#/messages/{pair.ada_api.id}")
    bob.sees("From the tunnel", "//ol")
    ada.gone("//*[contains(@class, 'unsettled')]")
    assert ada.count("Into the tunnel") == ada.count("From the tunnel") == 1
    ada.at("#/feed")
    ada.find(f"//article[@data-post='{written['id']}']")
    pair.talk()


def test_after_the_access_token_expired(site: Site, pair: Pair) -> None:
    """At the API and at the websocket; nobody is logged out, and the refresh token rotates."""
    ada = pair.ada
    key = f"hlfast {site.api.url}"
    expired = signed(pair.ada_api, exp=int(time.time()) - 60)
    before = ada.run(
        """const [key, access_token] = arguments;
        const session = JSON.parse(localStorage.getItem(key));
        localStorage.setItem(key, JSON.stringify({...session, access_token}));
        return session.refresh_token;""",
        key,
        expired,
    )
    # The next connection comes with it.
    ada.offline()
    ada.state("Offline")
    ada.offline(False)
    ada.state("Live")
    pair.talk()
    after = ada.run("return JSON.parse(localStorage.getItem(arguments[0]))", key)
    assert after["access_token"] != expired
    assert after["refresh_token"] != before


def test_what_the_log_has_lost_is_read_anew(site: Site, pair: Pair) -> None:
    """With a cursor of before, nothing can be replayed: `recovered` is false."""
    ada = pair.ada
    ada.at(f"#/messages/{pair.bob_api.id}")
    ada.find("//section[contains(@class, 'conversation')]")
    ada.offline()
    ada.state("Offline")
    ada.run("performance.clearResourceTimings()")
    pair.bob.at(f"#/messages/{pair.ada_api.id}")
    pair.bob_api.send_to(pair.ada_api, "Nobody replays this")
    pair.bob.sees("Nobody replays this", "//ol")
    with Redis.from_url(site.log.url) as log:
        log.flushall()
    wait_until(lambda: "The event log was lost" in site.node.log, "it was not missed")
    ada.offline(False)
    pair.both_live()
    ada.sees("Nobody replays this", "//ol")
    assert ada.read_anew() > 0
    pair.talk()


def test_what_comes_while_a_page_is_read_is_on_it(pair: Pair) -> None:
    """An answer that was made before it, and comes after it, takes nothing away."""
    ada, bob = pair.ada, pair.bob_api
    deleted = bob.write("Deleted meanwhile")

    def post() -> None:
        bob.delete(f"/posts/{deleted['id']}")
        bob.write("Posted meanwhile")

    def send() -> None:
        bob.send_to(pair.ada_api, "Said meanwhile")

    def say() -> None:
        ada.write("Message", "Answered meanwhile")
        ada.press("Send")

    with_bob = f"#/messages/{bob.id}"
    for place, held, happens, event, within in (
        ("#/feed", "/feed", post, "Posted meanwhile", "//article"),
        (with_bob, "/messages?", send, "Said meanwhile", "//ol[@aria-label]"),
        (with_bob, "/messages?", say, "Answered meanwhile", "//ol[@aria-label]"),
        ("#/messages", "/dialogs?", send, "Said meanwhile", "//a"),
    ):
        ada.at(place)
        with ada.answers_held_back(held):
            happens()
            ada.until(f"return window.came.some((frame) => frame.includes('{event}'))")
        ada.sees(event, within)
        ada.gone("//*[contains(@class, 'unsettled')]")
        if happens is post:
            assert ada.count("Deleted meanwhile") == 0


def test_one_renewal_at_a_time_in_all_tabs_together(site: Site) -> None:
    """A refresh token is good once: who uses it a second time, and late, ends the session."""
    with Client(site.api.url) as anybody:
        me = anybody.user()
    # Where nothing but the test makes a client.
    url = f"{site.api.url}/asyncapi"
    one = site.browser.person(url)
    tabs = [one, one.tab(url)]
    one.run(
        """const [username, password, key, access_token] = arguments;
        import("/page/client.js").then(async ({Client}) => {
            await new Client().login(username, password);
            const session = JSON.parse(localStorage.getItem(key));
            localStorage.setItem(key, JSON.stringify({...session, access_token, expires_at: 0}));
            window.isReady = true;
        });""",
        me.username,
        PASSWORD,
        f"hlfast {site.api.url}",
        signed(me, exp=int(time.time()) - 60),
    )
    one.until("return window.isReady")
    for tab in tabs:
        # Whoever begins to renew does not get further before all have asked.
        tab.run(
            """const real = fetch;
            const gate = new Promise((open) => (window.release = open));
            window.renewals = 0;
            window.fetch = async (url, options) => {
                if (String(url).endsWith("/login")) {
                    window.renewals += 1;
                    await gate;
                }
                return real(url, options);
            };
            import("/page/client.js").then(async ({Client}) => {
                const client = new Client();
                const asked = [1, 2, 3].map(() => client.get("/users/me"));
                window.asked = asked.length;
                window.answers = await Promise.all(asked);
            });"""
        )
        tab.until("return window.asked")
    for tab in tabs:
        tab.run("window.release()")
    renewals = 0
    for tab in tabs:
        tab.until("return window.answers")
        renewals += tab.run("return window.renewals")
    assert renewals == 1


def test_what_people_type_stays_text(site: Site, pair: Pair) -> None:
    ada, bob = pair.ada, pair.bob
    ada.at("#/me/edit")
    labels = ("First name", "Last name", "About you", "City", "Country")
    for label in labels:
        ada.write(label, MARKUP[:60] + "'" if label != "About you" else MARKUP)
    ada.press("Save")
    ada.find("//h1[contains(., '<img')]")
    ada.at("#/feed")
    ada.write("A new post", MARKUP)
    ada.press("Post")
    ada.find("//article//footer")
    ada.at(f"#/messages/{pair.bob_api.id}")
    ada.write("Message", MARKUP)
    ada.press("Send")
    ada.gone("//*[contains(@class, 'unsettled')]")
    bob.at("#/people")
    bob.write("Find people", MARKUP)
    for place, within in (
        ("#/feed", "//article"),
        (f"#/users/{pair.ada_api.id}", "//section"),
        (f"#/messages/{pair.ada_api.id}", "//ol"),
    ):
        bob.at(place)
        bob.sees(MARKUP, within)
    for person in (ada, bob):
        assert person.run("return window.hurt") is None
        assert person.run("return document.querySelectorAll('img:not(header img)').length") == 0
    changed = {"first_name": "Ada", "last_name": "Arden"}
    assert pair.ada_api.patch("/users/me", json=changed).status_code == 200
    bob.run("location.reload()")
    bob.state("Live")


def test_lists_go_on_while_one_scrolls(pair: Pair) -> None:
    texts = [f"Number {n}" for n in range(45)]
    for text in texts:
        pair.bob_api.write(text)
    ada = pair.ada
    for place in (f"#/users/{pair.bob_api.id}", "#/feed"):
        ada.at("#/people")
        ada.find("//h1[normalize-space()='People']")
        ada.at(place)
        ada.sees(texts[-1], "//article")
        for text in reversed(texts):
            ada.run("scrollTo(0, document.documentElement.scrollHeight)")
            ada.sees(text, "//article")
            assert ada.count(text) == 1


def test_the_machine_at_work(site: Site) -> None:
    """A superuser sees figures of both processes, and takes a method away; nobody else gets in."""
    with Client(site.api.url) as anybody:
        stranger, boss = anybody.user(), Client(site.api.url, anybody.token(SUPERUSER))
    person = site.browser.person(f"{site.api.url}/lab")
    for name, told in ((stranger.username, "Only a superuser may do this."), (SUPERUSER, "")):
        person.write("User name", name)
        person.write("Password", PASSWORD)
        person.press("Log in", "//form")
        person.sees(told or "The API", "//main")
    for title in ("Requests", "Latency, median", "CPU per request", "Sockets", "Frames"):
        person.find(f"//article[h3='{title}']//b[. != '–' and . != '0']")
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        person.command("Emulation.setEmulatedMedia", features=[feature])
        for width in (1280, 320):
            size = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": False}
            person.command("Emulation.setDeviceMetricsOverride", **size)
            assert person.barriers() == []
            assert person.run("return document.documentElement.scrollWidth") <= width
    person.run("document.getElementById('keep_bodies').click()")
    person.find("//article[h3='Requests']//*[starts-with(., 'before: ')]")
    assert boss.get("/lab").json()["switches"]["keep_bodies"] is False
    person.run("document.getElementById('keep_bodies').click()")
    person.until("return !document.getElementById('keep_bodies').disabled")
    assert boss.get("/lab").json()["switches"]["keep_bodies"] is True


VIEWS = (
    "#/feed",
    "#/people",
    "#/me",
    "#/me/edit",
    "#/messages",
    "#/messages/{bob}",
    "#/users/{bob}",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_anybody(pair: Pair, scheme: str) -> None:
    """Neither of those who see little or nothing, nor of a window of 320 pixels."""
    ada = pair.ada
    word = "Donaudampfschifffahrtsgesellschaft" * 9
    pair.bob_api.write(word)
    pair.bob_api.send_to(pair.ada_api, word)
    for user in (pair.ada_api, pair.bob_api):
        names = {"last_name": word[:64], "bio": word, "city": "ש" * 64, "country": word[:64]}
        assert user.patch("/users/me", json=names).status_code == 200
    feature = {"name": "prefers-color-scheme", "value": scheme}
    ada.command("Emulation.setEmulatedMedia", features=[feature])
    for width in (1280, 320):
        size = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": False}
        ada.command("Emulation.setDeviceMetricsOverride", **size)
        for view in VIEWS:
            ada.at(view.format(bob=pair.bob_api.id))
            ada.state("Live")
            ada.gone("//*[@aria-busy] | //*[normalize-space()='…']")
            assert ada.barriers() == [], (view, width)
            assert ada.run("return document.documentElement.scrollWidth") <= width, view
            # What has nothing to say moves nothing aside.
            assert ada.boxes_of_nothing() == [], view
    ada.command("Emulation.clearDeviceMetricsOverride")


def test_nothing_was_complained_about(site: Site, pair: Pair) -> None:
    """By the page's policy above all: the network was away on purpose."""
    complaints = site.browser.complaints()
    assert not [one for one in complaints if "Security Policy" in one or "Uncaught" in one]
