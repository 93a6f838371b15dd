"""The outboxes of both databases: whose rows are made into which events, and who sweeps them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from hlfast.db.database import Database, Row
from hlfast.db.nodes import Nodes
from hlfast.dialogs import service as dialogs_service
from hlfast.events.log import EventLog
from hlfast.events.outbox import Outbox, outbox_rows
from hlfast.events.outbox_row import OutboxRow
from hlfast.events.publisher import Publisher
from hlfast.events.sweeper import Sweeper
from hlfast.friends import service as friends_service
from hlfast.posts import service as posts_service
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# By the first word of a row's kind: what makes an event of the row.
_OUTBOX_ROWS: Mapping[str, Callable[[Row], OutboxRow]] = {
    "friend": friends_service.outbox_row,
    "post": posts_service.outbox_row,
}


async def open_outboxes(
    settings: Settings,
    main: Database,
    dialogs: Database,
    log: EventLog,
    stack: AsyncExitStack,
    nodes: Nodes | None = None,
) -> tuple[Outbox, Outbox]:
    """The outboxes of both databases, and the sweep of what dead processes left in them."""
    publisher = Publisher(log, settings)

    def main_row(row: Row) -> OutboxRow | None:
        outbox_row = _OUTBOX_ROWS.get(row["kind"].partition(".")[0])
        if outbox_row is None:
            logger.error("A row of the outbox is of a newer release, which has to sweep it")
            return None
        return outbox_row(row)

    async def left_in_dialogs(older_than_s: float, limit: int) -> Sequence[Row]:
        """Take the rows left in the dialogs' outbox, but for those of a node that is away."""
        asked = (older_than_s, limit)
        if nodes is None:
            return await dialogs.fetch("messageoutbox_left", *asked)
        rows, _ = await nodes.fetch("messageoutbox_left", "messageoutbox_left_of_living", *asked)
        return rows

    outboxes = [
        Outbox(
            rows,
            publisher,
            waiting_max=settings.events_queue_max,
            patience_s=settings.outbox_age_s,
            # The sweep had two opportunities.
            stuck_after_s=settings.outbox_age_s
            + 2 * (settings.outbox_sweep_s + settings.events_timeout_s),
            merged_max=settings.friend_events_max,
            # Held longer, they would be taken for those of a dead process.
            merge_window_s=min(settings.friend_events_window_s, settings.outbox_age_s / 2),
        )
        for rows in (
            outbox_rows(
                main,
                delete="outbox_delete",
                up_to="outbox_up_to",
                left=partial(main.fetch, "outbox_left"),
                outbox_row=main_row,
            ),
            outbox_rows(
                dialogs,
                delete="messageoutbox_delete",
                up_to="messageoutbox_up_to",
                left=left_in_dialogs,
                outbox_row=dialogs_service.outbox_row,
            ),
        )
    ]
    holder = secrets.token_hex(8)
    lease_s = settings.outbox_age_s

    async def lease() -> bool:
        return await main.fetch_row("lease_take", "sweep", holder, lease_s) is not None

    sweeper = Sweeper(
        outboxes,
        lease,
        every_s=settings.outbox_sweep_s,
        older_than_s=settings.outbox_age_s,
        limit=settings.events_batch_max,
    )
    sweeping = asyncio.create_task(sweeper.run())
    for outbox in outboxes:
        stack.push_async_callback(outbox.close)
    stack.callback(sweeping.cancel)
    return outboxes[0], outboxes[1]
