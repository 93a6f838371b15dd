"""The `hlfast` command: which verb does what. The work is done elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import logging.config
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hlfast import VERSION, logs, misnamed
from hlfast import settings as settings_module
from hlfast.errors import HlfastError
from hlfast.settings import Settings, SettingsError

logger = logging.getLogger("hlfast")
_ROOT = Path(__file__).resolve().parents[1]


_UP = """Runs everything, with an embedded server for each that no URL names. Ctrl-C stops it.

  port 8000           the API, its page and its docs (HLFAST_HTTP_PORT, HLFAST_HTTP_HOST)
  port 8001           live: websockets and event streams (HLFAST_WS_PORT, HLFAST_WS_HOST)
  {home}
                      the embedded servers' data, logs and passwords (HLFAST_HOME)

Real servers instead of embedded ones: DATABASE_URL (postgresql:// or mysql://), REDIS_URL,
EVENTS_URL (redis:// or amqp://), DIALOGS_DATABASE_URL (another database for dialogs).
HLFAST_DEMO=false leaves the database empty. All settings: hlfast/SETTINGS.md."""
# Verbs that parse their own arguments.
_OF_THEIR_OWN = ("seed", "shards", "lab", "swarm")


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The command's, and those of its verbs by name."""
    parser = argparse.ArgumentParser(
        prog="hlfast",
        description="A social network's backend: one command for all that it is and needs.",
        epilog="`hlfast help VERB` says more. All settings are variables: hlfast/SETTINGS.md.",
    )
    parser.add_argument("--version", action="version", version=f"hlfast {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    home = Settings.model_fields["home"].get_default(call_default_factory=True)
    verbs.add_parser(
        "up",
        help="run everything, with embedded servers for what is not set",
        description=_UP.format(home=home),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs.add_parser("api", help="the HTTP API")
    verbs.add_parser("ws", help="a websocket server, which serves event streams, too")
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
    verbs.add_parser("lab", help="what each method of speed brings here", add_help=False)
    verbs.add_parser("swarm", help="many users at once, on the stack that runs", add_help=False)
    backup = verbs.add_parser("backup", help="the embedded database as one file")
    restore = verbs.add_parser("restore", help="go back to such a file")
    for verb in (backup, restore):
        verb.add_argument("file", type=Path, metavar="FILE")
    clean = verbs.add_parser("clean", help="wipe the embedded servers' data")
    for verb in (restore, clean):
        verb.add_argument("--yes", action="store_true", help="do not ask")
    help_ = verbs.add_parser("help", help="this, or what a verb takes")
    help_.add_argument("of", nargs="?", choices=sorted(verbs.choices), metavar="VERB")
    return parser, verbs.choices


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; the exit code."""
    parser, verbs = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.verb not in _OF_THEIR_OWN:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.verb == "help":
        if arguments.of not in _OF_THEIR_OWN:
            (verbs[arguments.of] if arguments.of else parser).print_help()
            return 0
        arguments.verb, rest = arguments.of, ["--help"]
    # The caller's would have each process look for other processes' series in there.
    settings_module.forget("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
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


def _run_embedded(arguments: argparse.Namespace) -> int:
    """What has the embedded servers for itself."""
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


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    if arguments.verb in ("up", "clean", "backup", "restore"):
        return _run_embedded(arguments)
    settings = settings_module.load()
    if arguments.verb in ("lab", "swarm"):
        return _run_of_bench(arguments.verb, settings, rest)
    _name_mistakes(settings, arguments.verb)
    match arguments.verb:
        case "api":
            from hlfast import serve_api  # noqa: PLC0415

            return serve_api.serve(settings)
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


def _run_of_bench(verb: str, settings: Settings, rest: Sequence[str]) -> int:
    """Become a program of bench/, which no package has. Raises SettingsError without it."""
    bench = _ROOT / "bench"
    if not bench.is_dir():
        raise SettingsError(f"{verb} is in the repository only: bash build.sh {verb}")
    program = ["bench.lab"]
    if verb == "swarm":
        # Where the stack that runs is; else where the settings say.
        ports = {"http_port": settings.http_port, "ws_port": settings.ws_port}
        with suppress(OSError, ValueError):
            ports |= json.loads(settings.stack_file.read_text())
        program = ["locust", "-f", str(bench / "swarm" / "locustfile.py")]
        program += ["--host", f"http://127.0.0.1:{ports['http_port']}"]
        program += ["--ws-url", f"ws://127.0.0.1:{ports['ws_port']}/ws"]
    os.environ["PYTHONPATH"] = str(_ROOT)
    os.execv(sys.executable, [sys.executable, "-P", "-m", *program, *rest])  # noqa: S606
