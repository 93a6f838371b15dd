"""The pages at `/`, `/lab` and `/asyncapi`: what they may load, and where they connect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hlfast.settings import Settings
from hlfast.web.pages import FILES, websocket_reference, websocket_sources
from hlfast.web.request import SCOPE_KEY, RequestIds, read_head
from tests.clients import Client
from tests.http import Response, ask, get

pytestmark = pytest.mark.one_database

BYTES_MAX = 60 * 1024
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def policy(answer: Response) -> dict[str, list[str]]:
    """What a page may do, by directive."""
    rules = [rule.split() for rule in answer.headers["content-security-policy"].split(";")]
    return {name: sources for name, *sources in rules}


@pytest.mark.parametrize("path", ["/", "/lab", "/asyncapi"])
def test_a_page_needs_nothing_from_elsewhere(client: Client, path: str) -> None:
    page = get(client.root + path, headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    waiting = set(re.findall(r'(?:src|href)="([^"#]+)"', page.text))
    loaded = {path: page}
    while waiting:
        address = waiting.pop()
        if address in loaded:
            continue
        loaded[address] = answer = get(client.root + address)
        assert answer.status_code == 200, address
        if address.endswith(".js"):
            waiting |= {f"/page/{name}" for name in re.findall(r'from "\./(.+?)"', answer.text)}
    assert {"/page/style.css", "/page/client.js"} <= loaded.keys()
    for address, answer in loaded.items():
        if address == path or address.startswith("/page/"):
            rules = policy(answer)
            assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
            assert rules["script-src"] == rules["style-src"] == rules["img-src"] == ["'self'"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-request-id"]


@pytest.mark.parametrize("name", ["index.html", "lab.html", "asyncapi.html"])
def test_a_page_is_small(name: str) -> None:
    """With everything that it loads, which is no other page's but what they share."""
    loaded, waiting = set(), {name}
    while waiting:
        one = waiting.pop()
        loaded.add(one)
        text = (FILES / one).read_text()
        found = re.findall(r'(?:(?:src|href)="/page/|from "\./)([^"]+)"', text)
        waiting |= set(found) - loaded
    assert sum((FILES / one).stat().st_size for one in loaded) < BYTES_MAX
    others = {path.name for path in FILES.iterdir()} - loaded
    assert name != "index.html" or {Path(one).stem for one in others} == {"lab", "asyncapi"}


def test_markup_is_made_of_no_text() -> None:
    """The policy would stop it, too, in browsers that know trusted types."""
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\("
    )
    for path in FILES.glob("*.js"):
        assert not sinks.search(path.read_text()), path


@pytest.mark.parametrize("path", ["/", "/lab", "/page/app.js"])
def test_a_file_is_sent_again_only_when_it_has_changed(client: Client, path: str) -> None:
    first = get(client.root + path)
    assert first.headers["cache-control"] == "no-cache"
    known = first.headers["etag"]
    for etag in (known, f'"other", W/{known}', "*"):
        again = get(client.root + path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", known)
    assert get(client.root + path, headers={"If-None-Match": '"other"'}).status_code == 200
    head = ask("HEAD", client.root + path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(first.content)
    refused = ask("POST", client.root + path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%00", "", "icon.svg/x"])
def test_a_file_that_is_not_there(client: Client, name: str) -> None:
    answer = get(f"{client.root}/page/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_not_there_says_where_the_docs_are(client: Client) -> None:
    detail = get(f"{client.root}/nothing").json()["detail"]
    for path in re.findall(r"/\w+", detail):
        assert get(client.root + path).status_code == 200
    assert "/asyncapi" in detail


def test_a_program_is_given_links(client: Client) -> None:
    answer = get(client.root, headers=JSON)
    assert answer.headers["content-type"] == "application/json"
    assert "Accept" in answer.headers["vary"]
    links = answer.json()
    for name, path in links.items():
        if name not in ("api", "websocket"):
            assert get(client.root + path).status_code == 200, name
    assert client.get(f"{client.root}{links['api']}/users/search?first_name=a").status_code == 200
    for headers in (BROWSER, {"Accept": "*/*"}, {"Accept": "text/html, application/json"}):
        page = get(client.root, headers=headers)
        assert page.headers["content-type"].startswith("text/html")


def scope(**headers: str) -> dict[str, Any]:
    """A request's, as far as it is looked at."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    found: dict[str, Any] = {"headers": pairs}
    return found | {SCOPE_KEY: read_head(found, RequestIds())}


DOOR = {"x_forwarded_for": "192.0.2.1"}


@pytest.mark.parametrize(
    ("headers", "settings", "reference", "sources"),
    [
        # The API itself: on the same host, on the websocket's port.
        ({"host": "localhost:8000"}, {}, "//localhost:8001/ws",
         "ws://localhost:8001 wss://localhost:8001"),
        ({"host": "h.example"}, {"ws_port": 9}, "//h.example:9/ws", "ws://h.example:9 wss://h.example:9"),
        # A front door, and containers behind one.
        ({"host": "h.example", **DOOR}, {}, "/ws", "ws://h.example wss://h.example"),
        ({"host": "h.example:8443", **DOOR}, {}, "/ws", "ws://h.example:8443 wss://h.example:8443"),
        ({"host": "h.example:80"}, {"ws_port": 8000}, "/ws", "ws://h.example:80 wss://h.example:80"),
        # What it is told.
        ({"host": "h.example", **DOOR}, {"ws_url": "wss://live.example/ws"}, "wss://live.example/ws",
         "wss://live.example/ws"),
        # What CSP has no words for, or what nobody should repeat.
        ({"host": "[::1]:8000"}, {}, "//[::1]:8001/ws", "ws: wss:"),
        ({"host": "x; script-src *"}, {}, "//x; script-src *:8001/ws", "ws: wss:"),
        ({}, {}, "//127.0.0.1:8001/ws", "ws://127.0.0.1:8001 wss://127.0.0.1:8001"),
        (DOOR, {}, "/ws", "ws: wss:"),
    ],
)  # fmt: skip
def test_where_the_websocket_is(
    headers: dict[str, str], settings: dict[str, Any], reference: str, sources: str
) -> None:
    asked, known = scope(**headers), Settings(**settings)
    assert websocket_reference(asked, known) == reference
    assert websocket_sources(asked, known) == sources


def test_the_policy_names_the_websocket(client: Client) -> None:
    port = Settings().ws_port
    page = get(client.root, headers={**BROWSER, "Host": "h.example"})
    assert policy(page)["connect-src"] == [
        "'self'", f"ws://h.example:{port}", f"wss://h.example:{port}"
    ]  # fmt: skip
    odd = get(client.root, headers={**BROWSER, "Host": "x; script-src *"})
    assert "script-src *" not in odd.headers["content-security-policy"]
