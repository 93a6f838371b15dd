"""How many files a process may have open: each connection is one."""

from __future__ import annotations

import logging
import resource

from hlfast.settings import Settings

logger = logging.getLogger(__name__)

# Libraries, logs, the broker, Redis, metrics, the event loop.
_SPARE = 64


def needed_by_api(settings: Settings) -> int:
    """How many files an API process has open at HLFAST_CONNECTIONS_MAX."""
    return settings.connections_max + _needed_anyway(settings)


def needed_by_node(settings: Settings) -> int:
    """How many files a websocket node has open at HLFAST_WS_CONNECTIONS_MAX."""
    return settings.ws_connections_max + settings.ws_dismissed_max + _needed_anyway(settings)


def _needed_anyway(settings: Settings) -> int:
    return 2 * settings.database_pool_size + _SPARE


def allowed() -> int:
    """How many files a process may have open, once it has asked for all that it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 2**63


def take_all(name: str, connections_max: int, needed: int) -> None:
    """Raise the soft limit, often 1,024, to the hard one; log what it means if that is too low.

    `name` is the setting of the bound `connections_max`, which needs so many open files.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if allowed() < needed:
        logger.warning(
            "%d open files are allowed here: about %d connections are accepted, not the %d of %s. "
            "Raise the hard limit (LimitNOFILE of systemd, default-ulimits of the Docker daemon), "
            "or lower the setting",
            hard,
            max(0, connections_max - (needed - hard)),
            connections_max,
            name,
        )
