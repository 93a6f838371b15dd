"""A browser. Whoever imports it waits for selenium to load."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

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
