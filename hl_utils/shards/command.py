"""`hlfast shards`: the dialogs on a Citus cluster, grown and shrunk while messages flow.

It talks to the coordinator, DIALOGS_DATABASE_URL. Each command may be repeated: what is done
already is not done again. `--dry-run` prints what would be done, and its SQL.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import asyncpg
from rich.console import Console
from rich.table import Table as Grid

from hl_utils.failures import need_database, reported
from hl_utils.shards import distribution, operations, progress
from hl_utils.shards.cluster import CHANGE, FUNCTIONS, Address, Cluster, ShardsError
from hl_utils.shards.stalls import watched
from hl_utils.shards.steps import Operation
from hlfast.db import migrations, queries
from hlfast.db.postgres import connect, each_host
from hlfast.settings import Settings

_PORT = 5432
_SHOWN_MOVES_MAX = 20
# Of operations on one cluster, one at a time; any constant will do.
LOCK = -0x63697475730000
# For a node to take a connection.
_NODE_S = 5
# These change nothing that another operation under way could be in the middle of.
_AT_ANY_TIME = ("stop",)


def main(argv: Sequence[str], settings: Settings) -> int:
    """Run the command with these arguments; the exit code."""
    arguments = _parser().parse_args(argv)
    return reported("hlfast shards", lambda: asyncio.run(_run(arguments, settings)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hlfast shards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    verbs.add_parser("status", help="nodes, shards, and what is under way")
    dry = argparse.ArgumentParser(add_help=False)
    dry.add_argument("--dry-run", action="store_true", help="print the plan and its SQL only")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--coordinator",
        type=_address,
        metavar="HOST[:PORT]",
        help="how workers reach the coordinator, if not as DIALOGS_DATABASE_URL says",
    )
    init = verbs.add_parser(
        "init", parents=[dry, where], help="distribute the dialogs over 32 shards"
    )
    init.add_argument(
        "--reference-user",
        action="store_true",
        help='"user" on every node, too; then a registration needs all of them alive',
    )
    add = verbs.add_parser("add", parents=[dry, where], help="a server joins")
    add.add_argument("at", type=_address, metavar="HOST[:PORT]")
    for verb, text in {
        "drain": "move all shards away from a node",
        "remove": "an empty node leaves",
    }.items():
        verbs.add_parser(verb, parents=[dry], help=text).add_argument(
            "at", type=_address, metavar="HOST[:PORT]"
        )
    verbs.add_parser("rebalance", parents=[dry], help="spread shards evenly over the nodes")
    verbs.add_parser("stop", parents=[dry], help="end the rebalance that runs")
    forget = verbs.add_parser(
        "forget",
        parents=[dry],
        help="go on without nodes that are lost for good, and without what was on them",
    )
    forget.add_argument("at", type=_address, nargs="+", metavar="HOST[:PORT]")
    forget.add_argument("--yes", action="store_true", help="their dialogs may be lost")
    count = verbs.add_parser("count", parents=[dry], help="change the number of shards")
    count.add_argument("n", type=int, metavar="N", help="a multiple of today's splits them online")
    verbs.add_parser("undistribute", parents=[dry], help="bring all back to the coordinator")
    return parser


def _address(text: str) -> Address:
    """HOST, HOST:PORT or [IPv6]:PORT."""
    try:
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.path or parts.username:
            raise ValueError
        return Address(parts.hostname, parts.port or _PORT)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no HOST[:PORT]") from None


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Cluster]:
    connection = await connect(settings.dialogs_url)
    try:
        # A machine without power is silent, and Citus would wait for it each time.
        await connection.execute(f"SET citus.node_connection_timeout = '{_NODE_S}s'")
        yield Cluster(connection)
    finally:
        await connection.close()


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    need_database(settings)
    console = Console(highlight=False, soft_wrap=True)
    async with _open(settings) as cluster:
        if arguments.verb == "status":
            await _status(cluster, console)
            return 0
        if arguments.verb == "init" and not await _make_ready(arguments, cluster, settings):
            return 0
        if not arguments.dry_run and arguments.verb not in _AT_ANY_TIME:
            await _wait_for_turn(cluster, console)
        operation = await _plan(arguments, cluster, settings)
        for warning in operation.warnings:
            console.print(f"note: {warning}")
        if not operation.steps and not operation.follow:
            console.print(operation.done)
        elif arguments.dry_run:
            _show(operation, console)
        elif operation.needs_yes and not arguments.yes:
            raise ShardsError("nothing was changed: if that is meant, repeat it with --yes")
        else:
            await _do(operation, cluster, settings.dialogs_url, console)
    return 0


async def _wait_for_turn(cluster: Cluster, console: Console) -> None:
    if not await cluster.connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        console.print("another `hlfast shards` changes the cluster: waiting for its end")
        await cluster.connection.execute("SELECT pg_advisory_lock($1)", LOCK)


async def _make_ready(arguments: argparse.Namespace, cluster: Cluster, settings: Settings) -> bool:
    """Citus and our tables, which `init` needs; False where a dry run ends here."""
    await cluster.must_have_citus(installed=False)
    (found,) = await cluster.look("extension")
    if found["installed"] is None:
        if arguments.dry_run:
            print(f"{CHANGE['create_extension']};\n(the rest shows once Citus is there)")
            return False
        await cluster.connection.execute(CHANGE["create_extension"])
        # The extension is loaded with a connection's first statement.
        await cluster.connection.reload_schema_state()
    await cluster.must_have_citus()
    if not arguments.dry_run:
        await migrations.apply(settings.dialogs_url, queries.DIALOGS)
    return True


async def _plan(arguments: argparse.Namespace, cluster: Cluster, settings: Settings) -> Operation:
    def coordinator() -> Address:
        return arguments.coordinator or _own_address(settings.dialogs_url)

    plans: dict[str, Callable[[], Awaitable[Operation]]] = {
        "init": lambda: distribution.init(
            cluster, coordinator(), reference_user=arguments.reference_user
        ),
        "add": lambda: operations.add(cluster, coordinator(), arguments.at),
        "rebalance": lambda: operations.rebalance(cluster),
        "stop": lambda: operations.stop(cluster),
        "forget": lambda: operations.forget(cluster, arguments.at),
        "drain": lambda: operations.drain(cluster, arguments.at),
        "remove": lambda: operations.remove(cluster, arguments.at),
        "count": lambda: distribution.count(cluster, arguments.n),
        "undistribute": lambda: distribution.undistribute(cluster),
    }
    return await plans[arguments.verb]()


def _own_address(url: str) -> Address:
    # Of several hosts the first one is the coordinator.
    parts = urlsplit(each_host(url)[0])
    return Address(parts.hostname or "localhost", parts.port or _PORT)


def _show(operation: Operation, console: Console) -> None:
    for move in operation.moves[:_SHOWN_MOVES_MAX]:
        console.print(
            f"-- move {move.table} {move.id}, {move.bytes:,} bytes, {move.source} -> {move.target}"
        )
    if len(operation.moves) > _SHOWN_MOVES_MAX:
        console.print(f"-- and {len(operation.moves) - _SHOWN_MOVES_MAX} more")
    if operation.atomic:
        console.print("BEGIN;")
    for step in operation.steps:
        console.print(step.sql, markup=False)
    if operation.atomic:
        console.print("COMMIT;")


async def _do(operation: Operation, cluster: Cluster, url: str, console: Console) -> None:
    started = time.monotonic()
    waited = ""
    try:
        if operation.stalls:
            async with watched(url) as stall:
                await _take_steps(operation, cluster, console)
            waited = f"; the longest that a message had to wait: {stall.longest_s:.1f} s"
        else:
            await _take_steps(operation, cluster, console)
    except asyncpg.PostgresConnectionError:
        # Of a node, unless the coordinator is gone, too.
        if not cluster.connection.is_closed():
            await cluster.must_answer()
        raise
    if operation.follow:
        # It runs by itself: others need not wait for whoever watches it.
        await cluster.connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
        with _saying_on_interrupt(
            "the rebalance goes on by itself: `hlfast shards rebalance` follows it again, "
            "`hlfast shards stop` ends it"
        ):
            await progress.follow(cluster, operation.moves, console)
    await asyncio.sleep(operation.settle_s)
    if operation.until_stopped:
        await progress.until_stopped(cluster)
    console.print(f"done in {time.monotonic() - started:.1f} s{waited}")
    for hint in operation.hints:
        console.print(hint)


async def _take_steps(operation: Operation, cluster: Cluster, console: Console) -> None:
    if operation.atomic:
        with _saying_on_interrupt("nothing was changed"):
            async with cluster.connection.transaction():
                await progress.run(cluster, operation.steps, console)
    else:
        with _saying_on_interrupt(
            "what was done before stays; the same command goes on from there"
        ):
            await progress.run(cluster, operation.steps, console)


@contextmanager
def _saying_on_interrupt(what: str) -> Iterator[None]:
    """Print what Ctrl-C leaves behind to whoever presses it meanwhile."""
    try:
        yield
    except asyncio.CancelledError:
        print(f"hlfast shards: {what}", file=sys.stderr)
        raise


async def _status(cluster: Cluster, console: Console) -> None:
    await cluster.must_have_citus()
    nodes = Grid("node", "role", "shards", "bytes", "state")
    nodes.columns[0].no_wrap = True
    sizes = {
        Address(row["host"], row["port"]): row["bytes"] for row in await cluster.look("node_bytes")
    }
    silent = await cluster.silent()
    for node in await cluster.nodes():
        state = "active" if node.active else "disabled"
        if node.at in silent:
            state = "does not answer"
        if not node.takes_shards:
            state += ", takes no shards"
        role = "coordinator" if node.is_coordinator else "worker"
        size = sizes.get(node.at)
        # No size of shards that are there: the node did not say.
        shown = "?" if size is None and node.shards else f"{size or 0:,}"
        nodes.add_row(str(node.at), role, str(node.shards), shown, state)
    console.print(nodes)
    for at in silent:
        console.print(
            f"{at} does not answer: its dialogs wait until it is started; if it is lost for good: "
            f"hlfast shards forget {at}"
        )
    delegated = await cluster.delegated()
    for table in (await cluster.tables()).values():
        if table.colocation_id is None:
            kind = "on one node" if table.name != "user" else "on one node, as it should be"
        elif table.is_reference:
            kind = "on every node"
        else:
            kind = f"{table.shards} shards"
        console.print(f"{table.name}: {kind}")
    for name in FUNCTIONS:
        where = "where its dialog is" if name in delegated else "on the coordinator"
        console.print(f"{name}() runs {where}")
    newest = await cluster.look("rebalance")
    if newest:
        console.print(f"newest rebalance: {newest[0]['state']}{progress.counts(newest[0])}")
    for row in await progress.under_way(cluster):
        console.print(f"shard {row['id']}: {row['bytes'] or 0:,} bytes copied, {row['status']}")
