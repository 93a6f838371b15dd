"""The `hlfast` command: which verb does what. The work is done elsewhere."""

from __future__ import annotations

import argparse
import logging
import logging.config
import sys
from collections.abc import Sequence
from pathlib import Path

from hlfast import logs, misnamed
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
