"""How PostgreSQL would run a statement, and how it did."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from hl_utils.servers.postgres import PostgresServer
from hlfast.db import queries

Mode = Literal["force_generic_plan", "force_custom_plan"]

STATEMENTS = queries.load("postgres", queries.MAIN) | queries.load("postgres", queries.DIALOGS)
# Of the service's settings the one that changes plans of tables that are full.
AS_THE_SERVICE = "SET enable_bitmapscan = off"
FROM_INDEX = {"Index Scan", "Index Only Scan"}
# Nodes that read something else than a table.
NOT_OF_TABLES = {"Function Scan", "CTE Scan", "Subquery Scan", "Values Scan"}


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a plan, and the step that takes its rows."""

    step: dict[str, Any]
    parent: dict[str, Any]

    @property
    def kind(self) -> str:
        """`Index Scan`, `Sort` …"""
        return str(self.step["Node Type"])

    @property
    def rows_read(self) -> int:
        """Rows looked at, those that a filter dropped included."""
        dropped = self.step.get("Rows Removed by Filter", 0)
        return round((self.step["Actual Rows"] + dropped) * self.step["Actual Loops"])


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of a statement."""

    root: dict[str, Any]

    def nodes(self) -> Iterator[Node]:
        """From the top."""
        waiting = [Node(self.root, {})]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [Node(child, node.step) for child in node.step.get("Plans", ())]

    def assert_indexes_only(self) -> None:
        """Tables are read through indexes with a condition, and nothing is sorted whole."""
        for node in self.nodes():
            if "Scan" in node.kind and node.kind not in NOT_OF_TABLES:
                assert node.kind in FROM_INDEX, node.step
                assert "Index Cond" in node.step, node.step
            if "Sort" in node.kind:
                assert node.parent.get("Node Type") == "Limit", node.step

    def fetched(self) -> Counter[str]:
        """Rows read from each table itself (not only from an index)."""
        found: Counter[str] = Counter()
        for node in self.nodes():
            if node.kind == "Index Scan":
                found[node.step["Relation Name"]] += node.rows_read
            elif node.kind == "Index Only Scan":
                found[node.step["Relation Name"]] += node.step["Heap Fetches"]
        return found

    def sort_methods(self) -> set[str]:
        """Of every sort."""
        return {node.step["Sort Method"] for node in self.nodes() if "Sort" in node.kind}


def _literal(value: int | str | list[int] | list[str]) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list):
        # Of what, the parameter's own type says.
        return "'{" + ",".join(f'"{item}"' for item in value) + "}'"
    return str(value)


async def run(connection: Any, name: str, arguments: tuple[Any, ...], mode: Mode) -> Plan:
    """The plan of a statement, prepared and executed with these arguments."""
    values = ", ".join(map(_literal, arguments))
    await connection.execute(f"SET plan_cache_mode = {mode}; {AS_THE_SERVICE}")
    await connection.execute(f"PREPARE statement AS {STATEMENTS[name]}")
    try:
        found = await connection.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE statement({values})"
        )
    finally:
        await connection.execute("DEALLOCATE statement")
    return Plan(json.loads(found)[0]["Plan"])


def generic(server: PostgresServer, database: str) -> dict[str, Plan]:
    """The plan of every statement as it is before its arguments are known; none is executed."""
    explained = [f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {text}" for text in STATEMENTS.values()]
    asked = [AS_THE_SERVICE, *explained]
    output = server.psql(database, *(part for text in asked for part in ("-c", text)))
    found = {}
    for name in STATEMENTS:
        [plan], end = json.JSONDecoder().raw_decode(output)
        found[name] = Plan(plan["Plan"])
        output = output[end:].lstrip()
    return found
