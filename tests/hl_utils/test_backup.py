"""A backup under load, and what a stack that was restored from it knows and has forgotten."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from hl_utils.servers.mariadb import MariadbServer
from hl_utils.servers.process import ENVIRONMENT, ROOT, wait_until
from hl_utils.servers.sql import SqlServer, name_of, rows, value
from hlfast.db import queries
from hlfast.db.database import Database
from tests.clients import Client
from tests.hl_utils.seeding import post, register, with_service
from tests.hl_utils.stacks import Stack, refusal
from tests.nodes import Socket

ENOUGH = 30
# By how much ids and versions move on: sql/*/restored.sql.
STEP = 1 << 20


class Writer:
    """Writes posts and messages one after the other; `acknowledged` grows meanwhile."""

    def __init__(self, me: Client, to: Client) -> None:
        self._me, self._to = me, to
        self.acknowledged: list[str] = []

    def write(self) -> None:
        """Write one post and one message, under the next client_id."""
        key = f"{len(self.acknowledged)}"
        self._me.write(key, client_id=key)
        self._me.send_to(self._to, key, client_id=key)
        self.acknowledged.append(key)

    def more(self) -> None:
        """Wait until enough is acknowledged that was not yet."""
        enough = len(self.acknowledged) + ENOUGH
        wait_until(lambda: len(self.acknowledged) >= enough, "nothing is written")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Writing all the time."""
        ends = threading.Event()

        def go_on() -> None:
            while not ends.is_set():
                self.write()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()


def contents(me: Client, path: str) -> set[str]:
    """Of all pages of a list, the newest first."""
    found: set[str] = set()
    query = "?limit=100"
    while True:
        page = me.get(f"{path}{query}").json()
        found |= {item["content"] for item in page["items"]}
        if page["next"] is None:
            return found
        query = f"?limit=100&before={page['next']}"


@pytest.fixture(scope="module")
def stack(place: Path) -> Iterator[Stack]:
    """A stack that runs, of which nothing stays."""
    made = Stack(place / "backup")
    made.start()
    yield made
    if made.process.poll() is None:
        assert made.stop() == 0
    assert not made.processes()
    shutil.rmtree(made.home)


