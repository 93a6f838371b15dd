"""GET /dialogs."""

from __future__ import annotations

from tests.clients import Client


def test_the_other_user_the_last_message_and_unread(client: Client) -> None:
    a, b = client.user(), client.user(first_name="Bea", city="Bern")
    a.send_to(b, "first")
    last = b.send_to(a, "second")
    mine, theirs = a.get("/dialogs").json(), b.get("/dialogs").json()
    user = client.get(f"/users/{b.id}").json()
    assert mine == {"items": [{"user": user, "last_message": last, "unread": 1}], "next": None}
    user = client.get(f"/users/{a.id}").json()
    assert theirs == {"items": [{"user": user, "last_message": last, "unread": 1}], "next": None}
    b.post(f"/dialogs/{a.id}/read", json={"up_to": 1})
    assert a.items("/dialogs")[0]["last_message"] == last
    a.post(f"/dialogs/{b.id}/read", json={"up_to": 2})
    assert a.items("/dialogs")[0]["last_message"] == last | {"read": True}
    assert b.items("/dialogs")[0]["last_message"] == last | {"read": True}


def test_the_latest_activity_comes_first(client: Client) -> None:
    me, one, two = client.user(), client.user(), client.user()

    def order() -> list[int]:
        return [dialog["user"]["id"] for dialog in me.items("/dialogs")]

    me.send_to(one)
    two.send_to(me)
    assert order() == [two.id, one.id]
    one.send_to(me)
    assert order() == [one.id, two.id]
    me.send_to(two)
    assert order() == [two.id, one.id]
    # Reading, and sending again what was sent before, are no activity.
    sent = me.send_to(one, client_id="c")
    me.send_to(two)
    me.post(f"/dialogs/{one.id}/read", json={"up_to": sent["id"]})
    me.post(f"/dialogs/{one.id}/messages", json={"content": "Hi", "client_id": "c"})
    assert order() == [two.id, one.id]


def test_a_changed_name_is_seen_at_once(client: Client) -> None:
    a, b = client.user(), client.user()
    a.send_to(b)
    b.patch("/users/me", json={"first_name": "Renamed"})
    assert a.items("/dialogs")[0]["user"]["first_name"] == "Renamed"


def test_no_dialog_yet(client: Client) -> None:
    assert client.user().get("/dialogs").json() == {"items": [], "next": None}
