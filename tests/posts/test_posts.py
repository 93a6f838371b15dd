"""POST /posts; GET, PATCH and DELETE /posts/{id}."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hlfast.text import is_visible
from tests.clients import Client


@pytest.fixture
def friends(client: Client) -> Sequence[Client]:
    """Two friends."""
    pair = client.user(), client.user()
    pair[0].befriend(pair[1])
    return pair


def test_a_new_post(client: Client) -> None:
    me = client.user()
    answer = me.post("/posts", json={"content": "Hello"})
    assert answer.status_code == 201
    post = answer.json()
    expected = {"id": post["id"], "author_id": me.id, "content": "Hello", "privacy": "public"}
    times = {"created_at": post["created_at"], "updated_at": post["created_at"]}
    assert post == expected | times
    assert abs(datetime.fromisoformat(post["created_at"]) - datetime.now(UTC)) < timedelta(hours=1)
    assert answer.headers["location"] == f"/api/v1/posts/{post['id']}"
    assert me.get(f"{client.root}{answer.headers['location']}").json() == post
    assert client.user().get(f"/posts/{post['id']}").json() == post


def test_a_new_post_does_not_look_edited(client: Client) -> None:
    me = client.user()
    for post in (me.write() for _ in range(60)):
        assert post["created_at"] == post["updated_at"]


def test_ids_ascend_within_what_a_browser_can_count(client: Client) -> None:
    me = client.user()
    ids = [me.write()["id"] for _ in range(3)]
    assert ids == sorted(set(ids))
    assert ids[0] >= 1 and ids[-1] < 2**53


@pytest.mark.parametrize(
    "character", ["x", "é", "語", "😀", "\n", "\x01", "\u2028", "\\", '"', "\x7f"]
)
def test_content_is_1_to_4096_characters(client: Client, character: str) -> None:
    me = client.user()
    for length in (1, 4096):
        # Something in it has to be seen.
        content = (character if is_visible(character) else "x") + character * (length - 1)
        post = me.write(content)
        assert post["content"] == content
        assert me.get(f"/posts/{post['id']}").json() == post
        assert me.items(f"/users/{me.id}/posts", limit=1) == [post]
    assert me.post("/posts", json={"content": character * 4097}).status_code == 422
    refused = me.patch(f"/posts/{post['id']}", json={"content": character * 4097})
    assert refused.status_code == 422
    assert me.get(f"/posts/{post['id']}").json() == post


NOT_ACCEPTABLE = [
    {"content": ""},
    {"content": None},
    {"content": 5},
    {"content": ["x"]},
    {"content": "nul\0"},
    {"privacy": ""},
    {"privacy": None},
    {"privacy": "Public"},
    {"privacy": "private"},
    {"privacy": 1},
    {"author_id": 1},
    {"id": 1},
    {"created_at": "2000-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("fields", NOT_ACCEPTABLE)
def test_what_is_no_post_and_no_change(client: Client, fields: dict[str, Any]) -> None:
    me = client.user()
    refused = me.post("/posts", json={"content": "x"} | fields)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", *fields]
    post = me.write()
    refused = me.patch(f"/posts/{post['id']}", json=fields)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", *fields]
    assert me.get(f"/posts/{post['id']}").json() == post
    assert me.items(f"/users/{me.id}/posts") == [post]


@pytest.mark.parametrize("client_id", ["", "x" * 65, 5, "nul\0", ["x"]])
def test_client_ids_that_are_none(client: Client, client_id: Any) -> None:
    refused = client.user().post("/posts", json={"content": "x", "client_id": client_id})
    assert refused.status_code == 422


def test_content_is_needed(client: Client) -> None:
    assert client.user().post("/posts", json={"privacy": "public"}).status_code == 422


@pytest.mark.parametrize("client_id", ["1", "x" * 64, "語" * 64, "a b/c?d", "😀"])
def test_the_same_client_id_again_is_the_first_post(client: Client, client_id: str) -> None:
    me = client.user()
    first = me.post("/posts", json={"content": "first", "client_id": client_id})
    again = me.post(
        "/posts", json={"content": "again", "privacy": "friends", "client_id": client_id}
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert me.items(f"/users/{me.id}/posts") == [first.json()]


def test_the_first_post_comes_back_as_it_is_now(client: Client) -> None:
    me = client.user()
    post = me.write("first", client_id="c")
    edited = me.patch(f"/posts/{post['id']}", json={"content": "edited"}).json()
    assert me.post("/posts", json={"content": "first", "client_id": "c"}).json() == edited


def test_client_ids_are_the_authors_own(client: Client) -> None:
    a, b, client_id = client.user(), client.user(), f"a{secrets.token_hex(8)}"
    assert a.write(client_id=client_id)["id"] != b.write(client_id=client_id)["id"]
    assert a.write(client_id=f"{client_id}x")["id"] != a.write(client_id=client_id.upper())["id"]


def test_without_a_client_id_every_post_is_new(client: Client) -> None:
    me = client.user()
    posts = [me.write("same"), me.write("same"), me.write("same", client_id=None)]
    assert len({post["id"] for post in posts}) == 3


@pytest.mark.parametrize(
    "fields",
    [{"content": "new"}, {"privacy": "friends"}, {"content": "new", "privacy": "friends"}],
)
def test_a_change(client: Client, fields: dict[str, str]) -> None:
    me = client.user()
    post = me.write()
    changed = me.patch(f"/posts/{post['id']}", json=fields)
    assert changed.status_code == 200
    after = changed.json()
    assert after == post | fields | {"updated_at": after["updated_at"]}
    assert after["updated_at"] > post["updated_at"]
    assert me.get(f"/posts/{post['id']}").json() == after


def test_an_empty_change_changes_nothing(client: Client) -> None:
    me = client.user()
    post = me.write()
    before = me.get(f"/posts/{post['id']}")
    assert me.patch(f"/posts/{post['id']}", json={}).json() == post
    after = me.get(f"/posts/{post['id']}")
    assert (after.json(), after.headers["etag"]) == (post, before.headers["etag"])


def test_a_deleted_post_is_gone_at_once(friends: Sequence[Client]) -> None:
    me, friend = friends
    post = me.write()
    assert me.delete(f"/posts/{post['id']}").status_code == 204
    for somebody in friends:
        assert somebody.get(f"/posts/{post['id']}").status_code == 404
        assert somebody.items(f"/users/{me.id}/posts") == []
    assert friend.items("/feed") == []
    assert me.delete(f"/posts/{post['id']}").status_code == 404
    assert me.patch(f"/posts/{post['id']}", json={"content": "x"}).status_code == 404
    assert me.patch(f"/posts/{post['id']}", json={}).status_code == 404


@pytest.mark.parametrize("fields", [{"content": "mine now"}, {"privacy": "friends"}, {}])
def test_only_the_author_may_change_it(
    client: Client, friends: Sequence[Client], fields: dict[str, str]
) -> None:
    me, friend = friends
    stranger = client.user()
    public, private = me.write(), me.write(privacy="friends")
    for somebody, post, status in (
        (friend, public, 403),
        (friend, private, 403),
        (stranger, public, 403),
        (stranger, private, 404),
    ):
        assert somebody.patch(f"/posts/{post['id']}", json=fields).status_code == status
        assert somebody.delete(f"/posts/{post['id']}").status_code == status
    assert me.items(f"/users/{me.id}/posts") == [private, public]


@pytest.mark.parametrize(
    "unknown", [0, -1, 2**53 - 1, 2**53, 2**63, 10**30, "x", "1.0", "01", "1e1"]
)
def test_nothing_there(client: Client, unknown: int | str) -> None:
    me = client.user()
    assert me.get(f"/posts/{unknown}").status_code == 404
    assert me.patch(f"/posts/{unknown}", json={"content": "x"}).status_code == 404
    assert me.delete(f"/posts/{unknown}").status_code == 404
