"""What a newcomer does: opens /docs, authorizes, calls. In a browser, without internet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hl_utils.servers.services import Api
from tests.clients import PASSWORD, Client

if TYPE_CHECKING:
    from tests.web.chromium import Browser

pytestmark = pytest.mark.one_database


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    from tests.web.chromium import Browser

    opened = Browser(tmp_path / "profile")
    yield opened
    opened.quit()


def test_docs_render_authorize_and_call_without_internet(
    api: Api, client: Client, browser: Browser, tmp_path: Path
) -> None:
    me = client.user(first_name="Ada", last_name="Lovelace")
    browser.get(f"{api.url}/docs")
    assert "hlfast" in browser.find("//h1 | //h2[contains(@class, 'title')]").text
    browser.find("//*[@id='operations-users-users_get_me']")
    browser.save_screenshot(str(tmp_path / "docs.png"))

    browser.click("//button[contains(@class, 'authorize')]")
    browser.find("//input[@id='oauth_username']").send_keys(me.username)
    browser.find("//input[@id='oauth_password']").send_keys(PASSWORD)
    browser.save_screenshot(str(tmp_path / "authorize.png"))
    browser.click("//div[contains(@class, 'modal')]//button[contains(@class, 'authorize')]")
    browser.click("//div[contains(@class, 'modal')]//button[contains(@class, 'btn-done')]")

    operation = "//*[@id='operations-users-users_get_me']"
    browser.click(f"{operation}//button[contains(@class, 'opblock-summary-control')]")
    browser.click(f"{operation}//button[contains(@class, 'try-out__btn')]")
    browser.click(f"{operation}//button[contains(@class, 'execute')]")
    live = f"{operation}//table[contains(@class, 'live-responses-table')]"
    status = browser.find(f"{live}//tbody//td[contains(@class, 'response-col_status')]")
    assert status.text.split()[0] == "200"
    body = browser.find(f"{live}//pre[contains(@class, 'microlight')] | {live}//code")
    assert json.loads(body.text) == me.get("/users/me").json()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", status)
    browser.save_screenshot(str(tmp_path / "called.png"))

    assert browser.hosts() == {"127.0.0.1"}
    assert browser.complaints() == []


def test_what_docs_offer_to_send_registers_somebody(
    api: Api, client: Client, browser: Browser, tmp_path: Path
) -> None:
    operation = "//*[@id='operations-users-users_register']"
    browser.get(f"{api.url}/docs")
    browser.click(f"{operation}//button[contains(@class, 'opblock-summary-control')]")
    browser.click(f"{operation}//button[contains(@class, 'try-out__btn')]")
    offered = browser.find(f"{operation}//textarea").get_attribute("value")
    browser.save_screenshot(str(tmp_path / "register.png"))
    browser.click(f"{operation}//button[contains(@class, 'execute')]")
    live = f"{operation}//table[contains(@class, 'live-responses-table')]"
    status = browser.find(f"{live}//tbody//td[contains(@class, 'response-col_status')]")
    assert status.text.split()[0] == "201"
    new = json.loads(offered or "")
    assert client.token(new["username"], new["password"])


def test_redoc_renders_without_internet(api: Api, browser: Browser, tmp_path: Path) -> None:
    browser.get(f"{api.url}/redoc")
    browser.find("//h2[contains(., 'Register')]")
    browser.save_screenshot(str(tmp_path / "redoc.png"))
    assert browser.hosts() == {"127.0.0.1"}
    # Redoc's own logo, which is not in its bundle, is all that it does not get.
    for complaint in browser.complaints():
        assert "cdn.redoc.ly" in complaint
        assert "Content Security Policy" in complaint
