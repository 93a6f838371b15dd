"""ETag, If-None-Match, Cache-Control; and HEAD."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hlfast.endpoints import ENDPOINTS
from tests.clients import Client


@pytest.fixture
def people(client: Client) -> Sequence[Client]:
    """An author and a friend of theirs."""
    author, friend = client.user(), client.user()
    author.befriend(friend)
    return author, friend


def unchanged(somebody: Client, path: str, etag: str) -> bool:
    """Whether the answer says that what somebody has is the newest."""
    answer = somebody.get(path, headers={"If-None-Match": etag})
    assert answer.status_code in (200, 304)
    assert answer.headers["cache-control"] == "private, no-cache"
    if answer.status_code == 304:
        assert answer.content == b""
        assert "content-type" not in answer.headers
        assert answer.headers["etag"] == somebody.get(path).headers["etag"]
    return answer.status_code == 304


@pytest.mark.parametrize("which", ["me", "user", "post"])
def test_changed_and_unchanged(people: Sequence[Client], which: str) -> None:
    author, friend = people
    post = author.write()
    path = {"me": "/users/me", "user": f"/users/{author.id}", "post": f"/posts/{post['id']}"}[which]
    reader = author if which == "me" else friend
    tags = []
    for number in range(3):
        answer = reader.get(path)
        assert answer.headers["cache-control"] == "private, no-cache"
        tags.append(answer.headers["etag"])
        assert unchanged(reader, path, tags[-1])
        author.patch("/users/me", json={"city": str(number)})
        author.patch(f"/posts/{post['id']}", json={"content": str(number)})
        for tag in tags:
            assert not unchanged(reader, path, tag)
    assert len(set(tags)) == 3
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


def test_forms_of_if_none_match(people: Sequence[Client]) -> None:
    author, _ = people
    path = f"/users/{author.id}"
    etag = author.get(path).headers["etag"]
    for same in (f"W/{etag}", f'"other", {etag}', f'W/"other",{etag} , "more"', "*", f",{etag},"):
        assert unchanged(author, path, same)
    for other in ('"other"', "", etag.strip('"'), etag[:-1], etag.replace('"', "'"), '"*"', "W/"):
        assert not unchanged(author, path, other)


def test_two_fields_are_one_list(people: Sequence[Client]) -> None:
    author, _ = people
    etag = author.get("/users/me").headers["etag"]
    authorization = author.headers["authorization"]
    fields = [("Authorization", authorization), ("If-None-Match", '"other"')]
    answer = Client(author.root).get("/users/me", headers=[*fields, ("If-None-Match", etag)])
    assert answer.status_code == 304


def test_what_is_hidden_stays_hidden(client: Client, people: Sequence[Client]) -> None:
    author, friend = people
    post = author.write()
    path = f"/posts/{post['id']}"
    stranger = client.user()
    etag = stranger.get(path).headers["etag"]
    etag = author.patch(path, json={"privacy": "friends"}).headers.get("etag", etag)
    for tag in (etag, "*", friend.get(path).headers["etag"]):
        assert stranger.get(path, headers={"If-None-Match": tag}).status_code == 404
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 401
    assert unchanged(friend, path, friend.get(path).headers["etag"])
    author.delete(path)
    assert friend.get(path, headers={"If-None-Match": "*"}).status_code == 404


def test_me_is_somebody_else_for_everybody(people: Sequence[Client]) -> None:
    """Two users of one browser: the tag that one got must not stand for the other."""
    author, friend = people
    assert not unchanged(friend, "/users/me", author.get("/users/me").headers["etag"])


@pytest.mark.parametrize("fields", [{}, {"city": "Rome"}])
def test_a_change_is_never_answered_with_304(
    people: Sequence[Client], fields: dict[str, str]
) -> None:
    author, _ = people
    answer = author.patch("/users/me", json=fields, headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert answer.json() == author.get("/users/me").json()
    if "etag" in answer.headers:
        assert unchanged(author, "/users/me", answer.headers["etag"])


def test_nothing_else_is_stored_by_a_cache(people: Sequence[Client]) -> None:
    author, friend = people
    author.send_to(friend)
    for row in ENDPOINTS:
        if row.method == "GET" and not row.has_etag:
            path = row.path.replace("{id}", str(author.id)).replace("{user_id}", str(friend.id))
            query = {"/users/search": "?first_name=a", "/users": "?ids=1"}.get(row.path, "")
            answer = author.get(path + query, headers={"If-None-Match": "*"})
            # Which is for superusers.
            assert answer.status_code == (403 if row.path == "/lab" else 200)
            assert answer.headers["cache-control"] == "no-store"
    assert author.get("/posts/0").headers["cache-control"] == "no-store"


def test_head_is_get_without_a_body(people: Sequence[Client]) -> None:
    author, friend = people
    post = author.write()
    author.send_to(friend)
    for path in (
        "/users/me", f"/users/{author.id}", f"/posts/{post['id']}", f"/users/{author.id}/posts",
        "/feed", "/friends", "/friends/requests", "/dialogs", f"/dialogs/{author.id}/messages",
        "/users/search?first_name=a", "/friends?limit=1",
    ):  # fmt: skip
        got, head = friend.get(path), friend.head(path)
        assert head.status_code == got.status_code == 200
        assert head.content == b""
        for name in ("content-length", "content-type", "etag", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name)
    assert friend.head("/posts/0").status_code == 404
    assert Client(friend.root).head("/users/me").status_code == 401
    tag = {"If-None-Match": friend.head("/users/me").headers["etag"]}
    assert friend.head("/users/me", headers=tag).status_code == 304