def test_a_stack_goes_back_to_what_it_was_under_load(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    ws_url = f"ws://127.0.0.1:{stack.environment['HLFAST_WS_PORT']}/ws"
    with Client(stack.url) as client:
        ada, bob = client.user(), client.user()
        ada.befriend(bob)
        writer = Writer(ada, bob)
        with writer.at_work():
            writer.more()
            before = list(writer.acknowledged)
            code, said, errors = stack.run("backup", str(file))
            assert (code, errors) == (0, ""), errors
            assert str(file) in said
            writer.more()
        # All of this is lost: an account, its token, an ETag, a position in the log.
        lost = client.user()
        ada.patch("/users/me", json={"bio": "of the time between"})
        etag = ada.get("/users/me").headers["etag"]
        with Socket(ws_url, client.token(bob.username)) as socket:
            ada.write("unseen")
            cursor = str(socket.next()["cursor"])
    assert "stop it first" in refusal(stack.run("restore", "--yes", str(file)))
    assert stack.stop() == 0
    code, _, errors = stack.run("restore", "--yes", str(file))
    assert (code, errors) == (0, ""), errors
    url = stack.start()["database_url"]
    with Client(stack.url) as client:
        for somebody in (ada, bob, lost):
            assert somebody.get("/users/me").status_code == 401
        assert client.login(lost.username).status_code == 401
        mine = Client(stack.url, client.token(ada.username))
        assert set(before) <= contents(mine, f"/users/{ada.id}/posts")
        assert set(before) <= contents(mine, f"/dialogs/{bob.id}/messages")
        again = {"content": "another text", "client_id": before[-1]}
        for path in ("/posts", f"/dialogs/{bob.id}/messages"):
            repeated = mine.post(path, json=again)
            assert (repeated.status_code, repeated.json()["content"]) == (200, before[-1])
        # What was lost is not taken for what replaces it.
        mine.patch("/users/me", json={"bio": "something else"})
        assert mine.get("/users/me", headers={"If-None-Match": etag}).status_code == 200
        assert client.user().id > lost.id
        with Socket(ws_url, client.token(bob.username), cursor) as socket:
            assert socket.resumed() == (False, [])
            wait_until(lambda: value(url, "SELECT count(*) FROM outbox") == 0, "not swept")
            mine.write("after it")
            frames = socket.until(lambda frame: frame.get("post", {}).get("content") == "after it")
        # Of before it, at most what was in the outbox when the backup was made.
        received = {frame["post"]["content"] for frame in frames if frame["type"] == "post.created"}
        assert received <= contents(mine, f"/users/{ada.id}/posts")
        mine.close()


def test_a_backup_of_a_stack_that_is_stopped_makes_another_one(stack: Stack, place: Path) -> None:
    with Client(stack.url) as client:
        ada = client.user()
    assert stack.stop() == 0
    file = place / "file"
    assert stack.run("backup", str(file))[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    other = Stack(place / "elsewhere")
    assert other.run("restore", str(file))[0] == 0
    other.start()
    assert other.answers(ada.username)
    assert other.stop() == 0
    shutil.rmtree(other.home)


def test_what_cannot_be_is_one_line(place: Path) -> None:
    """A refusal of `backup` or `restore` leaves no file and no home behind."""
    stack = Stack(place / "refused")
    junk = place / "junk"
    junk.write_text("PG and something else")
    missing = str(place / "nothing")
    for file, line in ((str(junk), "is no backup"), (missing, "there is no file")):
        assert line in refusal(stack.run("restore", file))
        assert not stack.home.exists()
    assert "does not hold data" in refusal(stack.run("backup", str(place / "new")))
    assert not (place / "new").exists()
    stack.environment["DATABASE_URL"] = "postgresql://127.0.0.1:1/one_of_my_own"
    for verb in ("backup", "restore"):
        assert "a database of your own" in refusal(stack.run(verb, str(junk)))


def back_and_forth(server: SqlServer, url: str, file: Path) -> None:
    """The README's commands for servers of one's own: what is there is replaced by what was."""
    if isinstance(server, MariadbServer):
        server.mariadb(name_of(url), file.read_text())
        return
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
    command = [server.program("pg_restore"), *options, f"--dbname={url}", file]
    subprocess.run(command, check=True, env=ENVIRONMENT)


def dumped(server: SqlServer, url: str, file: Path) -> None:
    """As the README has it."""
    if isinstance(server, MariadbServer):
        file.write_text(server.dump(name_of(url)))
        return
    command = [server.program("pg_dump"), "--format=custom", f"--file={file}", url]
    subprocess.run(command, check=True, env=ENVIRONMENT)


def test_a_server_of_ones_own_goes_back_and_ids_and_versions_move_on(
    database_server: SqlServer, migrated_database_url: str, tmp_path: Path
) -> None:
    url = migrated_database_url
    names = (f"u{number}" for number in count())

    async def use(database: Database) -> tuple[int, int]:
        user = await register(database, next(names))
        return user, await post(database, user)

    user, first = with_service(url, use)
    versions = 'SELECT version, token_version FROM "user" WHERE id = $1'
    ((version, token_version),) = rows(url, versions, user)
    dumped(database_server, url, tmp_path / "dumped")
    lost = [with_service(url, use) for _ in range(3)]
    script = ROOT / "sql" / queries.dialect_of(url) / "restored.sql"
    moved = []
    for _ in range(2):
        back_and_forth(database_server, url, tmp_path / "dumped")
        database_server.run_script(name_of(url), script)
        ((now, token_now),) = rows(url, versions, user)
        moved.append(now - version)
        assert token_now - token_version == moved[-1] >= STEP
    # What was given to clients after the first time does not fit after the second.
    assert moved[0] != moved[1]
    assert rows(url, 'SELECT id FROM "user"') == [(user,)]
    assert value(url, "SELECT version FROM post WHERE id = $1", first) > STEP
    outbox = value(url, "SELECT max(id) FROM outbox")
    other, second = with_service(url, use)
    assert other > max(lost)[0] + STEP // 2
    assert second > max(lost)[1] + STEP // 2
    assert value(url, "SELECT max(id) FROM outbox") > outbox + STEP // 2
