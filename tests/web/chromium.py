"""Debian's Chromium as the tests drive it. Whoever imports it waits for selenium to load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException
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
    "--lang=en-US",
)
T = TypeVar("T")
# Lines for errors that are empty and have a box, if only for the gap beside it.
BOXES_OF_NOTHING = """[...document.querySelectorAll("[role=alert]:empty")]
    .filter((line) => line.getClientRects().length).map((line) => line.outerHTML)"""
# In a page: frames that came, and answers to GETs that are held back until `release()`.
HELD = """
window.came = [];
window.WebSocket = class extends WebSocket {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", ({data}) => window.came.push(data));
    }
};
const real = fetch;
const gate = new Promise((open) => (window.release = open));
window.held = 0;
window.fetch = async (url, options) => {
    const answer = await real(url, options);
    if (options.method === "GET" && String(url).includes(PART)) {
        window.held += 1;
        await gate;
    }
    return answer;
};
"""


class Browser(Chrome):
    """Chromium with a fresh profile, and a log of every request that it makes."""

    def __init__(self, profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        # Only so are there windows that share nothing.
        options.enable_bidi = True
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        super().__init__(options=options, service=Service(DRIVER))
        self.requested: dict[str, str] = {}

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """What a look finds, once it finds something."""
        wait = WebDriverWait(self, WITHIN_S, 0.1, [StaleElementReferenceException])
        return wait.until(lambda _: look(), what)

    def find(self, xpath: str) -> WebElement:
        """The element, once it can be seen."""

        def look() -> WebElement | None:
            found = self.find_elements(By.XPATH, xpath)
            return next((element for element in found if element.is_displayed()), None)

        return self.until(look, xpath)

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

    def person(self, url: str) -> Person:
        """Somebody at another computer: a window that shares nothing with the others."""
        apart = self.browser.create_user_context()
        handle = self.browsing_context.create(type="window", user_context=apart)
        self.switch_to.window(handle)
        self.get(url)
        return Person(self, handle)


class Person:
    """A window of the page at `/`, and what somebody does in it. It is in front for each act."""

    def __init__(self, browser: Browser, handle: str) -> None:
        self.browser = browser
        self.handle = handle

    def _look(self) -> Browser:
        self.browser.switch_to.window(self.handle)
        return self.browser

    def tab(self, url: str) -> Person:
        """The same person in another tab."""
        browser = self._look()
        handle = browser.browsing_context.create(type="tab", reference_context=self.handle)
        browser.switch_to.window(handle)
        browser.get(url)
        return Person(browser, handle)

    def at(self, place: str) -> None:
        """Go to a view, as by its link."""
        self._look().execute_script("location.hash = arguments[0]", place)

    def find(self, xpath: str) -> WebElement:
        """What they see, once it can be seen."""
        return self._look().find(xpath)

    def sees(self, text: str, within: str = "//body") -> WebElement:
        """A text, whole and in one element."""
        return self.find(f"{within}//*[normalize-space()={literal(text)}]")

    def count(self, text: str, within: str = "//main") -> int:
        """How many paragraphs are just this text."""
        xpath = f"{within}//p[normalize-space()={literal(text)}]"
        return len(self._look().find_elements(By.XPATH, xpath))

    def gone(self, xpath: str) -> None:
        """Wait until nothing of this can be seen."""
        browser = self._look()

        def look() -> bool:
            return not any(e.is_displayed() for e in browser.find_elements(By.XPATH, xpath))

        browser.until(look, f"still there: {xpath}")

    def press(self, name: str, within: str = "//body") -> None:
        """A button or link, by its text or label."""
        named = f"[normalize-space()={literal(name)} or @aria-label={literal(name)}]"
        self._look().click(f"{within}//*[self::button or self::a]{named}")

    def write(self, label: str, text: str) -> None:
        """Replace what is in the field of that label."""
        name = literal(label)
        field = self.find(
            f"//*[@id=//label[normalize-space()={name}]/@for] | //*[@aria-label={name}]"
        )
        field.clear()
        # The driver types no character beyond the 16 bits of old.
        if text.isascii():
            field.send_keys(text)
        else:
            self.run(
                "arguments[0].value = arguments[1];"
                "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
                field,
                text,
            )

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in their page returns."""
        return self._look().execute_script(script, *arguments)

    def until(self, script: str) -> None:
        """Wait until a script in their page returns something."""
        self._look().until(lambda: self.run(script), script)

    def command(self, name: str, **parameters: Any) -> Any:
        """One of the browser's own, for this window."""
        return self._look().execute_cdp_cmd(name, parameters)

    def state(self, said: str) -> None:
        """Wait until the page says so of its connection."""
        self.find(f"//*[@id='state'][normalize-space()={literal(said)}]")

    def read_anew(self) -> int:
        """How often the page has read the list of dialogs since its timings were cleared."""
        count = "performance.getEntriesByType('resource').filter(({name}) => name.includes(%s))"
        return int(self.run(f"return {count % literal('/dialogs?')}.length"))

    def offline(self, is_offline: bool = True) -> None:
        """Take their network away, or give it back."""
        self.command("Network.enable")
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.command("Network.emulateNetworkConditions", offline=is_offline, **rates)

    @contextmanager
    def answers_held_back(self, part: str) -> Iterator[None]:
        """Their page anew: GETs of paths with `part` are answered only when the block has ended.

        It begins when one is answered. `window.came` has the frames of the websocket since.
        """
        hold = HELD.replace("PART", json.dumps(part))
        adding = "Page.addScriptToEvaluateOnNewDocument"
        script = self.command(adding, source=hold)["identifier"]
        self.run("location.reload()")
        self.state("Live")
        self.until("return window.held")
        self.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        yield
        self.run("window.release()")

    def barriers(self) -> list[tuple[str, str]]:
        """What is in the way of those who see little or nothing, and its markup."""
        from axe_core_python.selenium import Axe

        found = Axe().run(self.browser)["violations"]
        found = [one for one in found if one["impact"] in ("serious", "critical")]
        return [(one["help"], node["html"]) for one in found for node in one["nodes"]]

    def boxes_of_nothing(self) -> list[str]:
        """Markup of lines for errors that are empty and have a box, if only for the gap beside."""
        return list(self.run(f"return {BOXES_OF_NOTHING}"))

    def log_in(self, username: str, password: str) -> None:
        """At the door."""
        self.write("User name", username)
        self.write("Password", password)
        self.press("Log in", "//form")
        self.state("Live")


def literal(text: str) -> str:
    """A text as XPath writes it, which knows no escapes."""
    if "'" not in text:
        return f"'{text}'"
    parts = """, "'", """.join(f"'{part}'" for part in text.split("'"))
    return f"concat({parts})"
