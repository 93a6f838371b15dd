"""Requests as people have them are read as they were meant, and what is not understood is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.lab import requests_file
from bench.lab.requests_file import Asked
from bench.load import whole

CURL = r"""
# What the page asks for.
curl -s http://localhost:8000/users/7?fields=a%20b
curl 'https://shop.example/cart' \
  -H 'Authorization: Bearer x.y.z' -H 'Accept-Encoding: gzip' --compressed
curl -X PUT http://localhost/items/3 --json '{"name": "Tea & milk"}'
curl localhost:8000/login -d username=ada -d password=secret -b session=1
"""
HTTP = """
@host = http://localhost:8000
### One
# A comment.
GET {{host}}/users/7 HTTP/1.1
Accept: application/json

###
POST {{host}}/items
Content-Type: application/json

{"name": "Tea"}
"""
HAR = {
    "log": {
        "entries": [
            {
                "request": {
                    "method": "GET",
                    "url": "https://shop.example/a?b=c",
                    "headers": [
                        {"name": ":authority", "value": "shop.example"},
                        {"name": "Accept", "value": "*/*"},
                        {"name": "If-None-Match", "value": "x"},
                    ],
                }
            },
            {
                "request": {
                    "method": "POST",
                    "url": "https://shop.example/d",
                    "headers": [],
                    "postData": {"text": "é"},
                }
            },
        ]
    }
}


def read(path: Path, text: str) -> list[Asked]:
    """From a file of that name."""
    path.write_text(text, encoding="utf-8")
    return requests_file.read(path)


def test_curl_lines(tmp_path: Path) -> None:
    one, two, three, four = read(tmp_path / "requests.sh", CURL)
    assert one == Asked("GET", "/users/7?fields=a%20b")
    assert two == Asked("GET", "/cart", {"Authorization": "Bearer x.y.z"})
    assert three.method == "PUT" and three.body == b'{"name": "Tea & milk"}'
    assert three.headers == {"Content-Type": "application/json"}
    assert four.method == "POST" and four.body == b"username=ada&password=secret"
    assert four.headers["Cookie"] == "session=1"
    assert four.target == "/login"
    assert one.data == b"GET /users/7?fields=a%20b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert three.data.endswith(b'Content-Length: 22\r\n\r\n{"name": "Tea & milk"}')


def test_http_file(tmp_path: Path) -> None:
    one, two = read(tmp_path / "requests.http", HTTP)
    assert one == Asked("GET", "/users/7", {"Accept": "application/json"})
    assert two.method == "POST" and json.loads(two.body) == {"name": "Tea"}


def test_har(tmp_path: Path) -> None:
    one, two = read(tmp_path / "shop.har", json.dumps(HAR))
    assert one == Asked("GET", "/a?b=c", {"Accept": "*/*"})
    assert two.body == "é".encode()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "wget http://x/", "does not begin with curl"),
        ("a.txt", "curl --proxy-magic 1 http://x/", "--proxy-magic is not understood"),
        ("a.txt", "curl -s", "No URL"),
        ("a.txt", "curl http://x/å", "not encoded"),
        ("a.http", "GET http://x/\nnonsense\n", "Not a header"),
        ("a.http", "### nothing\n", "holds no request"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path / name, text)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"abcde",
        ),
    ],
)
def test_an_answer_is_whole_at_its_end_and_not_before(answer: bytes, body: bytes) -> None:
    head_end = answer.find(b"\r\n\r\n")
    assert whole(answer, head_end) == (len(answer), body)
    for end in range(head_end + 4, len(answer)):
        assert whole(answer[:end], head_end)[0] > end
