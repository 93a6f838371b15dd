"""GET /users/{id}/posts and GET /feed: newest first, paged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from tests.clients import Client

LIMITS = [1, 2, 5, 20, 24, 25, 100]


class Circle(NamedTuple):
    """Three friends of mine, and what they wrote in turns, newest first."""

    me: Client
    authors: Sequence[Client]
    posts: Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def circle(api: Api) -> Circle:
    """25 posts of three authors, every third for friends only."""
    with Client(api.url) as client:
        me, *authors = (client.user() for _ in range(4))
        for author in authors:
            me.befriend(author)
        posts = [
            authors[number % 3].write(
                f"Number {number}", privacy="public" if number % 4 else "friends"
            )
            for number in range(25)
        ]
        return Circle(me, authors, posts[::-1])


def all_items(pages: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The items of all pages."""
    return [item for page in pages for item in page]


@pytest.mark.parametrize("limit", LIMITS)
def test_all_pages_of_the_feed(circle: Circle, limit: int) -> None:
    pages = circle.me.pages("/feed", "before", limit=limit)
    assert all_items(pages) == circle.posts
    assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize("limit", LIMITS)
def test_all_pages_of_a_wall(client: Client, circle: Circle, limit: int) -> None:
    author = circle.authors[0]
    wall = [post for post in circle.posts if post["author_id"] == author.id]
    for somebody in (circle.me, author):
        pages = somebody.pages(f"/users/{author.id}/posts", "before", limit=limit)
        assert all_items(pages) == wall
        assert all(len(page) == limit for page in pages[:-1])
    pages = client.user().pages(f"/users/{author.id}/posts", "before", limit=limit)
    assert all_items(pages) == [post for post in wall if post["privacy"] == "public"]
    assert all(len(page) == limit for page in pages[:-1])


def test_20_are_on_a_page_unless_asked_otherwise(client: Client) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    posts = [friend.write() for _ in range(21)][::-1]
    for path in ("/feed", f"/users/{friend.id}/posts"):
        page = me.get(path).json()
        assert page["items"] == posts[:20]
        last = me.get(path, params={"before": page["next"]}).json()
        assert last == {"items": posts[20:], "next": None}


def test_what_is_new_does_not_move_the_pages(client: Client) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    posts = [friend.write() for _ in range(6)][::-1]
    for path in ("/feed", f"/users/{friend.id}/posts"):
        first = me.get(path, params={"limit": 3}).json()
        new = friend.write()
        second = me.get(path, params={"limit": 3, "before": first["next"]}).json()
        assert second["items"] == posts[3:]
        assert me.items(path, limit=1) == [new]
        friend.delete(f"/posts/{new['id']}")


def test_what_is_deleted_does_not_move_the_pages(client: Client) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    posts = [friend.write() for _ in range(6)][::-1]
    pages = [
        (path, me.get(path, params={"limit": 3}).json())
        for path in ("/feed", f"/users/{friend.id}/posts")
    ]
    for number in (0, 2, 3):  # before, at and after the cursor
        friend.delete(f"/posts/{posts[number]['id']}")
    for path, page in pages:
        assert page["items"] == posts[:3]
        rest = me.items(path, limit=3, before=page["next"])
        assert rest == posts[4:]


def test_nothing_yet(client: Client) -> None:
    me = client.user()
    for path in ("/feed", f"/users/{me.id}/posts"):
        assert me.get(path).json() == {"items": [], "next": None}


@pytest.mark.parametrize("unknown", [0, 2**31 - 1, 2**31, 2**53, "x"])
def test_nobodys_wall(client: Client, unknown: int | str) -> None:
    assert client.user().get(f"/users/{unknown}/posts").status_code == 404


def test_my_own_posts_are_not_in_my_feed(client: Client) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    me.write()
    assert me.items("/feed") == []
    assert len(friend.items("/feed")) == 1


@pytest.fixture
def bounded(migrated_database_url: str, redis_server: RedisServer) -> Iterator[Client]:
    """Somebody at an API whose feeds reach back 50 posts."""
    settings = {"HLFAST_FEED_POSTS_MAX": 50, "HLFAST_DRAIN_TIMEOUT_S": 1}
    with Api(migrated_database_url, redis_server.url, **settings) as api, Client(api.url) as client:
        yield client


def test_how_far_back_a_feed_reaches(bounded: Client) -> None:
    me, friend = bounded.user(), bounded.user()
    me.befriend(friend)
    posts = [friend.write(str(number)) for number in range(60)][::-1]
    for limit in (1, 7, 20, 25, 49, 50, 51, 100):
        pages = me.pages("/feed", "before", limit=limit)
        assert all_items(pages) == posts[:50]
        assert len(pages) == -(-50 // limit)  # and no empty one after the last
        assert all(len(page) == limit for page in pages[:-1])
    wall = me.pages(f"/users/{friend.id}/posts", "before", limit=100)
    assert all_items(wall) == posts  # a wall has no such bound


def test_what_a_client_says_takes_a_feed_no_further(bounded: Client) -> None:
    """Neither a cursor that was made up nor one that is used after others wrote on."""
    me, friends = bounded.user(), [bounded.user() for _ in range(2)]
    for friend in friends:
        me.befriend(friend)
    ids = [friends[number % 2].write()["id"] for number in range(60)][::-1]
    for place in (0, 9, 30, 48, 49, 50, 55, 58):
        for said in ("", "-0", "-1", "-49", "-999999999"):
            found = me.get("/feed", params={"before": f"{ids[place]}{said}", "limit": 100}).json()
            assert [post["id"] for post in found["items"]] == ids[place + 1 : 50]
            assert found["next"] is None
    kept = me.get("/feed", params={"limit": 45}).json()["next"]
    assert me.items("/feed", before=kept, limit=100)
    for _ in range(10):
        friends[0].write()
    assert me.items("/feed", before=kept, limit=100) == []
    assert me.get("/feed", params={"before": str(2**60)}).status_code in (200, 422)


def test_a_full_last_page_of_a_feed_is_the_last(client: Client) -> None:
    me, friend = client.user(), client.user()
    me.befriend(friend)
    for number in range(1, 4):
        friend.write()
        assert me.get("/feed", params={"limit": number}).json()["next"] is None
    assert len(me.pages("/feed", "before", limit=1)) == 3
