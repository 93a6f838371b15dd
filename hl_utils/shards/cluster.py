"""What a Citus coordinator says of its nodes, tables and shards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from hlfast.db import queries
from hlfast.errors import HlfastError

_SQL = queries.SQL_DIRECTORY / "postgres" / "shards"
LOOK = queries.named(_SQL / "look.sql")
CHANGE = queries.named(_SQL / "change.sql")

TABLES = ("dialog", "message", "messageoutbox")
FUNCTIONS = {
    "message_send": "message_send(bigint, integer, integer, text, text, boolean)",
    "message_read": "message_read(bigint, integer, bigint)",
}
# What is used here, the parameters of rebalance_start among it, is there from then on.
_VERSION_MIN = (12, 0)
# Of the states of a rebalance: those that end it.
ENDED = ("finished", "failed", "cancelled")
# Background workers that one move takes of each node: the monitor of the queue, the task, one
# that applies what is written meanwhile and one that copies.
_WORKERS_FREE_MIN = 4
# What moves a shard while it is written, its default, and what splits one.
_PLUGINS = "pgoutput, test_decoding, citus"


class ShardsError(HlfastError):
    """A precondition that is missing: one line for the operator."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the coordinator finds a node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Node:
    """A server of the cluster. `shards` of dialog, `placements` of all distributed tables."""

    id: int
    at: Address
    active: bool
    takes_shards: bool
    is_coordinator: bool
    shards: int
    placements: int

    @property
    def held(self) -> str:
        """What is on it, for reading: the number that `status` shows."""
        if self.shards or not self.placements:
            return f"{self.shards} shards"
        return f"{self.placements} shards of other tables"


@dataclass(frozen=True, slots=True)
class Table:
    """One of our tables; `colocation_id` is None where it is not distributed."""

    name: str
    colocation_id: int | None
    is_reference: bool | None
    shards: int
    has_identity: bool


