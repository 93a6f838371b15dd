"""What must hold of the dialogs of before once the newest schema is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

from hl_utils.servers.services import Api
from hl_utils.servers.sql import rows
from hlfast.db import queries
from hlfast.db.open import open_database
from hlfast.dialogs import service
from hlfast.settings import Settings
from tests.clients import Client
from tests.upgrade import before
from tests.upgrade.before import END, Process, Seen, pair

TABLES = ("dialog", "message", "messageoutbox")


def people(api: Api) -> dict[int, Client]:
    """The users of before, logged in."""
    found = {}
    for user in before.USERS:
        somebody = Client(api.url)
        found[user] = Client(api.url, somebody.token(f"user-of-before-{user}"))
        found[user].id = user
        somebody.close()
    return found


def shows_the_same(users: dict[int, Client], seen: Seen) -> None:
    """Pages, the lists with what is unread, and the mark that comes with each message."""
    for (me, other), messages in seen.pages.items():
        page = users[me].pages(f"/dialogs/{other}/messages", "before", limit=7)
        assert list(chain.from_iterable(page)) == messages
    for me, dialogs in seen.lists.items():
        items = chain.from_iterable(users[me].pages("/dialogs", "before", limit=2))
        assert [
            (item["user"]["id"], item["unread"], item["last_message"]["id"]) for item in items
        ] == dialogs


def events(url: str) -> list[str]:
    """The ids of those that wait, as they will be published."""

    async def ask() -> list[str]:
        database = await open_database(url, (queries.DIALOGS,), Settings(database_pool_size=1))
        try:
            left = await database.fetch("messageoutbox_left", -1.0, 10_000)
            return [str(service.outbox_row(row).event["id"]) for row in left]
        finally:
            await database.close()

    return asyncio.run(ask())


def goes_on(users: dict[int, Client], seen: Seen) -> None:
    """The next ids, client_ids of before, marks, and dialogs that are new."""
    first = seen.pages[1, 2][-1]
    again = {"content": "other words", "client_id": first["client_id"]}
    author, reader = users[first["from_user_id"]], users[first["to_user_id"]]
    answer = author.post(f"/dialogs/{reader.id}/messages", json=again)
    assert (answer.status_code, answer.json()["id"]) == (200, 1)
    assert answer.json()["content"] == first["content"]
    # The other's client_id is another one.
    assert reader.send_to(author, **again)["id"] == 31
    for me, other in ((1, 2), (2, 1), (5, 1), (6, 7)):
        path = f"/dialogs/{other}/messages"
        newest = users[me].items(path)[0]["id"]
        unread = {item["user"]["id"]: item["unread"] for item in users[other].items("/dialogs")}
        assert users[me].send_to(users[other], "on")["id"] == newest + 1
        now = {item["user"]["id"]: item["unread"] for item in users[other].items("/dialogs")}
        assert now == unread | {me: unread.get(me, 0) + 1}
        marked = users[other].post(f"/dialogs/{me}/read", json={"up_to": newest + 1})
        assert marked.status_code == 204
        assert users[me].items(path)[0]["read"]
    assert users[3].send_to(users[4], "the first")["id"] == 1


def state(url: str) -> list[Sequence[object]]:
    """Every row of the dialogs."""
    return [rows(url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def refuses_the_old(url: str) -> None:
    """Whatever a process of before says is a 503 to whoever asked, and changes nothing."""
    was = state(url)
    dialog = pair(1, 2)
    said = [
        *(("dialog_send", dialog, 1, "late", "late", create) for create in (False, True)),
        ("dialog_send", pair(1, 99), 1, "late", None, True),
        ("dialog_send", dialog, 1, "again", "client-1", False),
        ("dialog_read", dialog, 2, END),
        ("dialog_page_before", dialog, END, 20),
        ("dialog_page_before", pair(98, 99), END, 20),
        ("dialog_page_after", dialog, 0, 20),
        ("dialog_list", 1, END, END, 20),
        ("dialog_list", 99, END, END, 20),
        ("dialogoutbox_are_there", [dialog, dialog], [1, 2]),
        ("dialogoutbox_left", -1.0, 100),
        ("dialogoutbox_delete", [dialog], [1]),
    ]
    if queries.dialect_of(url) == "postgres":
        said.append(("dialog_send_many", [dialog], [1], ["late"], ["late"]))

    async def work(one: Process) -> None:
        for statement, *arguments in said:
            assert await one.is_refused(statement, *arguments), (statement, arguments)
        # By this alone nothing is shown or sent.
        assert await one.ask("dialog_marks", [dialog, pair(1, 3)]) == []

    with before.process(url) as (runner, one):
        runner.run(work(one))
    assert state(url) == was
