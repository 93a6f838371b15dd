"""`bash build.sh up`: start everything in order, keep it running, stop it in order."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from hl_utils.embedded.console import reported, say, step
from hl_utils.embedded.demo_people import DEMO, PEOPLE, SUPERUSER
from hl_utils.embedded.postgres import Postgres
from hl_utils.embedded.processes import Server, described, sweep
from hl_utils.embedded.redis import Redis
from hl_utils.embedded.services import Api, Websocket
from hl_utils.servers import programs
from hl_utils.servers.home import Home, InUse, StackError, locked, write_private
from hl_utils.servers.runtime import runtime as runtime_of
from hlfast.db import migrations
from hlfast.settings import Settings

# A stop takes 10 s at most: what the API leaves of this is for the databases to end by
# themselves, the rest is for force.
STOP_S = 7.0
STOP_EACH_S_MIN = 1.0
RESTART_PAUSE_S_MAX = 15.0
RESTART_PAUSE_S = 0.5
# One that ran for so long did not die of being restarted.
RESTART_FORGOTTEN_S = 60.0
LOG_CHECK_S = 10.0
# Beside the API's pools, one per database: tools, seeding, an operator's psql.
TOOL_CONNECTIONS = 40


def up(settings: Settings) -> int:
    """Run the stack until a signal; the exit code.

    `settings` as the environment has them: a URL that is set there replaces the embedded server.
    """

    def run() -> int:
        os.umask(0o077)
        try:
            with locked(settings.home, create=True) as home:
                return asyncio.run(Stack(settings, home).run())
        except InUse as error:
            raise InUse(f"{error}{_where(settings)}") from None

    return reported(run)


def _where(settings: Settings) -> str:
    """How the stack that runs is reached, for whoever starts it again; empty until it says."""
    try:
        return f": open {json.loads(settings.stack_file.read_text())['url']}"
    except (OSError, ValueError, KeyError):
        return ""


class Stack:
    """The servers of one home, in the order in which they start."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self._settings = settings.model_copy(update={"home": home.path})
        self._home = home
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None
        self._api: Api | None = None
        self._websocket: Websocket | None = None
        self._stopping = False

    async def run(self) -> int:
        """Start, supervise, and stop at the first signal. Raises StackError."""
        work = asyncio.ensure_future(self._work())
        self._listen(work)
        try:
            await work
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            # From here on the first signal is as good as the second.
            self._stopping = True
            await self._stop()
        say("hlfast is stopped.")
        return 0

    def _listen(self, work: asyncio.Task[None]) -> None:
        def signalled() -> None:
            if self._stopping:
                for server in self._servers():
                    server.kill()
                os._exit(1)
            self._stopping = True
            say("\nstopping …")
            work.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup a closed terminal is no reason to stop.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, signalled)

    def _servers(self) -> list[Server]:
        servers = (self._postgres, self._redis, self._api, self._websocket)
        return [server for server in servers if server]

    async def _work(self) -> None:
        await self._start()
        await self._supervise()

    async def _start(self) -> None:
        started = time.monotonic()
        self._stack_file.unlink(missing_ok=True)
        self._home.furnish()
        await sweep(self._home)
        runtime = runtime_of(self._home)
        Api(self._home, self._settings, runtime).check()
        Websocket(self._home, self._settings, runtime).check()
        await self._start_databases()
        await self._migrate()
        self._api = api = Api(self._home, self._settings, runtime)
        self._websocket = websocket = Websocket(self._home, self._settings, runtime)
        with step("API and websocket server: starting"):
            await asyncio.gather(api.start(), websocket.start(), self._seed())
        login, lab = await self._login(api), await self._lab(api)
        self._write_stack_file(api.url)
        self._introduce(api, websocket, time.monotonic() - started, login, lab)

    async def _start_databases(self) -> None:
        settings = self._settings
        found: dict[str, str | bool] = {}
        if not settings.database_url:
            processes = (
                2 * settings.workers + 1
            )  # of the API twice, for two databases; the websocket's
            clients = processes * settings.database_pool_size + TOOL_CONNECTIONS
            # Its superusers are of this machine.
            found["lab"] = settings.lab or "lab" not in settings.model_fields_set
            self._postgres = Postgres(self._home, programs.postgres(self._home), clients)
            if self._postgres.is_new:
                with step("PostgreSQL: making the database cluster (first start only)"):
                    await self._postgres.create()
            self._postgres.check()
            found["database_url"] = self._postgres.url
        if not settings.redis_url:
            self._redis = Redis(self._home, programs.redis(self._home))
            found["redis_url"] = self._redis.url
        if not settings.events_url:
            found["events_url"] = settings.redis_url or found["redis_url"]
        if not settings.secret:
            found["secret"] = self._home.secret(settings.secret_file)
        self._settings = settings.model_copy(update=found)
        servers = self._servers()
        if servers:
            with step(" and ".join(server.name for server in servers) + ": starting"):
                await asyncio.gather(*(server.start() for server in servers))

    async def _migrate(self) -> None:
        with step("Tables: applying migrations"):
            try:
                await migrations.apply_all(self._settings)
            except Exception as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                raise StackError(f"the tables could not be made: {reason}") from error

    @property
    def _has_demo(self) -> bool:
        """Real servers are nobody's playground."""
        real = self._postgres is None or self._settings.dialogs_database_url
        return self._settings.demo and not real

    async def _seed(self) -> None:
        if self._has_demo:
            from hl_utils.embedded.demo import seed_if_empty  # noqa: PLC0415 (Faker takes its time)

            await seed_if_empty(self._settings, self._home.password(DEMO))

    async def _login(self, api: Api) -> str:
        """The lines that a newcomer sees."""
        if not self._has_demo:
            return "as yourself: register on the page"
        password = self._home.password(DEMO)
        if not await api.logs_in(DEMO, password):
            return f"name {DEMO}, password changed since"
        others = ", ".join(person.username for person in PEOPLE[1:])
        return f"name {DEMO}, password {password} ({others} have it, too)"

    async def _lab(self, api: Api) -> str:
        """How the machine is watched at work; nothing where nobody is let in."""
        if not self._settings.lab:
            return ""
        is_theirs = self._has_demo and await api.logs_in(SUPERUSER, self._home.password(DEMO))
        who = f"{SUPERUSER}, the same password" if is_theirs else "a superuser (hlfast superuser)"
        return f"  at work   {api.url}/lab, as {who}; beside it: bash build.sh swarm\n"

    @property
    def _stack_file(self) -> Path:
        return self._settings.stack_file

    def _write_stack_file(self, url: str) -> None:
        """Tell the tools how all of it is reached."""
        settings = self._settings
        reached = {
            "database_url": settings.database_url,
            "redis_url": settings.redis_url,
            "events_url": settings.events_url,
            "url": url,
            "http_port": settings.http_port,
            "ws_port": settings.ws_port,
            "pid": os.getpid(),
        }
        write_private(self._stack_file, json.dumps(reached))

    def _introduce(
        self, api: Api, websocket: Websocket, took_s: float, login: str, lab: str
    ) -> None:
        home = self._home
        database = f"PostgreSQL {programs.POSTGRES_MAJOR}" if self._postgres else "DATABASE_URL"
        redis = self._redis
        cache = f"{redis.product} {redis.version()}" if redis else "REDIS_URL"
        say(
            f"\nhlfast runs, after {took_s:.1f} s.\n"
            f"  open      {api.url}\n"
            f"  log in    {login}\n"
            f"  docs      {api.url}/docs, and {api.url}/asyncapi for the websocket\n"
            f"{lab}"
            f"  servers   the API at {api.url}, live at {websocket.url}, {database}, {cache}\n"
            f"  files     data in {home.data}, logs in {home.logs}\n"
            f"  fill it   bash build.sh seed --users 100000\n"
            f"  stop it   Ctrl-C, or kill {os.getpid()}\n"
            f"  wipe it   bash build.sh clean, once it is stopped\n"
        )

    async def _supervise(self) -> None:
        await asyncio.gather(
            *(self._keep(server) for server in self._servers()), self._bound_logs()
        )

    async def _keep(self, server: Server) -> None:
        """Start the server again whenever it ends."""
        pause_s = 0.0
        while True:
            began = time.monotonic()
            code = await server.wait()
            if time.monotonic() - began > RESTART_FORGOTTEN_S:
                pause_s = 0.0
            say(f"{server.name} {described(code)}: starting it again")
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(max(RESTART_PAUSE_S, 2 * pause_s), RESTART_PAUSE_S_MAX)
                try:
                    await server.clear()
                    await server.start()
                except (StackError, OSError) as error:
                    say(f"{error}; trying again in {pause_s:.1f} s")
                    continue
                say(f"{server.name} runs again")
                break

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for server in self._servers():
                with suppress(OSError):
                    server.bound_log()

    async def _stop(self) -> None:
        deadline = time.monotonic() + STOP_S
        self._stack_file.unlink(missing_ok=True)

        async def stop(server: Server) -> None:
            try:
                await server.stop(max(STOP_EACH_S_MIN, deadline - time.monotonic()))
            except StackError as error:
                say(f"{server.name}: {error}")

        # Whoever takes requests first, all at once; then what they need.
        await asyncio.gather(*(stop(one) for one in (self._api, self._websocket) if one))
        for server in (self._redis, self._postgres):
            if server:
                await stop(server)
        shutil.rmtree(self._home.sockets, ignore_errors=True)
