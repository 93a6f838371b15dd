"""What goes into and comes out of the laboratory's endpoints."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from hlfast.web.fields import Body, example, said

BatchReads = Annotated[bool, said("Concurrent reads share a statement.", True)]
BatchSends = Annotated[bool, said("Concurrent messages share a statement.", True)]
RememberTokens = Annotated[bool, said("Verified access tokens stay in memory.", True)]
KeepBodies = Annotated[bool, said("The response cache holds encoded answers.", True)]
EncodeAtWrite = Annotated[bool, said("The JSON of a post is stored beside it.", True)]
FeedsFromNewest = Annotated[bool, said("Feeds of many friends come from the newest posts.", True)]
FreezeGc = Annotated[bool, said("What exists already is never looked at as garbage.", True)]
BatchScheduling = Annotated[bool, said("Threads that wake up interrupt no other.", True)]


class LabSwitches(BaseModel):
    """Methods of speed of an API process, and whether this one uses them now."""

    batch_reads: BatchReads
    batch_sends: BatchSends
    remember_tokens: RememberTokens
    keep_bodies: KeepBodies
    encode_at_write: EncodeAtWrite
    feeds_from_newest: FeedsFromNewest
    freeze_gc: FreezeGc
    batch_scheduling: BatchScheduling


class LabSwitchesPatch(Body):
    """Methods to switch on or off. Absent: stays."""

    model_config = example({"keep_bodies": False})

    batch_reads: BatchReads = True
    batch_sends: BatchSends = True
    remember_tokens: RememberTokens = True
    keep_bodies: KeepBodies = True
    encode_at_write: EncodeAtWrite = True
    feeds_from_newest: FeedsFromNewest = True
    freeze_gc: FreezeGc = True
    batch_scheduling: BatchScheduling = True


class LabNumbers(BaseModel):
    """What one process has counted since it started, and what it is at now.

    Of two reports of one process, the differences are what it did between their clocks.
    """

    clock_s: Annotated[float, said("The process's own clock, which only runs on.", 81.25)]
    cpu_s: Annotated[float, said("Processor time that it has used.", 12.5)]
    bounds_s: Annotated[
        list[float], said("Upper bounds of the buckets of `durations`; the last has none.", [0.001])
    ]
    durations: Annotated[list[int], said("Answers, by the bucket of their duration.", [412, 3])]
    duration_s: Annotated[float, said("All those durations together.", 0.81)]
    in_progress: Annotated[int, said("Requests in progress.", 2)]
    refused: Annotated[int, said("Requests that admission control refused.", 0)]
    batches: Annotated[int, said("Batches of reads.", 380)]
    batched_reads: Annotated[int, said("Reads in those batches.", 1140)]
    cached_answers: Annotated[int, said("Answers in the response cache.", 950)]
    cached_bytes: Annotated[int, said("Memory that they take, about.", 734003)]
    cache_hits: Annotated[int, said("Answers that came from the response cache.", 870)]
    cache_misses: Annotated[int, said("Answers that it had not, or only of before.", 122)]
    connections_in_use: Annotated[int, said("Database connections that run a statement.", 1)]
    statements_waiting: Annotated[int, said("Statements that wait for one.", 0)]
    events_unconfirmed: Annotated[int, said("Events that the log has not confirmed.", 0)]


class LabReport(BaseModel):
    """One process of the API: the one that has answered, and no other."""

    process: Annotated[str, said("Its host and number.", "api1-4711")]
    numbers: Annotated[LabNumbers, Field(description="What it has counted.")]
    switches: Annotated[LabSwitches, Field(description="What it uses.")]
