"""A client of the API as its tests want one."""

from __future__ import annotations

import itertools
from typing import Any, Self

from tests import contract
from tests.http import HttpClient, Response

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


class Client(HttpClient):
    """Paths are below /api/v1. `id` and `username` are set for somebody with a token.

    Every answer is held against its declaration (`tests/contract.py`).
    """

    id = 0
    username = ""

    def __init__(self, url: str, token: str | None = None) -> None:
        super().__init__(f"{url}/api/v1", {"Authorization": f"Bearer {token}"} if token else {})
        self.root = url

    def request(self, method: str, url: str, **more: Any) -> Response:
        """The answer, which was declared."""
        response = super().request(method, url, **more)
        contract.check(response)
        return response

    def user(self, **fields: Any) -> Self:
        """A newly registered user, logged in."""
        new = {
            "username": f"user-{next(_numbers)}",
            "password": PASSWORD,
            "first_name": "Test",
            "last_name": "User",
            **fields,
        }
        created = self.post("/users", json=new)
        assert created.status_code == 201, created.text
        somebody = type(self)(self.root, self.token(str(new["username"]), str(new["password"])))
        somebody.id, somebody.username = created.json()["id"], new["username"]
        return somebody

    def login(self, username: str, password: str = PASSWORD, **headers: str) -> Response:
        """The answer to a login by password."""
        form = {"username": username, "password": password}
        return self.post("/login", data=form, headers=headers)

    def token(self, username: str, password: str = PASSWORD) -> str:
        """An access token."""
        answer = self.login(username, password)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def befriend(self, other: Client) -> None:
        """The two are friends afterwards."""
        assert self.put(f"/friends/{other.id}").json() == {"status": "requested"}
        assert other.put(f"/friends/{self.id}").json() == {"status": "friends"}

    def write(self, content: str = "A post", **fields: Any) -> dict[str, Any]:
        """A new post."""
        answer = self.post("/posts", json={"content": content, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def send_to(self, other: Client, content: str = "Hi", **fields: Any) -> dict[str, Any]:
        """A new message."""
        answer = self.post(f"/dialogs/{other.id}/messages", json={"content": content, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The first page of a list."""
        answer = self.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    def pages(self, path: str, cursor: str, **query: Any) -> list[list[dict[str, Any]]]:
        """Every page of a list, to its end; `cursor` is the parameter that `next` goes to."""
        pages = []
        while True:
            answer = self.get(path, params=query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert len(page["items"]) <= query.get("limit", 20)
            # Where a page leads on, something follows.
            assert page["items"] or not pages
            pages.append(page["items"])
            assert len(pages) < 1000, "a list without end"
            if page["next"] is None:
                return pages
            query[cursor] = page["next"]
