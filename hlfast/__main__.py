"""The `hlfast` command: which verb does what. The work is done elsewhere."""

from __future__ import annotations

import argparse
import fcntl
import logging
import logging.config
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hlfast import logs, misnamed, open_files
from hlfast import settings as settings_module
from hlfast.errors import HlfastError
from hlfast.settings import Settings, SettingsError

logger = logging.getLogger("hlfast")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; the exit code."""
    parser = argparse.ArgumentParser(prog="hlfast", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("up", help="run everything, with embedded servers for what is not set")
    verbs.add_parser("api", help="the HTTP API")
    verbs.add_parser("ws", help="a websocket server")
    verbs.add_parser("tables", help="create the tables, or bring them to the newest schema")
    superuser = verbs.add_parser("superuser", help="make the superuser of FIRST_SUPERUSER")
    superuser.add_argument(
        "--promote", action="store_true", help="also of an account that is there already"
    )
    verbs.add_parser("seed", help="fill with realistic users", add_help=False)
    check = verbs.add_parser("check", help="find what is set wrong, before users do")
    check.add_argument("--json", action="store_true", help="for programs")
    check.add_argument("--haproxy", type=Path, metavar="FILE", help="its configuration")
    check.add_argument("--apis", type=int, default=1, help="machines that run `api`")
    check.add_argument("--websockets", type=int, default=1, help="nodes that run `ws`")
    verbs.add_parser("shards", help="dialogs on Citus: grow, shrink, look", add_help=False)
    backup = verbs.add_parser("backup", help="the embedded database as one file")
    restore = verbs.add_parser("restore", help="go back to such a file")
    for verb in (backup, restore):
        verb.add_argument("file", type=Path, metavar="FILE")
    clean = verbs.add_parser("clean", help="wipe the embedded servers' data")
    for verb in (restore, clean):
        verb.add_argument("--yes", action="store_true", help="do not ask")
    arguments, rest = parser.parse_known_args(argv)
    # The caller's would have each process look for other processes' series in there.
    settings_module.forget("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
    if rest and arguments.verb not in ("seed", "shards"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _run(arguments, rest)
    except (HlfastError, SettingsError) as error:
        print(f"hlfast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _name_mistakes(settings: Settings, verb: str) -> None:
    """Tell of variables that were to be settings: in the log of a process that has one."""
    if verb == "check":
        return
    if verb in ("api", "ws"):
        logging.config.dictConfig(logs.configuration(settings))
        for line in misnamed.sentences(settings_module.variables()):
            logger.warning("%s", line)
    else:
        for line in misnamed.sentences(settings_module.variables()):
            print(f"hlfast: {line}", file=sys.stderr)


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    if arguments.verb in ("up", "clean", "backup", "restore"):
        from hl_utils import embedded  # noqa: PLC0415 (only what a verb needs is imported)

        # What a running stack says of itself must not stand in for its servers.
        settings = settings_module.from_environment()
        _name_mistakes(settings, arguments.verb)
        match arguments.verb:
            case "up":
                return embedded.up(settings)
            case "backup":
                return embedded.backup(settings, arguments.file)
            case "restore":
                return embedded.restore(settings, arguments.file, yes=arguments.yes)
            case _:
                return embedded.clean(settings, yes=arguments.yes)
    settings = settings_module.load()
    _name_mistakes(settings, arguments.verb)
    match arguments.verb:
        case "api":
            return _serve_api(settings)
        case "ws":
            from hlfast import ws  # noqa: PLC0415

            return ws.serve(settings)
        case "seed":
            from hl_utils import user_faker  # noqa: PLC0415

            return user_faker.main(rest)
        case "check":
            from hl_utils import check  # noqa: PLC0415

            processes = check.Processes(arguments.apis, arguments.websockets)
            return check.check(settings, processes, arguments.haproxy, json=arguments.json)
        case "shards":
            from hl_utils.shards import command  # noqa: PLC0415

            return command.main(rest, settings)
        case "tables":
            from hl_utils import tables  # noqa: PLC0415

            return tables.tables(settings)
        case _:
            from hl_utils import tables  # noqa: PLC0415

            return tables.superuser(settings, promote=arguments.promote)


@contextmanager
def _metrics_directory(port: int) -> Iterator[str]:
    """A private directory for as long as the API runs; one that was killed left its own."""
    path = Path(tempfile.gettempdir(), f"hlfast-metrics-{port}")
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(mode=0o700)
    except OSError:  # somebody else's: theirs is not touched
        path = Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
    # What cleans /tmp (systemd-tmpfiles) leaves alone what somebody has locked.
    kept = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(kept, fcntl.LOCK_SH)
        yield str(path)
    finally:
        os.close(kept)
        shutil.rmtree(path, ignore_errors=True)


def _schedule_as_batch() -> None:
    """For this process, its children and all threads: who wakes up waits until a core is free.

    Granian's threads and Python's wake each other for every request. Where each interrupts the
    other at once, a core that they share goes from one to the other four times a request.
    """
    if sys.platform == "linux":
        # A container may forbid it.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _hold_signals_of_workers() -> None:
    """Hold back the signals to stop from a new worker until the application unblocks them.

    It is forked with the handlers of the main process, which do nothing in a worker: a stop as it
    starts would be lost, and the worker would serve until it is killed.
    """
    stops = {signal.SIGINT, signal.SIGTERM}
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, stops),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, stops),
    )


def _serve_api(settings: Settings) -> int:
    from granian.constants import HTTPModes, Interfaces, Loops  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.server import Server  # noqa: PLC0415

    needed = open_files.needed_by_api(settings)
    open_files.take_all("HLFAST_CONNECTIONS_MAX", settings.connections_max, needed)
    with _metrics_directory(settings.http_port) as metrics:
        # Where the workers share their series: prometheus_client looks when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        from hlfast import api  # noqa: PLC0415
        from hlfast.web.draining import Awaited, Notice  # noqa: PLC0415

        api.check(settings)
        if settings.tuning.batch_scheduling:
            _schedule_as_batch()
        _hold_signals_of_workers()
        server = Server(
            # By its path: a name is taken for one below the working directory, whatever that is.
            f"{Path(__file__).with_name('api')}:create",
            factory=True,
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            address=settings.http_host,
            port=settings.http_port,
            workers=settings.workers,
            websockets=False,
            # It counts connections, idle ones that are kept alive too.
            backpressure=settings.connections_max,
            backlog=max(1024, settings.connections_max),
            http=HTTPModes.auto if settings.http2 else HTTPModes.http1,
            # It bounds a pause between requests as well as a head: `web.connections` has the
            # shorter deadlines.
            http1_settings=HTTP1Settings(header_read_timeout=round(settings.idle_timeout_s * 1000)),
            # One killed worker would otherwise stop them all.
            respawn_failed_workers=True,
            respawn_interval=0.5,
            workers_kill_timeout=settings.drain_timeout_s,
            log_dictconfig=logs.configuration(settings),
        )
        server.main_loop_interrupt = Awaited()
        # It takes the handler from here when it starts to serve.
        notice = Notice(server.signal_handler_interrupt, settings.drain_notice_s)
        server.signal_handler_interrupt = notice  # type: ignore[method-assign]
        server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
