"""What this machine allows a process, against the bounds that the settings promise."""

from __future__ import annotations

from hl_utils.check.finding import Answers, Kind
from hlfast import open_files
from hlfast.settings import Settings

OPEN_FILES = Kind(
    "open-files",
    "warning",
    "connections beyond it are not accepted, long before their own bound says so",
    "raise the hard limit (LimitNOFILE of systemd, default-ulimits of the Docker daemon), or lower "
    "the bound",
)
KINDS = (OPEN_FILES,)


def look(settings: Settings) -> Answers:
    """Both kinds of process raise their soft limit to the hard one, which is what counts."""
    allowed = open_files.allowed()
    return [
        OPEN_FILES.unless(
            needed <= allowed,
            subject,
            f"{name} of {bound} needs {needed} open files, the hard limit is {allowed}",
        )
        for subject, name, bound, needed in (
            (
                *("api", "HLFAST_CONNECTIONS_MAX"),
                *(settings.connections_max, open_files.needed_by_api(settings)),
            ),
            (
                *("websocket", "HLFAST_WS_CONNECTIONS_MAX"),
                *(settings.ws_connections_max, open_files.needed_by_node(settings)),
            ),
        )
    ]
