"""What this machine allows a process, against the bounds that the settings promise."""

from __future__ import annotations

import resource

from hl_utils.check.finding import Answers, Kind
from hlfast.settings import Settings

OPEN_FILES = Kind(
    "open-files",
    "warning",
    "connections beyond it are not accepted, long before their own bound says so",
    "raise the hard limit (LimitNOFILE in systemd, ulimits in compose), or lower the bound",
)
KINDS = (OPEN_FILES,)
# Libraries, logs, the broker, Redis, metrics, the event loop.
_SPARE_FILES = 64


def look(settings: Settings) -> Answers:
    """Both kinds of process raise their soft limit to the hard one, which is what counts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    answers = []
    for subject, name, bound, more in (
        ("api", "HLFAST_CONNECTIONS_MAX", settings.connections_max, 0),
        (
            *("websocket", "HLFAST_WS_CONNECTIONS_MAX", settings.ws_connections_max),
            settings.ws_dismissed_max,
        ),
    ):
        needed = bound + more + 2 * settings.database_pool_size + _SPARE_FILES
        answers.append(
            OPEN_FILES.unless(
                hard == resource.RLIM_INFINITY or needed <= hard,
                subject,
                f"{name} of {bound} needs {needed} open files, the hard limit is {hard}",
            )
        )
    return answers
