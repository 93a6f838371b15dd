"""How Python's garbage collector works in a process that serves."""

from __future__ import annotations

import gc

# New objects that the garbage collector looks at together.
_COLLECTED_AFTER = 20_000
_PYTHONS_THRESHOLD = gc.get_threshold()[0]


def freeze(is_on: bool) -> None:
    """Take what exists out of the garbage collector's sight, or give it back."""
    if is_on:
        gc.collect()
        gc.freeze()
        # What waits in an overload survives every collection: with Python's 700 they cost a tenth
        # of the time.
        gc.set_threshold(_COLLECTED_AFTER)
    else:
        gc.unfreeze()
        gc.set_threshold(_PYTHONS_THRESHOLD)
