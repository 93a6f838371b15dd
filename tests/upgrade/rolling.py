"""Release 0a7dc31 under load becomes this one: the schema, then one API process after the other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from bench.crowd import Answer, Ask, Crowd, Line, Person
from hl_utils.servers.process import ROOT
from hl_utils.servers.services import Api, command_of
from hlfast.events.log import Entry, Position
from hlfast.events.open import open_log
from hlfast.events.publisher import read_batch
from hlfast.settings import Settings
from tests.crash.load import Actor, Ledger, audit, until

# What `git archive 0a7dc31 hlfast sql hl_utils` gives: a clone may be shallow.
CODE = Path(__file__).with_name("of_0a7dc31") / "code.tar.gz"
ACTORS = 8
GROWTH = 100
_PAUSE_S = 0.02
# Of a process of before whose schema is gone: dialogs only, and only until it is started anew.
REFUSED = "/dialogs"
# Few connections, as to open one to a cluster takes seconds where there is little to compute with.
PROCESS = {
    "HLFAST_OUTBOX_AGE_S": 2,
    "HLFAST_OUTBOX_SWEEP_S": 0.5,
    "HLFAST_DATABASE_POOL_SIZE": 3,
}


def unpack(directory: Path) -> None:
    """The code of the release."""
    subprocess.run(["tar", "-xzf", CODE, "-C", directory], check=True)


class OldApi(Api):
    """An API process of the release."""

    def __init__(self, root: Path, *urls: str, **settings: object) -> None:
        super().__init__(*urls, **settings)
        self.root = root


def tables(root: Path, main: str, dialogs: str) -> None:
    """What `hlfast tables` of a release does."""
    done = subprocess.run(
        [sys.executable, "-m", command_of(root), "tables"],
        cwd=root,
        env={"DATABASE_URL": main, "DIALOGS_DATABASE_URL": dialogs, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Door:
    """Whom requests go to, as a front door has it: one who is taken out gets no new ones."""

    def __init__(self) -> None:
        self.living: list[str] = []
        # Refusals by what was asked for, and by who refused.
        self.refused: Counter[tuple[str, str]] = Counter()
        self.failed: list[tuple[str, Answer]] = []


class Caller(Actor):
    """An actor who goes through the door, and to somebody else once refused."""

    def __init__(
        self, number: int, door: Door, me: Person, partner: Person, ledger: Ledger
    ) -> None:
        super().__init__(number, "", me, partner, ledger)
        self._door = door
        self._choice = Random(number)
        self._lines: dict[str, Line] = {}

    async def _insist(self, ask: Ask) -> Answer:
        while True:
            url = self._choice.choice(self._door.living)
            try:
                if url not in self._lines:
                    self._lines[url] = await Line.open(url)
                answer = await self._lines[url].ask(ask)
            except OSError:
                # It ended, or closed a connection that had been idle.
                if (line := self._lines.pop(url, None)) is not None:
                    line.close()
                await asyncio.sleep(_PAUSE_S)
                continue
            self._ledger.statuses[answer.status] += 1
            if answer.status < 500:
                return answer
            self._door.refused[ask.path, url] += 1
            if answer.status != 503:
                self._door.failed.append((ask.path, answer))
            await asyncio.sleep(_PAUSE_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until the test stops it; now and then a page is read and a mark is set."""
        try:
            await super().run(stop)
        finally:
            for line in self._lines.values():
                line.close()

    async def _write(self, text: str) -> None:
        await super()._write(text)
        me, partner = self._me, self._partner
        page = await self._insist(me.ask("GET", f"/dialogs/{partner.id}/messages"))
        assert page.status == 200, page
        shown = {item["content"] for item in page.json["items"]}
        assert text in shown or len(shown) == 20, "what was sent is not shown"


@asynccontextmanager
async def events(settings: Settings) -> Any:
    """The ids of events and the messages in them, as the log has them from now on."""
    log = open_log(settings)
    found: dict[str, Any] = {}

    async def follow(after: Position) -> None:
        async with aclosing(log.follow(after)) as entries:
            async for entry in entries:
                if isinstance(entry, Entry):
                    for event in read_batch(entry.batch).events:
                        found[event["id"]] = event

    task = asyncio.create_task(follow(await log.end()))
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.close()


def roll(
    directory: Path,
    main: str,
    dialogs: str,
    redis_url: str,
    name: str,
    *,
    spread: Callable[[], object] | None = None,
) -> float:
    """Make it, load it, upgrade it, and look whether all is there.

    `spread` spreads the tables of the release over a cluster. Returns the seconds that the new
    `hlfast tables` took.
    """
    unpack(directory)
    tables(directory, main, dialogs)
    if spread is not None:
        spread()
    shared = {"DIALOGS_DATABASE_URL": dialogs, "HLFAST_EVENTS_NAME": name, **PROCESS}
    with ExitStack() as stack:

        def start(api: Api) -> Api:
            return stack.enter_context(api)

        old = [start(OldApi(directory, main, redis_url, **shared)) for _ in range(2)]
        settings = Settings(redis_url=redis_url, events_name=name)
        return asyncio.run(_roll(old, settings, main, dialogs, redis_url, shared, start))


async def _roll(
    old: list[Api],
    settings: Settings,
    main: str,
    dialogs: str,
    redis_url: str,
    shared: dict[str, Any],
    start: Any,
) -> float:
    ledger, door, stop = Ledger(), Door(), asyncio.Event()
    door.living = [api.url for api in old]
    async with Crowd(old[0].url, 2, processes=1) as crowd:
        people = await crowd.people(ACTORS)
    ledger.people |= {person.id: person for person in people}
    actors = [
        Caller(number, door, people[number], people[number ^ 1], ledger) for number in range(ACTORS)
    ]
    async with events(settings) as told:
        async with asyncio.TaskGroup() as group:
            for actor in actors:
                group.create_task(actor.run(stop))
            try:
                await ledger.grow(GROWTH)
                assert not door.refused
                began = time.monotonic()
                await asyncio.to_thread(tables, ROOT, main, dialogs)
                took_s = time.monotonic() - began
                for api in old:
                    new = Api(main, redis_url, **shared)
                    await asyncio.to_thread(start, new)
                    door.living.append(new.url)
                    door.living.remove(api.url)
                    await ledger.grow(GROWTH)
                    await asyncio.to_thread(api.stop)
                rolled = door.refused.copy()
                await ledger.grow(GROWTH)
            finally:
                stop.set()
        # Nobody was refused anything but dialogs, by anybody but those of before.
        logs = "".join(api.log for api in old)
        assert not door.failed, (door.failed, logs)
        assert door.refused == rolled
        assert all(path.startswith(REFUSED) for path, _ in door.refused), door.refused
        assert {url for _, url in door.refused} <= {api.url for api in old}
        wanted = {
            (low, high, id) for (low, high), messages in ledger.messages.items() for id in messages
        }

        def missing() -> set[tuple[int, int, int]]:
            seen = set()
            for event in list(told.values()):
                if event["type"] == "message.created":
                    message = event["data"]["message"]
                    two = sorted((message["from_user_id"], message["to_user_id"]))
                    seen.add((*two, message["id"]))
            return wanted - seen

        await until(lambda: not missing(), "messages were sent, and nobody was told of them")
        # The pair is in the ids of events, before and after.
        for id, event in told.items():
            if event["type"] == "message.created":
                low, high = sorted(event["to"])
                assert id.startswith(f"d{low << 32 | high}-")
    async with Crowd(door.living[0], 2, processes=1) as crowd:
        await audit(crowd, ledger)
    return took_s
