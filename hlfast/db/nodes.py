"""The nodes of the dialogs' cluster: which of them answer, and what is read from those that do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hlfast.db.database import Database, Row
from hlfast.errors import Unavailable

logger = logging.getLogger(__name__)

# Between two looks, which open a connection to each node.
_LOOK_EVERY_S = 1.0


class Nodes:
    """Looks when somebody asks: while all is well, only whoever asks for the health does."""

    def __init__(self, dialogs: Database) -> None:
        self._dialogs = dialogs
        self._answers: Mapping[str, bool] = {}
        self._looking: asyncio.Task[None] | None = None
        self._look_due = 0.0

    @property
    def away(self) -> Sequence[str]:
        """`host:port` of those that did not answer the last look."""
        return [name for name, answers in self._answers.items() if not answers]

    async def health(self, *, now: bool) -> dict[str, bool]:
        """Each node by name and whether it answers: as of now, or of a moment ago.

        A silent node takes a look a second, which a load balancer's question cannot wait for.
        """
        if now:
            await asyncio.shield(self._looking or self._start())
        elif self._look_due:
            self._look_soon()
        else:
            await self._look()
        return {f"dialogs node {name}": answers for name, answers in self._answers.items()}

    async def fetch(self, statement: str, of_living: str, *args: Any) -> tuple[Sequence[Row], bool]:
        """The rows of a statement that asks every shard, and whether all nodes are in them.

        While a node is away, that statement fails, and the one `of_living` is run instead, which is
        given those to leave out before its arguments. Raises errors.Unavailable where no node is
        the reason, or none answers.
        """
        if not self.away:
            try:
                return await self._dialogs.fetch(statement, *args), True
            except Unavailable:
                await self._look()
                if not self.away:
                    raise
        else:
            self._look_soon()
        found = await self._dialogs.fetch(of_living, self.away, *args)
        # A row of nulls stands for a node without an answer.
        rows = [row for row in found if row[0] is not None]
        return rows, len(rows) == len(found)

    async def close(self) -> None:
        """Give up the look under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _look_soon(self) -> None:
        if self._looking is None and asyncio.get_running_loop().time() >= self._look_due:
            self._start()

    async def _look(self) -> None:
        """Unless that was just done. Those who ask at once share one, also if one gives up."""
        self._look_soon()
        if self._looking is not None:
            await asyncio.shield(self._looking)

    def _start(self) -> asyncio.Task[None]:
        self._looking = asyncio.create_task(self._look_at_all())
        return self._looking

    async def _look_at_all(self) -> None:
        try:
            # Whether the coordinator answers is another question.
            with suppress(Unavailable):
                found = await self._dialogs.fetch("dialog_nodes")
                self._saw({row["node"]: row["answers"] for row in found})
        finally:
            self._looking = None
            self._look_due = asyncio.get_running_loop().time() + _LOOK_EVERY_S

    def _saw(self, answers: Mapping[str, bool]) -> None:
        for name, answer in answers.items():
            if answer != self._answers.get(name, True):
                logger.warning(
                    "The dialogs' node %s %s", name, "is back" if answer else "does not answer"
                )
        self._answers = answers
