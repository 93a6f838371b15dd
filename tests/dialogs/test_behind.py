"""A dialog whose counters are behind its messages goes on: they are set right, and nobody waits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hl_utils.servers.services import Api
from hl_utils.servers.sql import rows
from hlfast.dialogs.dialog_ids import dialog_id
from tests.clients import Client

SENT = 5


class Behind:
    """A dialog of two, in which each has written and one has read, and its row."""

    def __init__(self, api: Api, me: Client, other: Client) -> None:
        self._url = api.settings.get("DIALOGS_DATABASE_URL", api.settings["DATABASE_URL"])
        self._id = dialog_id(me.id, other.id)
        for number in range(SENT):
            (other if number % 2 else me).send_to(me if number % 2 else other)
        assert me.post(f"/dialogs/{other.id}/read", json={"up_to": 2}).status_code == 204
        # One is left for the one, two are for the other, whose first was read by nobody.
        self.last_event_id = self.event_id()

    def event_id(self) -> int:
        """The id of the dialog's newest event."""
        query = "SELECT last_event_id FROM dialog WHERE dialog_id = $1"
        return int(rows(self._url, query, self._id)[0][0])

    def set_back(self, messages: int, events: int) -> None:
        """Set the dialog's row back to before so many messages, as a copy of then has it."""
        change = (
            "UPDATE dialog SET last_message_id = last_message_id - $2, "
            "last_event_id = last_event_id - $3, low_unread = 0, high_unread = 0 "
            "WHERE dialog_id = $1"
        )
        rows(self._url, change, self._id, messages, events)

    def forget(self) -> None:
        """Delete the dialog's row, as a copy of before its first message has it."""
        rows(self._url, "DELETE FROM dialog WHERE dialog_id = $1", self._id)


@pytest.fixture
def pair(client: Client) -> Sequence[Client]:
    """Two users."""
    return client.user(), client.user()


def unread(me: Client, other: Client) -> int:
    """What the list of my dialogs says."""
    dialogs = me.items("/dialogs")
    return next(int(item["unread"]) for item in dialogs if item["user"]["id"] == other.id)


@pytest.mark.parametrize("behind", [(1, 1), (3, 4), (SENT, SENT + 1)])
def test_a_message_goes_on_after_the_newest(
    api: Api, pair: Sequence[Client], behind: tuple[int, int]
) -> None:
    me, other = pair
    dialog = Behind(api, me, other)
    dialog.set_back(*behind)
    assert me.send_to(other, "on")["id"] == SENT + 1
    # An event's id that comes again would be taken for a repeat.
    assert dialog.event_id() > dialog.last_event_id
    assert other.send_to(me, "and on")["id"] == SENT + 2
    assert (unread(me, other), unread(other, me)) == (2, 4)
    page = me.items(f"/dialogs/{other.id}/messages")
    assert [message["id"] for message in page] == [*range(SENT + 2, 0, -1)]
    assert me.items("/dialogs")[0]["last_message"]["content"] == "and on"


def test_a_client_id_is_still_the_same_message(api: Api, pair: Sequence[Client]) -> None:
    me, other = pair
    first = me.send_to(other, "once", client_id="one")
    dialog = Behind(api, me, other)
    dialog.set_back(2, 2)
    new = {"content": "once", "client_id": "one"}
    answer = me.post(f"/dialogs/{other.id}/messages", json=new)
    assert (answer.status_code, answer.json()["id"]) == (200, first["id"])
    assert me.send_to(other, "on")["id"] == SENT + 2


@pytest.mark.parametrize("up_to", [SENT, 2**40, 3])
def test_a_mark_reaches_the_newest(api: Api, pair: Sequence[Client], up_to: int) -> None:
    me, other = pair
    dialog = Behind(api, me, other)
    dialog.set_back(3, 4)
    assert me.post(f"/dialogs/{other.id}/read", json={"up_to": up_to}).status_code == 204
    assert dialog.event_id() > dialog.last_event_id
    assert (unread(me, other), unread(other, me)) == (int(up_to == 3), 3)


def test_a_dialog_that_is_not_there_though_its_messages_are(
    api: Api, pair: Sequence[Client]
) -> None:
    me, other = pair
    dialog = Behind(api, me, other)
    dialog.forget()
    assert me.send_to(other, "on")["id"] == SENT + 1
    assert dialog.event_id() > dialog.last_event_id
    assert (unread(me, other), unread(other, me)) == (2, 4)
