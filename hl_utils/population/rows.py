"""The population as rows of the schema, a bounded chunk at a time.

A row is a line in the text format of COPY, which is that of LOAD DATA too; times are in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from random import Random
from typing import NamedTuple

from hl_utils.population.people import CIRCLE_SIZE, Language, circle_starts, copy_text, draws, pairs
from hlfast.db.queries import DIALOGS, MAIN
from hlfast.dialogs.dialog_ids import dialog_id

# Users join in the first of two years; posts and dialogs fill the second. Fixed, so that the
# same seed gives the same times, and past, so that whatever happens next is newer.
_FIRST_DAY = date(2024, 1, 1).toordinal()
_DAYS = [date.fromordinal(_FIRST_DAY + day).isoformat() for day in range(2 * 365 + 1)]
_MINUTES = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]
_YEAR_S = 365 * 86400.0
_BORN_FROM, _BORN_TO = date(1945, 1, 1).toordinal(), date(2010, 1, 1).toordinal()

# Shares of the population.
_TELLS_BIRTHDATE, _HAS_BIO = 0.7, 0.4
_ONLY_ASKED = 0.08  # of the pairs: one asked, the other has not answered
_FOR_FRIENDS_ONLY = 0.3  # of the posts
_ANSWERED = 0.75  # of a dialog's readers: have read everything

_MESSAGES_MIN, _MESSAGES_MEAN, _MESSAGES_MAX = 2, 8, 200
_MESSAGE_GAP_S_MAX = 6 * 3600


# Ids of users stay below it.
USERS_END = 2**31


class Table(NamedTuple):
    """What is filled: a table, some of its columns, and the database that it is in.

    A chunk is sorted by its columns in this order, so those of the widest index lead: rows that
    are neighbours in the index come together. This saves a third of the time of users and half
    of that of friendships (measured).
    """

    name: str
    columns: tuple[str, ...]
    database: str
    chunk_rows: int  # some 2 MB


USER = Table(
    "user",
    (
        *("first_key", "first_name", "last_key", "last_name", "id", "username", "username_key"),
        *("password_hash", "birthdate", "bio", "city", "country", "created_at"),
    ),
    MAIN,
    chunk_rows=10_000,
)
FRIEND = Table("friend", ("user_id", "friend_id", "state", "version"), MAIN, chunk_rows=50_000)
POST = Table(
    "post",
    ("author_id", "id", "content", "privacy", "created_at", "updated_at", "encoded"),
    MAIN,
    chunk_rows=5_000,
)
DIALOG = Table(
    "dialog",
    (
        *("low_id", "high_id", "dialog_id", "last_message_id", "last_message_at"),
        *("low_read", "high_read", "low_unread", "high_unread"),
    ),
    DIALOGS,
    chunk_rows=20_000,
)
MESSAGE = Table(
    "message",
    ("dialog_id", "id", "from_user_id", "content", "created_at"),
    DIALOGS,
    chunk_rows=20_000,
)
TABLES = (USER, FRIEND, POST, DIALOG, MESSAGE)


def tables_of(database: str) -> list[str]:
    """The tables of `main` or `dialogs` that hold a population, what is derived included."""
    names = [table.name for table in TABLES if table.database == database]
    return [*names, "friendcount"] if database == MAIN else names


# Run once after the rows of `FRIEND`, for the ids of this run.
COUNT_FRIENDS = """
INSERT INTO friendcount (user_id, friends)
SELECT user_id, count(*) FROM friend
WHERE user_id BETWEEN {first} AND {last} AND state = 3
GROUP BY user_id
"""


class Chunk(NamedTuple):
    """Some rows of one table as COPY text."""

    table: Table
    data: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Ids:
    """The first of the reserved ids of each sequence."""

    user: int = 1
    post: int = 1
    friend_version: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How many of what. The means are per user; a dialog and a friendship count for both."""

    users: int
    seed: int
    friends_mean: float
    posts_mean: float
    dialogs_mean: float
    friends_max: int

    @property
    def posts(self) -> int:
        """How many posts there will be, exactly."""
        return round(self.users * self.posts_mean)

    @property
    def friend_rows_expected(self) -> int:
        """About how many rows of friendships there will be: two for each pair."""
        return round(self.users * self.friends_mean / (1 - _ONLY_ASKED))

    @property
    def dialog_rows_expected(self) -> int:
        """About how many dialogs and messages there will be together."""
        return round(self.users * self.dialogs_mean / 2 * (_MESSAGES_MEAN + 1))

    @property
    def acquaintances_mean(self) -> float:
        """People write to those whom they know, so dialogs are drawn from the same pairs."""
        return max(self.friends_mean / (1 - _ONLY_ASKED), self.dialogs_mean)

    @property
    def pairs_max(self) -> int:
        """At least as many as there will be pairs of friends, or of one who asked another."""
        return round(self.users * (self.acquaintances_mean + 1)) if self.friends_mean else 0


