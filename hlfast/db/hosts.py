"""The dialogs through every node of their cluster that DIALOGS_DATABASE_URL names.

Each node has the metadata, so each finds the shard of a dialog; the coordinator is left with what
only it can do. A node that was removed goes on answering from the metadata of then. So a host is
used only while it sees the same nodes as the coordinator does, which is looked at all the time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import asyncpg

from hlfast.db import queries
from hlfast.db.database import Database, Row
from hlfast.db.postgres import PostgresDatabase, connect, each_host, open_database
from hlfast.errors import Unavailable
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

_SQL = queries.named(queries.SQL_DIRECTORY / "postgres" / "shards" / "hosts.sql")
# Between two looks at all hosts. What an operator takes away is used for so much longer, and a
# look at most: `hlfast shards remove` waits for that.
LOOK_EVERY_S = 1.0
# Of the time that a statement may take; a host that is silent for longer is looked at once more.
_LOOK_SHARE = 0.2
_SILENT_LOOKS_MAX = 2
# Between a failure and the look that it calls for.
_LOOK_AGAIN_S = 0.1

# Whether a statement with these arguments may be run again though it may have been run already.
MayRepeat = Callable[[str, Sequence[Any]], bool]
# A host's row of `view`.
View = Mapping[str, Any]


async def are_of_cluster(url: str, wait_s: float) -> bool:
    """Whether a URL names several nodes of a cluster, whose coordinator may be waited for.

    Several servers of one database, of which one is primary, are something else. Raises
    SettingsError, errors.Unavailable without an answer.
    """
    if len(each_host(url)) == 1:
        return False
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            connection = await connect(url)
            break
        except Unavailable:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(_LOOK_AGAIN_S)
    try:
        return bool(await connection.fetchval(_SQL["is_cluster"]))
    finally:
        await connection.close()


class Host:
    """One node: what it says of itself, and the connections to it."""

    def __init__(self, url: str, settings: Settings) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.hostname}:{parts.port or 5432}"
        self.url = url
        self.database: PostgresDatabase | None = None
        self.is_used = False
        # None: it does not answer.
        self.view: View | None = None
        self.trouble = ""
        self._look_s = settings.database_timeout_s * _LOOK_SHARE
        self._silent_looks = 0
        self._connection: asyncpg.Connection | None = None
        self._opening: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Ask it what it sees. One look without an answer may be a busy machine's."""
        try:
            async with asyncio.timeout(self._look_s):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self.url)
                self.view = await self._connection.fetchrow(_SQL["view"])
            self._silent_looks, self.trouble = 0, ""
        except TimeoutError:
            self._hang_up()
            self._silent_looks += 1
            if self._silent_looks >= _SILENT_LOOKS_MAX:
                self._is_away("it is silent")
        except (OSError, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._hang_up()
            self._is_away(f"{type(error).__name__} {error}".partition("\n")[0])

    @property
    def is_opening(self) -> bool:
        """Whether its connections are being opened, which takes seconds."""
        return self._opening is not None

    def open(self, size: int, settings: Settings, renewed: Callable[[], None]) -> None:
        """Begin to open its connections, unless they are there."""
        if self.database is None and self._opening is None:
            bounds = settings.model_copy(update={"database_pool_size": size})
            self._opening = asyncio.create_task(self._open(bounds, renewed))

    async def _open(self, settings: Settings, renewed: Callable[[], None]) -> None:
        try:
            wait_s = settings.database_timeout_s
            opened = await open_database(self.url, (queries.DIALOGS,), settings, wait_s=wait_s)
            opened.load.renewed = renewed
            self.database = opened
        except (OSError, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self.trouble = f"{type(error).__name__} {error}".partition("\n")[0]
        finally:
            self._opening = None

    def hang_up(self) -> None:
        """Cut everything that leads there."""
        self._hang_up()
        if self._opening is not None:
            self._opening.cancel()
        if self.database is not None:
            self.database.terminate()

    def _is_away(self, trouble: str) -> None:
        self.view, self.trouble = None, trouble

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _nobody() -> None:
    """Nobody wants to know."""


class _Loads:
    """What the pools of all hosts have to do together."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        # Called whenever a connection was opened.
        self.renewed: Callable[[], None] = _nobody

    def _pools(self) -> Iterator[Any]:
        return (host.database.load for host in self._hosts if host.database is not None)

    @property
    def in_use(self) -> int:
        """The number of connections at work."""
        return sum(pool.in_use for pool in self._pools())

    @property
    def queued(self) -> int:
        """Statements that wait for a connection."""
        return sum(pool.queued for pool in self._pools())

    @property
    def waits(self) -> int:
        """Statements that had to wait for a connection and got one."""
        return sum(pool.waits for pool in self._pools())

    @property
    def waited_s(self) -> float:
        """How long they waited in all, in seconds."""
        return float(sum(pool.waited_s for pool in self._pools()))


class Hosts(Database):
    """A database of several nodes. All processes ask the same node about the same dialog.

    So whoever reads sees what was just written, also while a shard moves: a node that knows its new
    place does not forget it. The coordinator is asked only while no other host is of use.
    """

    def __init__(self, url: str, settings: Settings, may_repeat: MayRepeat) -> None:
        self._hosts = [Host(one, settings) for one in each_host(url)]
        self._settings = settings
        self._may_repeat = may_repeat
        # A share for each: the nodes have as many sessions in all as one would have.
        self._size = -(-settings.database_pool_size // max(1, len(self._hosts) - 1))
        self._turns = itertools.count()
        self._nodes: str | None = None
        self._coordinator: Host | None = None
        # Those that were used when the coordinator was last seen.
        self._members: Sequence[Host] = ()
        self._asked = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self.load = self._loads = _Loads(self._hosts)

    async def open(self, wait_s: float) -> None:
        """Look until the coordinator answers, and go on. Raises errors.Unavailable without it."""
        deadline = asyncio.get_running_loop().time() + wait_s
        await self._look()
        while self._coordinator is None or any(host.is_opening for host in self._hosts):
            if asyncio.get_running_loop().time() >= deadline:
                if self._coordinator is not None:
                    break
                troubles = "; ".join(f"{host.name}: {host.trouble}" for host in self._hosts)
                self.terminate()
                raise Unavailable(f"The coordinator of the dialogs does not answer: {troubles}")
            await asyncio.sleep(_LOOK_AGAIN_S)
            await self._look()
        self._watching = asyncio.create_task(self._watch())

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement; by another host if one fails and a repeat is safe."""
        hosts = self._in_turn(args)
        if not hosts:
            raise Unavailable("No node of the dialogs' cluster answers.")
        for host in hosts[:-1]:
            try:
                return await self._fetch(host, statement, args)
            except Unavailable as error:
                self._asked.set()
                if not self._is_safe(error, statement, args):
                    raise
        return await self._fetch(hosts[-1], statement, args)

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    def health(self) -> dict[str, bool]:
        """Each host by name and whether it is of use."""
        return {f"dialogs host {host.name}": host.is_used for host in self._hosts}

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        databases = [host.database for host in self._hosts if host.database is not None]
        await asyncio.gather(*(database.close() for database in databases))
        self.terminate()

    def terminate(self) -> None:
        """Cut every connection; what is under way fails."""
        for host in self._hosts:
            host.hang_up()

    @staticmethod
    async def _fetch(host: Host, statement: str, args: Sequence[Any]) -> Sequence[Row]:
        assert host.database is not None  # it is opened before it is used  # noqa: S101
        return await host.database.fetch(statement, *args)

    def _in_turn(self, args: Sequence[Any]) -> list[Host]:
        """Whom to ask: two at most, and the coordinator."""
        used = [host for host in self._hosts if host.is_used and host is not self._coordinator]
        # Most statements begin with a dialog. A list of dialogs is anybody's.
        about = args[0] if args and isinstance(args[0], int) else next(self._turns)
        used.sort(key=lambda host: crc32(f"{about} {host.name}".encode()))
        return used[:2] + ([self._coordinator] if self._coordinator is not None else [])

    def _is_safe(self, error: Unavailable, statement: str, args: Sequence[Any]) -> bool:
        cause = error.__cause__
        if cause is None or isinstance(cause, asyncpg.QueryCanceledError):
            # Too many wait, or the time is over.
            return False
        # The dialogs are on the coordinator alone since a moment ago: nothing was done.
        was_undone = isinstance(cause, asyncpg.UndefinedTableError) or not error.was_run
        return was_undone or self._may_repeat(statement, args)

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._asked.wait()
                    await asyncio.sleep(_LOOK_AGAIN_S)
            self._asked.clear()
            try:
                await self._look()
            except Exception:  # whatever it is, the hosts must be looked at again
                logger.exception("The hosts of the dialogs were not looked at")

    async def _look(self) -> None:
        await asyncio.gather(*(host.look() for host in self._hosts))
        coordinator = next((host for host in self._hosts if self._coordinates(host)), None)
        are_one = True
        if coordinator is not None and coordinator.view is not None:
            self._nodes = coordinator.view["nodes"]
        else:
            # Nobody can say which of two is the newer one.
            views = [host.view for host in self._members if host.view is not None]
            are_one = all(view["nodes"] == self._nodes for view in views)
        for host in self._hosts:
            self._judge(host, coordinator, are_one)
        if coordinator is not None:
            self._members = [host for host in self._hosts if host.is_used]
        # Before its connections are there, nobody can be sent to it.
        self._coordinator = coordinator if coordinator and coordinator.database else None

    def _coordinates(self, host: Host) -> bool:
        """The first one of the URL; or one that has workers, as a promoted standby of it has."""
        view = host.view
        return (
            view is not None
            and view["group_id"] == 0
            and (host is self._hosts[0] or view["nodes"] is not None)
        )

    def _judge(self, host: Host, coordinator: Host | None, are_one: bool) -> None:
        """Whether it is used from now on."""
        trouble = "" if host is coordinator else self._objection(host, are_one)
        if not trouble and host.database is None:
            host.open(self._size, self._settings, self._renew)
            trouble = host.trouble or "its connections are being opened"
        if bool(trouble) == host.is_used:
            what = f"is left out: {trouble}" if trouble else "is used"
            logger.warning("The dialogs' host %s %s", host.name, what)
        host.is_used = not trouble
        if host.view is None and host.database is not None:
            # What waits for its answer is given up, for another one to answer.
            host.database.terminate()

    def _renew(self) -> None:
        self._loads.renewed()

    def _objection(self, host: Host, are_one: bool) -> str:
        """Why a worker is not to be asked; empty if it is."""
        view = host.view
        if view is None:
            return host.trouble or "it does not answer"
        if view["group_id"] == 0 or not view["is_active"] or view["nodes"] != self._nodes:
            return "it is not in the cluster as the coordinator knows it"
        if view["is_behind"]:
            return "it has yet to commit what the coordinator decided"
        if not are_one:
            return "the coordinator is away, and its nodes do not agree"
        return "" if view["has_dialogs"] else "the dialogs are on the coordinator alone"
