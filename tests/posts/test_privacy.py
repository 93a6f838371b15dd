"""Who sees a post: at once, and with no hint of what is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.clients import Client


@pytest.fixture
def people(client: Client) -> Sequence[Client]:
    """An author, a friend of theirs, and a stranger."""
    author, friend, stranger = client.user(), client.user(), client.user()
    author.befriend(friend)
    return author, friend, stranger


def sees(somebody: Client, author: Client, post: dict[str, object]) -> bool:
    """Whether somebody sees a post: by id as on the wall."""
    by_id = somebody.get(f"/posts/{post['id']}")
    assert by_id.status_code in (200, 404)
    on_wall = [item["id"] for item in somebody.items(f"/users/{author.id}/posts")]
    assert (by_id.status_code == 200) == (post["id"] in on_wall)
    return by_id.status_code == 200


def test_public_and_friends_only(people: Sequence[Client]) -> None:
    author, friend, stranger = people
    public, private = author.write(), author.write(privacy="friends")
    assert [sees(somebody, author, public) for somebody in people] == [True, True, True]
    assert [sees(somebody, author, private) for somebody in people] == [True, True, False]
    assert friend.items("/feed") == [private, public]
    assert stranger.items("/feed") == author.items("/feed") == []


def test_hidden_is_answered_like_not_there(people: Sequence[Client]) -> None:
    author, _, stranger = people
    post = author.write(privacy="friends")
    hidden = stranger.get(f"/posts/{post['id']}")
    author.delete(f"/posts/{post['id']}")
    missing = stranger.get(f"/posts/{post['id']}")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
    assert sorted(hidden.headers) == sorted(missing.headers)


def test_tightened_and_opened(people: Sequence[Client]) -> None:
    author, friend, stranger = people
    post = author.write()
    for privacy, visible in (("friends", False), ("public", True), ("friends", False)):
        author.patch(f"/posts/{post['id']}", json={"privacy": privacy})
        assert sees(stranger, author, post) == visible
        assert sees(friend, author, post)
        assert [item["id"] for item in friend.items("/feed")] == [post["id"]]


def test_an_edit_is_seen_everywhere(people: Sequence[Client]) -> None:
    author, friend, stranger = people
    post = author.write()
    edited = author.patch(f"/posts/{post['id']}", json={"content": "edited"}).json()
    for somebody in people:
        assert somebody.get(f"/posts/{post['id']}").json() == edited
        assert somebody.items(f"/users/{author.id}/posts") == [edited]
    assert friend.items("/feed") == [edited]
    assert stranger.items("/feed") == []


@pytest.mark.parametrize("who", [0, 1])
def test_friends_no_more(people: Sequence[Client], who: int) -> None:
    author, friend, _ = people
    public, private = author.write(), author.write(privacy="friends")
    ends, other = people[who], people[1 - who]
    assert ends.delete(f"/friends/{other.id}").status_code == 204
    assert not sees(friend, author, private)
    assert sees(friend, author, public)
    assert friend.items("/feed") == []
    author.befriend(friend)
    assert sees(friend, author, private)
    assert friend.items("/feed") == [private, public]


@pytest.mark.parametrize("who", [0, 2])
def test_a_request_opens_nothing(people: Sequence[Client], who: int) -> None:
    author, _, stranger = people
    post = author.write(privacy="friends")
    asks, other = people[who], people[2 - who]
    assert asks.put(f"/friends/{other.id}").json() == {"status": "requested"}
    assert not sees(stranger, author, post)
    assert stranger.items("/feed") == []
    assert other.put(f"/friends/{asks.id}").json() == {"status": "friends"}
    assert sees(stranger, author, post)
    assert stranger.items("/feed") == [post]


def test_friends_of_friends_are_strangers(client: Client, people: Sequence[Client]) -> None:
    author, friend, _ = people
    further = client.user()
    further.befriend(friend)
    post = author.write(privacy="friends")
    assert not sees(further, author, post)
    assert further.items("/feed") == []


def test_both_directions(people: Sequence[Client]) -> None:
    author, friend, _ = people
    post = friend.write(privacy="friends")
    assert sees(author, friend, post)
    assert author.items("/feed") == [post]
