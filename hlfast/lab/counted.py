"""What the parts of an API process have counted, as one report."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hlfast.batching import BatchLimits
from hlfast.db.database import Load
from hlfast.events.outbox import Outbox
from hlfast.lab.schemas import LabNumbers
from hlfast.metrics import BOUNDS_S, Sampler
from hlfast.response_cache import ResponseCache
from hlfast.web.admission import AdmissionControl


def read(
    sampler: Sampler,
    admission: AdmissionControl,
    cache: ResponseCache,
    limits: BatchLimits,
    databases: Iterable[Load],
    outbox: Outbox,
) -> LabNumbers:
    """The numbers of now."""
    durations, duration_s = sampler.durations()
    return LabNumbers(
        clock_s=round(time.monotonic(), 6),
        cpu_s=round(time.process_time(), 6),
        bounds_s=list(BOUNDS_S),
        durations=durations,
        duration_s=round(duration_s, 6),
        in_progress=admission.in_progress,
        refused=admission.refused,
        batches=limits.batches,
        batched_reads=limits.items,
        cached_answers=len(cache),
        cached_bytes=cache.size_bytes,
        cache_hits=cache.hits,
        cache_misses=cache.misses,
        connections_in_use=sum(load.in_use for load in databases),
        statements_waiting=sum(load.queued for load in databases),
        events_unconfirmed=outbox.unconfirmed,
    )
