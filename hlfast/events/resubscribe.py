"""An iteration that outlasts the connections that it comes over."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TypeVar

from hlfast.errors import Unavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.05


async def resubscribing(
    attach: Callable[[T | None], AsyncGenerator[T, None]], longest_pause_s: float
) -> AsyncGenerator[T, None]:
    """What `attach` yields, attached again whenever it ends or raises Unavailable.

    `attach` is given the last item there was. Pauses after failures double up to the longest,
    with jitter so that nodes do not return all at once. The log has a line when it is lost and one
    when it is found, however many attempts lie between.
    """
    last: T | None = None
    pause_s = _FIRST_PAUSE_S
    is_lost = False
    while True:
        items = attach(last)
        try:
            async for item in items:
                last, pause_s = item, _FIRST_PAUSE_S
                if is_lost:
                    is_lost = False
                    logger.warning("The event log is found again")
                yield item
        except Unavailable as lost:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A connection that could not even be closed must not hide that we are to end.
                raise asyncio.CancelledError from lost
            if not is_lost:
                is_lost = True
                logger.warning("The event log is lost, and looked for again: %s", lost.detail)
            pause_s = min(pause_s, longest_pause_s)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause_s *= 2
        finally:
            with suppress(Unavailable):
                await items.aclose()
