"""GET /friends and GET /friends/requests: by ascending id, paged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hl_utils.servers.services import Api
from tests.clients import Client

# Not by id, and more than a page of the default length.
FRIENDS, REQUESTS = 21, 23


@pytest.fixture(scope="module")
def popular(api: Api) -> Client:
    """Somebody with friends and with people who asked."""
    with Client(api.url) as client:
        others = [client.user() for _ in range(FRIENDS + REQUESTS)]
        me = client.user()
        for other in reversed(others):
            other.put(f"/friends/{me.id}")
        # Every other one until there are enough, then none.
        for other in sorted(others[: 2 * FRIENDS : 2], key=lambda user: -user.id):
            me.put(f"/friends/{other.id}")
        return me


def ids(pages: Sequence[Sequence[dict[str, object]]]) -> list[object]:
    """The ids of all pages."""
    return [user["id"] for page in pages for user in page]


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 21, 23, 100])
def test_all_pages(popular: Client, limit: int) -> None:
    for path, count in (("/friends", FRIENDS), ("/friends/requests", REQUESTS)):
        pages = popular.pages(path, "after", limit=limit)
        assert all(len(page) == limit for page in pages[:-1])
        assert len(ids(pages)) == count
        assert ids(pages) == sorted(set(ids(pages)))


@pytest.mark.parametrize("limit", [1, 3, 6, 100])
def test_whom_one_asked(client: Client, limit: int) -> None:
    me = client.user()
    asked = [client.user() for _ in range(7)]
    for other in reversed(asked):
        me.put(f"/friends/{other.id}")
    asked[3].put(f"/friends/{me.id}")
    pages = me.pages("/friends/requests", "after", limit=limit, direction="out")
    assert ids(pages) == [other.id for other in asked if other is not asked[3]]
    assert me.items("/friends/requests") == me.items("/friends/requests", direction="in") == []


@pytest.mark.parametrize("direction", ["", "both", "IN"])
def test_what_is_no_direction(client: Client, direction: str) -> None:
    answer = client.user().get("/friends/requests", params={"direction": direction})
    assert answer.status_code == 422


def test_nobody_is_in_both(popular: Client) -> None:
    friends = ids(popular.pages("/friends", "after"))
    requests = ids(popular.pages("/friends/requests", "after"))
    assert not set(friends) & set(requests)


def test_20_are_on_a_page_unless_asked_otherwise(popular: Client) -> None:
    for path in ("/friends", "/friends/requests"):
        page = popular.get(path).json()
        assert len(page["items"]) == 20
        assert page["next"] is not None


def test_the_users_are_those_that_everybody_sees(popular: Client) -> None:
    for user in popular.items("/friends", limit=3):
        assert popular.get(f"/users/{user['id']}").json() == user


def test_a_changed_name_is_seen_at_once(client: Client) -> None:
    a, b = client.user(), client.user()
    a.befriend(b)
    b.patch("/users/me", json={"first_name": "Renamed"})
    assert [user["first_name"] for user in a.items("/friends")] == ["Renamed"]


def test_nobody(client: Client) -> None:
    me = client.user()
    for path in ("/friends", "/friends/requests"):
        assert me.get(path).json() == {"items": [], "next": None}


@pytest.mark.parametrize("after", [2**31 - 1, 2**31, 2**32, 2**53 - 1])
def test_beyond_the_last_one(popular: Client, after: int) -> None:
    assert popular.items("/friends", after=after) == []