class Population:
    """The rows of one run. Each method streams one part; they may be called in any order.

    `examples`: the usernames of somebody very well known and of somebody like most, once `users`
    has run.
    """

    def __init__(self, plan: Plan, languages: list[Language], ids: Ids, password_hash: str) -> None:
        self._plan = plan
        self._languages = languages
        self._ids = ids
        self._password_hash = password_hash
        self.examples: list[str] = []

    def users(self) -> Iterator[Chunk]:
        """The rows of all users, in chunks."""
        return _chunks(USER, self._user_rows())

    def friends(self) -> Iterator[Chunk]:
        """Both rows of every pair that is friends, or of which one asked."""
        if self._plan.friends_mean:
            yield from _chunks(FRIEND, self._friend_rows())

    def posts(self) -> Iterator[Chunk]:
        """What people posted. The order of ids is that of times."""
        return _chunks(POST, self._post_rows())

    def dialogs(self) -> Iterator[Chunk]:
        """Dialogs, and after some of them their messages."""
        dialogs: list[bytes] = []
        messages: list[bytes] = []
        for dialog, said in self._dialog_rows():
            dialogs.append(dialog.encode())
            messages += _encoded(said)
            if len(messages) >= MESSAGE.chunk_rows:
                yield _chunk(DIALOG, dialogs)
                yield _chunk(MESSAGE, messages)
                dialogs, messages = [], []
        if dialogs:
            yield _chunk(DIALOG, dialogs)
            yield _chunk(MESSAGE, messages)

    def _language(self, position: int) -> Language:
        # Scattered, and known from the position alone: nothing is stored for each user.
        return self._languages[(position * 2654435761 >> 8) % len(self._languages)]

    def _user_rows(self) -> Iterator[str]:
        plan, password = self._plan, copy_text(self._password_hash)
        random = draws(plan.seed, "users").random
        apart_s = _YEAR_S / plan.users
        birthdates = [date.fromordinal(day).isoformat() for day in range(_BORN_FROM, _BORN_TO)]
        born_range = int(len(birthdates) / _TELLS_BIRTHDATE)
        birthdates += [r"\N"] * (born_range - len(birthdates))
        some_position = min(plan.users, CIRCLE_SIZE) // 2
        for position in range(plan.users):
            language = self._language(position)
            names = language.names[random() < 0.5]
            slug, first = names.first[int(random() * len(names.first))]
            last = names.last[int(random() * len(names.last))]
            born = birthdates[int(random() * born_range)]
            home = language.homes[int(random() * len(language.homes))]
            bio = _one_of(language.sentences, random()) if random() < _HAS_BIO else r"\N"
            registered = _time((position + random()) * apart_s)
            user_id = self._ids.user + position
            username = f"{slug}.{user_id}"
            if position in (0, some_position):
                self.examples.append(username)
            yield (
                f"{first}\t{last}\t{user_id}\t{username}\t{username}"
                f"\t{password}\t{born}\t{bio}\t{home}\t{registered}\n"
            )

    def _pairs(self, start: int) -> Iterator[tuple[int, int]]:
        """The ids of those who know each other in the circle that starts at a position."""
        plan = self._plan
        size = min(CIRCLE_SIZE, plan.users - start)
        first_id = self._ids.user + start
        random = draws(plan.seed, "pairs", start)
        for low, high in pairs(size, plan.acquaintances_mean, plan.friends_max, random):
            yield first_id + low, first_id + high

    def _friend_rows(self) -> Iterator[str]:
        """Two rows for each pair, one for either side, under one version."""
        plan, version = self._plan, self._ids.friend_version
        wanted = plan.friends_mean / (1 - _ONLY_ASKED) / plan.acquaintances_mean
        for start in circle_starts(plan.users):
            random = draws(plan.seed, "friends", start).random
            for low, high in self._pairs(start):
                if wanted < 1 and random() >= wanted:
                    continue
                mine, theirs = (3, 3)
                if random() < _ONLY_ASKED:
                    mine, theirs = (1, 2) if random() < 0.5 else (2, 1)
                yield f"{low}\t{high}\t{mine}\t{version}\n"
                yield f"{high}\t{low}\t{theirs}\t{version}\n"
                version += 1

    def _post_rows(self) -> Iterator[str]:
        plan = self._plan
        if not plan.posts:
            return
        random = draws(plan.seed, "posts").random
        apart_s = _YEAR_S / plan.posts
        for number in range(plan.posts):
            # The square favours those at the head of a circle, who are the best known.
            drawn = int(random() * plan.users)
            start = drawn - drawn % CIRCLE_SIZE
            author = start + int(min(CIRCLE_SIZE, plan.users - start) * random() ** 2)
            language = self._language(author)
            content = _one_of(language.sentences, random())
            if random() < 0.5:
                content = f"{content}\\n{_one_of(language.paragraphs, random())}"
            privacy = "friends" if random() < _FOR_FRIENDS_ONLY else "public"
            at = _time(_YEAR_S + (number + random()) * apart_s)
            author_id, moment = self._ids.user + author, f'"{at.replace(" ", "T")}Z"'
            yield (
                f"{author_id}\t{self._ids.post + number}"
                f"\t{content}\t{privacy}\t{at}\t{at}"
                f'\t,"author_id":{author_id},"content":{_json(content)},"privacy":"{privacy}"'
                f',"created_at":{moment},"updated_at":{moment}\n'
            )

    def _dialog_rows(self) -> Iterator[tuple[str, list[str]]]:
        """The line of a dialog and those of its messages."""
        plan = self._plan
        if not plan.dialogs_mean:
            return
        share = plan.dialogs_mean / plan.acquaintances_mean
        for start in circle_starts(plan.users):
            random = draws(plan.seed, "dialogs", start)
            for low, high in self._pairs(start):
                if random.random() < share:
                    yield self._dialog(low, high, random)

    def _dialog(self, low: int, high: int, draw: Random) -> tuple[str, list[str]]:
        random = draw.random
        id = dialog_id(low, high)
        count = _MESSAGES_MIN + int(draw.expovariate(1 / (_MESSAGES_MEAN - _MESSAGES_MIN)) + 0.5)
        count = min(count, _MESSAGES_MAX)
        # Both have written: the first two messages are of one each.
        by_low = [random() < 0.5]
        by_low += [not by_low[0], *(random() < 0.5 for _ in range(count - 2))]
        at_s = _YEAR_S + random() * (_YEAR_S - _MESSAGES_MAX * _MESSAGE_GAP_S_MAX)
        messages = []
        at = ""
        for number, from_low in enumerate(by_low, 1):
            at_s += 1 + random() * (_MESSAGE_GAP_S_MAX - 1)
            at = _time(at_s)
            author = low if from_low else high
            language = self._language(author - self._ids.user)
            content = _one_of(language.sentences, random())
            messages.append(f"{id}\t{number}\t{author}\t{content}\t{at}\n")
        low_read, high_read = (
            count if random() < _ANSWERED else int(random() * (count + 1)) for _ in range(2)
        )
        low_unread = by_low[low_read:].count(False)
        high_unread = by_low[high_read:].count(True)
        dialog = (
            f"{low}\t{high}\t{id}\t{count}\t{at}"
            f"\t{low_read}\t{high_read}\t{low_unread}\t{high_unread}\n"
        )
        return dialog, messages


def _one_of(texts: list[str], random: float) -> str:
    return texts[int(random * len(texts))]


def _json(copied: str) -> str:
    """A text in the format of COPY as JSON in that format: what is escaped there is so in both."""
    return '"' + copied.replace("\\", r"\\").replace('"', r'\\"') + '"'


def _time(at_s: float) -> str:
    """Seconds since the first of the two years; from tables, ten times as fast as datetime."""
    day, second = divmod(int(at_s), 86400)
    minute, second = divmod(second, 60)
    return f"{_DAYS[day]} {_MINUTES[minute]}:{second:02}"


def _chunks(table: Table, rows: Iterator[str]) -> Iterator[Chunk]:
    while lines := _encoded(islice(rows, table.chunk_rows)):
        yield _chunk(table, lines)


def _encoded(rows: Iterable[str]) -> list[bytes]:
    # Each by itself: as bytes a row takes half the memory and less than Python asks malloc for.
    return [row.encode() for row in rows]


def _chunk(table: Table, lines: list[bytes]) -> Chunk:
    lines.sort()
    return Chunk(table, b"".join(lines), len(lines))
