"""Requests as people have them: curl lines, a .http file, or a HAR that a browser has saved."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# What the connection of the lab decides itself. Answers are compared as they are, not compressed.
_NOT_TAKEN = {
    "host", "connection", "content-length", "accept-encoding", "transfer-encoding", "keep-alive",
    "te", "upgrade", "expect", "if-none-match", "if-modified-since",
}  # fmt: skip
_LINE = re.compile(r"(?:(?P<method>[A-Z]+)\s+)?(?P<url>\S+)(?:\s+HTTP/\S+)?\s*")
_VARIABLE = re.compile(r"@(\w+)\s*=\s*(.*)")
_FORM = "application/x-www-form-urlencoded"
# Options of curl: those with a value that is passed over, and those without one.
_CURL_VALUES = {"-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout"}
_CURL_FLAGS = {
    "-s", "--silent", "-S", "--show-error", "-i", "--include", "-k", "--insecure", "-L",
    "--location", "-v", "--verbose", "--compressed", "-f", "--fail", "-sS", "-g", "--globoff",
}  # fmt: skip
_CURL_HEADERS = {
    "-b": "Cookie", "--cookie": "Cookie", "-A": "User-Agent", "--user-agent": "User-Agent",
    "-e": "Referer", "--referer": "Referer",
}  # fmt: skip
_CURL_DATA = {"-d", "--data", "--data-raw", "--data-ascii", "--data-binary", "--json"}


@dataclass(slots=True)
class Asked:
    """One request. `target` is path and query."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def name(self) -> str:
        """The request's name, as it is shown."""
        return f"{self.method} {self.target}"

    @property
    def data(self) -> bytes:
        """The bytes of it, for a keep-alive connection."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def read(path: Path) -> list[Asked]:
    """The requests of a file. Raises ValueError, which says where nothing can be made of it."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        found = _har(json.loads(text))
    elif path.suffix in (".http", ".rest"):
        found = _http(text)
    else:
        found = _curl_lines(text)
    if not found:
        raise ValueError(f"{path} holds no request")
    return found


def _asked(method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Asked:
    parts = urlsplit(url if "://" in url or url.startswith("/") else f"//{url}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or any(one <= " " for one in target):
        raise ValueError(f"{url!r} is not encoded as a URL is")
    taken = {
        name: value
        for name, value in headers
        if name.lower() not in _NOT_TAKEN and not name.startswith(":")
    }
    return Asked(method, target, taken, body)


def _curl_lines(text: str) -> list[Asked]:
    found = []
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] != "curl":
            raise ValueError(f"Request {number} does not begin with curl: {line[:80]}")
        found.append(_curl(words[1:]))
    return found


def _curl(words: list[str]) -> Asked:
    method, url, body = "", "", []
    headers: list[tuple[str, str]] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not option.startswith("-"):
            url = word
        elif option not in _CURL_FLAGS:
            value = value if equals else next(rest, "")
            if option in ("-X", "--request"):
                method = value
            elif option in ("-H", "--header"):
                name, _, text = value.partition(":")
                headers.append((name.strip(), text.strip()))
            elif option in _CURL_DATA:
                body.append(value)
                headers += [("Content-Type", "application/json")] * (option == "--json")
            elif option == "--url":
                url = value
            elif option in _CURL_HEADERS:
                headers.append((_CURL_HEADERS[option], value))
            elif option not in _CURL_VALUES:
                raise ValueError(f"curl's {option} is not understood here")
    if not url:
        raise ValueError(f"No URL in: curl {shlex.join(words)[:80]}")
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", _FORM))
    return _asked(method or ("POST" if body else "GET"), url, headers, "&".join(body).encode())


def _http(text: str) -> list[Asked]:
    variables = {name: value.strip() for name, value in _VARIABLE.findall(text)}
    for name, value in variables.items():
        text = text.replace("{{" + name + "}}", value)
    return [
        found
        for part in re.split(r"^###.*$", text, flags=re.MULTILINE)
        if (found := _http_request(part)) is not None
    ]


def _http_request(part: str) -> Asked | None:
    lines = [
        line.rstrip()
        for line in part.strip().splitlines()
        if not re.match(r"\s*(#|//|@\w+\s*=)", line)
    ]
    while lines and not lines[0]:
        lines.pop(0)
    if not lines:
        return None
    line = _LINE.fullmatch(lines[0])
    if line is None:
        raise ValueError(f"Not a line of a request: {lines[0][:80]}")
    end = lines.index("") if "" in lines else len(lines)
    headers = []
    for each in lines[1:end]:
        name, colon, value = each.partition(":")
        if not colon:
            raise ValueError(f"Not a header: {each[:80]}")
        headers.append((name.strip(), value.strip()))
    body = "\n".join(lines[end + 1 :]).strip().encode()
    return _asked(line["method"] or "GET", line["url"], headers, body)


def _har(document: Any) -> list[Asked]:
    found = []
    for entry in document.get("log", {}).get("entries", []):
        one = entry["request"]
        headers = [(each["name"], each["value"]) for each in one.get("headers", [])]
        body = one.get("postData", {}).get("text", "").encode()
        found.append(_asked(one["method"], one["url"], headers, body))
    return found