class Cluster:
    """One connection to the coordinator."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def look(self, name: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement of look.sql."""
        rows: Sequence[Mapping[str, Any]] = await self.connection.fetch(LOOK[name], *args)
        return rows

    async def change(self, name: str, *args: Any) -> None:
        """Run a statement of change.sql. Raises ShardsError for what failed on another node."""
        for row in await self.connection.fetch(CHANGE[name], *args):
            if row.get("success") is False:
                raise ShardsError(f"{row['host']}:{row['port']}: {first_line(row['result'])}")

    async def must_have_citus(self, *, installed: bool = True) -> None:
        """Raises ShardsError where Citus is missing, too old, or this is not its coordinator."""
        (found,) = await self.look("extension")
        version = found["installed"]
        if version is None and found["available"] is None:
            raise ShardsError(
                "this is not Citus but a plain PostgreSQL, where all dialogs are on one server: "
                "to spread them, install the extension, then run `hlfast shards init`"
            )
        if version is None and installed:
            raise ShardsError("this is not Citus yet: run `hlfast shards init` first")
        if not found["is_loaded"]:
            raise ShardsError(
                "Citus is not loaded: set shared_preload_libraries = 'citus' and restart"
            )
        version = version or found["available"]
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < _VERSION_MIN:
            raise ShardsError(f"Citus {version} is too old: 12.0 or newer is needed")
        if found["installed"] and (await self.look("coordinator"))[0]["group_id"] != 0:
            raise ShardsError(
                "this node is a worker: DIALOGS_DATABASE_URL must name the coordinator"
            )

    async def nodes(self) -> list[Node]:
        """The nodes of the cluster, the coordinator first."""
        rows = await self.look("nodes")
        return [
            Node(
                row["id"],
                Address(row["host"], row["port"]),
                row["active"],
                row["takes_shards"],
                row["is_coordinator"],
                row["shards"],
                row["placements"],
            )
            for row in rows
        ]

    async def node(self, at: Address) -> Node | None:
        """The one at this address."""
        return next((node for node in await self.nodes() if node.at == at), None)

    async def known(self, at: Address) -> Node:
        """The node at this address. Raises ShardsError where there is none."""
        nodes = await self.nodes()
        for node in nodes:
            if node.at == at:
                return node
        addresses = ", ".join(str(node.at) for node in nodes)
        raise ShardsError(f"{at} is not in the cluster, which has {addresses or 'no nodes'}")

    async def is_rebalancing(self) -> bool:
        """Whether a rebalance is under way."""
        newest = await self.look("rebalance")
        return bool(newest) and newest[0]["state"] not in ENDED

    async def must_be_quiet(self) -> None:
        """Raises ShardsError while a rebalance is under way."""
        if await self.is_rebalancing():
            raise ShardsError(
                "a rebalance is running: follow it with `hlfast shards rebalance`, "
                "or end it with `hlfast shards stop`"
            )

    async def tables(self) -> dict[str, Table]:
        """The tables of ours that exist, by name."""
        rows = await self.look("tables")
        return {
            row["name"]: Table(
                row["name"],
                row["colocation_id"],
                row["is_reference"],
                row["shards"],
                row["has_identity"],
            )
            for row in rows
        }

    async def delegated(self) -> set[str]:
        """The functions whose calls go to the dialog's node."""
        return {row["name"] for row in await self.look("delegated")}

    async def must_be_distributed(self) -> int:
        """The number of shards. Raises ShardsError where dialogs are not distributed."""
        await self.must_have_citus()
        dialog = (await self.tables()).get("dialog")
        if dialog is None or dialog.colocation_id is None:
            raise ShardsError("dialogs are not distributed yet: run `hlfast shards init` first")
        return dialog.shards

    async def silent(self) -> dict[Address, str]:
        """The nodes that do not answer, and why."""
        return {
            Address(row["host"], row["port"]): first_line(row["result"])
            for row in await self.look("alive")
            if not row["success"]
        }

    async def must_answer(self) -> None:
        """Raises ShardsError for a node that does not, and says what leads on."""
        for at, why in (await self.silent()).items():
            raise ShardsError(
                f"{at} does not answer ({why}): start it; if it is lost for good: "
                f"hlfast shards forget {at}"
            )

    async def must_be_movable(self, *, split: bool = False) -> None:
        """Raises ShardsError where shards could not be moved, or split, while they are written."""
        for table in (await self.tables()).values():
            if not table.has_identity:
                raise ShardsError(f"{table.name} needs a primary key or a replica identity")
        await self.must_answer()
        for answer in await self.look("answers"):
            at = f"{answer['host']}:{answer['port']}"
            if not answer["success"]:
                raise ShardsError(f"{at}: {first_line(answer['result'])}")
            check_node(at, json.loads(answer["result"]), split=split)


def check_node(at: str, has: Mapping[str, Any], *, split: bool = False) -> None:
    """Raises ShardsError for what moving shards to and from a node needs and it has not."""
    if has["wal_level"] != "logical":
        raise ShardsError(
            f"{at} has wal_level = {has['wal_level']}: "
            "ALTER SYSTEM SET wal_level = logical and restart it"
        )
    free = has["max_worker_processes"] - has["workers_running"]
    if free < _WORKERS_FREE_MIN:
        raise ShardsError(
            f"{at} has max_worker_processes = {has['max_worker_processes']}, of which {free} are "
            f"free: {_WORKERS_FREE_MIN} are needed, set more and restart it"
        )
    for name in ("max_replication_slots", "max_wal_senders"):
        if has[name] < _WORKERS_FREE_MIN:
            raise ShardsError(f"{at} has {name} = {has[name]}: set 10 or more and restart it")
    # Not there before PostgreSQL 15.19, 16.15, 17.11: then any library may be used.
    if (plugins := has["output_plugin_libraries"]) is not None:
        for name in ("pgoutput", "citus") if split else ("pgoutput",):
            if name not in _names(plugins):
                raise ShardsError(
                    f"{at} has output_plugin_libraries = {plugins}, a list without {name}: "
                    f"ALTER SYSTEM SET output_plugin_libraries = {_PLUGINS} (each name by itself: "
                    "quotes around all would make one name of them), then SELECT pg_reload_conf()"
                )


def _names(setting: str) -> list[str]:
    """The names in a setting that is a list: what is in double quotes is one name."""
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^\s,"]+)', setting)]


def first_line(text: str) -> str:
    """What matters of an error from another node."""
    return text.strip().partition("\n")[0]
