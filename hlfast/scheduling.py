"""How the kernel is to schedule the threads of a process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

IS_KNOWN = sys.platform == "linux"


def schedule_as_batch(is_on: bool) -> None:
    """For all threads of this process and those that they start: who wakes up interrupts nobody.

    Granian's threads and Python's wake each other for every request. Where each interrupts the
    other at once, a core that they share goes from one to the other four times a request. On
    systems other than Linux nothing happens.
    """
    if sys.platform == "linux":
        policy = os.SCHED_BATCH if is_on else os.SCHED_OTHER
        for thread in Path("/proc/self/task").iterdir():
            # A container may forbid it, and a thread may have ended.
            with suppress(OSError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))
