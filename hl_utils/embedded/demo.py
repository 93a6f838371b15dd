"""The demo people as rows of an embedded database that has nobody yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from hl_utils.embedded.demo_people import (
    ASKED,
    DEMO,
    DIALOGS,
    FRIENDS,
    PEOPLE,
    POSTS,
    SUPERUSER,
    UNREAD,
    Person,
)
from hl_utils.population.people import copy_text
from hl_utils.population.postgres import PostgresTarget
from hl_utils.population.rows import (
    COUNT_FRIENDS,
    DIALOG,
    FRIEND,
    MESSAGE,
    POST,
    USER,
    Chunk,
    Ids,
    Plan,
    Table,
)
from hlfast.auth.passwords import hash_password
from hlfast.codec import search_key
from hlfast.db.postgres import connect
from hlfast.db.queries import MAIN
from hlfast.dialogs.dialog_ids import dialog_id
from hlfast.settings import Settings

NULL = r"\N"
MAKE_SUPERUSER = 'UPDATE "user" SET is_superuser = true WHERE id = {id}'


async def seed_if_empty(settings: Settings, password: str) -> None:
    """Put the demo people into an embedded database in which there is nobody yet.

    Each of them has this password. No outbox rows: this is history.
    """
    connection = await connect(settings.database_url)
    target = PostgresTarget(connection)
    try:
        if await connection.fetchval('SELECT EXISTS (SELECT FROM "user")'):
            return
        people = len(PEOPLE)
        plan = Plan(
            users=people,
            seed=0,
            friends_mean=(len(FRIENDS) + len(ASKED)) / people,
            posts_mean=len(POSTS) / people,
            dialogs_mean=0,
            friends_max=people,
        )
        names = [person.username for person in PEOPLE]
        ids = await target.reserve(plan)
        await target.begin()
        for chunk in _chunks(ids, hash_password(password, settings)):
            await target.copy(chunk)
        last = ids.user + people - 1
        await target.execute(COUNT_FRIENDS.format(first=ids.user, last=last))
        await target.execute(MAKE_SUPERUSER.format(id=ids.user + names.index(SUPERUSER)))
        await target.commit()
        await target.tidy(MAIN)
    finally:
        await target.close()


def _chunks(ids: Ids, password_hash: str) -> Iterable[Chunk]:
    """The rows of every table, in the order of its columns."""
    id_of = {person.username: ids.user + n for n, person in enumerate(PEOPLE)}
    yield _chunk(USER, (_user(person, id_of, password_hash) for person in PEOPLE))
    pairs = [(pair, (3, 3)) for pair in FRIENDS] + [(pair, (1, 2)) for pair in ASKED]
    friends = []
    for n, ((one, other), (its, others)) in enumerate(pairs):
        version = ids.friend_version + n
        friends.append((id_of[one], id_of[other], its, version))
        friends.append((id_of[other], id_of[one], others, version))
    yield _chunk(FRIEND, friends)
    yield _chunk(
        POST,
        (
            (
                id_of[post.author],
                ids.post + n,
                post.content,
                post.privacy,
                *2 * (_at(post.minutes_ago),),
                NULL,  # its JSON, which whoever reads it makes
            )
            for n, post in enumerate(POSTS)
        ),
    )
    dialogs, messages = [], []
    me = id_of[DEMO]
    for name, said in DIALOGS.items():
        # The demo user is the first of all, and so the lower id of each dialog.
        pair = dialog_id(me, id_of[name])
        count, unread = len(said), UNREAD[name]
        last = _at(said[-1][1])
        dialogs.append((me, id_of[name], pair, count, last, count - unread, count, unread, 0))
        messages += [
            (pair, n, id_of[author], content, _at(minutes))
            for n, (author, minutes, content) in enumerate(said, 1)
        ]
    yield _chunk(DIALOG, dialogs)
    yield _chunk(MESSAGE, messages)


def _user(person: Person, id_of: dict[str, int], password_hash: str) -> tuple[object, ...]:
    username, first, last = person.username, person.first_name, person.last_name
    return (
        *(search_key(first), first, search_key(last), last, id_of[username], username, username),
        *(password_hash, NULL, person.bio, person.city, person.country, _at(20_000)),
    )


def _at(minutes_ago: int) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%d %H:%M:%S")


def _chunk(table: Table, rows: Iterable[Sequence[object]]) -> Chunk:
    lines = [
        "\t".join(NULL if value == NULL else copy_text(str(value)) for value in row) + "\n"
        for row in rows
    ]
    return Chunk(table, "".join(lines).encode(), len(lines))
