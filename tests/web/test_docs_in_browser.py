"""What a newcomer does: opens /docs, authorizes, calls. In a browser, without internet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from hl_utils.servers.services import Api
from tests.clients import PASSWORD, Client

pytestmark = pytest.mark.one_database

# Debian's packages chromium and chromium-driver.
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
WITHIN_S = 60
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


class Browser(Chrome):
    """Chromium with a fresh profile, and a log of every request that it makes."""

    def __init__(self, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        super().__init__(options=options, service=Service(DRIVER))
        self.requested: dict[str, str] = {}

    def find(self, xpath: str) -> WebElement:
        """The element, once it can be seen."""
        return WebDriverWait(self, WITHIN_S).until(
            lambda browser: next(
                (e for e in browser.find_elements(By.XPATH, xpath) if e.is_displayed()), None
            ),
            xpath,
        )

    def click(self, xpath: str) -> None:
        """Scroll to the element and click on it."""
        element = self.find(xpath)
        self.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def hosts(self) -> set[str]:
        """Where requests went, failed ones included, but not what the page's own policy stopped."""
        for entry in self.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            found = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                self.requested[found["requestId"]] = found["request"]["url"]
            elif (
                message["method"] == "Network.loadingFailed" and found.get("blockedReason") == "csp"
            ):
                del self.requested[found["requestId"]]
        return {
            urlsplit(url).hostname or ""
            for url in self.requested.values()
            if urlsplit(url).scheme not in ("data", "blob", "about", "chrome")
        }

    def complaints(self) -> list[str]:
        """Errors in the browser's console."""
        entries = self.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
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
