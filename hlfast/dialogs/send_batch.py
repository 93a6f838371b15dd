"""Concurrent messages to different dialogs share one statement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hlfast.batching import BatchLimits, BatchWriter
from hlfast.db.database import Database, KeyTaken, Row
from hlfast.errors import Unavailable
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Called for a message that is there: dialog, author, recipient, row of the message.
Answered = Callable[[int, int, int, Row], T]


@dataclass(slots=True)
class _Asked:
    dialog: int
    me: int
    to: int
    content: str
    client_id: str | None
    # `answered` is called on behalf of this request.
    context: Context


class SendBatch(Generic[T]):
    """Writes messages; `answered` is called for each, also if nobody waits for it any more.

    What it gives is what `send` gives: a message is shown once, for its answer and its event.

    A shared statement does not wait for a dialog that is locked from elsewhere. What it leaves out
    for that, or because the dialog is not there yet, is sent alone: it delays nobody else.
    """

    def __init__(
        self, dialogs: Database, answered: Answered[T], settings: Settings, *, shared: bool
    ) -> None:
        self._dialogs = dialogs
        self._answered = answered
        # Whether messages share statements from now on.
        self.is_shared = shared
        self._writer: BatchWriter[int, _Asked, T | None] = BatchWriter(
            self._send_many,
            BatchLimits(settings.sends_batch_max, settings.sends_batches_max),
            waiting_max=settings.database_queue_max,
            timeout_s=settings.database_timeout_s,
        )

    async def send(
        self, dialog: int, me: int, to: int, content: str, client_id: str | None
    ) -> T | None:
        """What `answered` gave for the message; None if there is no such dialog yet."""
        if self.is_shared:
            asked = _Asked(dialog, me, to, content, client_id, copy_context())
            answer = await self._writer.write(dialog, asked)
            if answer is not None:
                return answer
        return await self.send_alone(dialog, me, to, content, client_id, create=False)

    async def send_alone(
        self,
        dialog: int,
        me: int,
        to: int,
        content: str,
        client_id: str | None,
        *,
        create: bool,
    ) -> T | None:
        """Send one message by a statement of its own, which can begin a dialog."""
        arguments = (dialog, me, to, content, client_id, create)
        row = await fetch_healed(self._dialogs, (dialog, me, to), "dialog_send", *arguments)
        assert row is not None  # the function returns one row  # noqa: S101
        return None if row["outcome"] == "absent" else self._answered(dialog, me, to, row)

    async def _send_many(self, asked: Sequence[_Asked]) -> Sequence[T | None]:
        """None for those that have to be sent alone. Raises errors.Unavailable."""
        try:
            found = await self._dialogs.fetch(
                "dialog_send_many",
                [one.dialog for one in asked],
                [one.me for one in asked],
                [one.content for one in asked],
                [one.client_id for one in asked],
            )
        except Unavailable:
            raise
        except Exception:
            # Nothing was written. One is at fault, or the dialogs have been sharded since.
            logger.warning("%d messages are sent one by one", len(asked), exc_info=True)
            return [None] * len(asked)
        rows = {row["dialog_id"]: row for row in found}
        answers: list[T | None] = []
        for one in asked:
            row = rows.get(one.dialog)
            answers.append(
                None
                if row is None
                else one.context.run(self._answered, one.dialog, one.me, one.to, row)
            )
        return answers


async def fetch_healed(
    dialogs: Database, which: tuple[int, int, int], statement: str, *args: Any
) -> Row | None:
    """The row of a statement that counts on; repeated once for a dialog that was behind its rows.

    `which`: the dialog and its two users.
    """
    try:
        return await dialogs.fetch_row(statement, *args)
    except KeyTaken:
        logger.warning("Dialog %d is behind its messages or events: its counters go on", which[0])
    await dialogs.fetch("dialog_heal", *which)
    return await dialogs.fetch_row(statement, *args)


def may_repeat(statement: str, args: Sequence[Any]) -> bool:
    """Whether a statement of the dialogs that was perhaps run may be run again.

    Only a message without a `client_id` would be there twice.
    """
    return statement != "dialog_send" or args[4] is not None


async def are_sharded(dialogs: Database) -> bool:
    """Whether the dialogs of a PostgreSQL are on a cluster: no statement should name several."""
    found = await dialogs.fetch_row("dialogs_are_sharded")
    return found is not None and found["answer"]
