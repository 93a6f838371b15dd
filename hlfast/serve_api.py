"""The HTTP API under Granian: workers, signals, scheduling, and where they share their metrics."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from hlfast import logs, open_files
from hlfast.scheduling import schedule_as_batch
from hlfast.settings import Settings


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
    held = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield str(path)
    finally:
        os.close(held)
        shutil.rmtree(path, ignore_errors=True)


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


def serve(settings: Settings) -> int:
    """Run the API until SIGTERM or SIGINT; the exit code.

    Raises SettingsError, and errors.Unavailable when the database does not answer in time.
    """
    needed = open_files.needed_by_api(settings)
    open_files.take_all("HLFAST_CONNECTIONS_MAX", settings.connections_max, needed)
    with _metrics_directory(settings.http_port) as metrics:
        # Where the workers share their series: prometheus_client looks when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        from hlfast import api  # noqa: PLC0415
        from hlfast.web.draining import Awaited, Notice  # noqa: PLC0415

        api.check(settings)
        if settings.tuning.freeze_gc:
            # Modules stay to the end. Workers share them as long as no collection writes to them,
            # and at a stop no time goes into looking what of them could be freed.
            gc.collect()
            gc.freeze()
        if settings.tuning.batch_scheduling:
            # Its workers inherit it.
            schedule_as_batch(True)
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
            # It counts connections, idle ones, too.
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
        server.main_loop_interrupt = Awaited()  # type: ignore[assignment]
        # It takes the handler from here when it starts to serve.
        notice = Notice(server.signal_handler_interrupt, settings.drain_notice_s)
        server.signal_handler_interrupt = notice  # type: ignore[method-assign]
        server.serve()
    return 0
