"""Run a server in somebody else's interpreter: `launch.py DIRECTORY MODULE [ARGUMENTS]`.

Needs nothing but Python's library. What is in DIRECTORY can be imported, behind all that is
installed; `LAB_METHODS` with `batch-scheduling` has all threads scheduled so.
"""

from __future__ import annotations

import os
import runpy
import sys


def main() -> None:
    """Run a module as `python -m` would, in a directory."""
    directory, module, *arguments = sys.argv[1:]
    # Their own first, and what is ours last.
    sys.path[0] = os.getcwd()  # noqa: PTH109 (as `python -m` has it)
    sys.path.append(directory)
    if "batch-scheduling" in os.environ.get("LAB_METHODS", "").split(","):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
