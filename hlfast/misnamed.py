"""Variables that look like settings and are none: mistyped, most likely, and read by nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import chain

from pydantic import AliasChoices

from hlfast.settings import Settings, Tuning

_PREFIX = "HLFAST_"
# Read by what runs beside the service, or passed on by its own tools.
_OTHERS = frozenset({
    "HLFAST_ADDRESS_CONNECTIONS_MAX",
    "HLFAST_ADDRESS_REQUESTS_MAX",
    "HLFAST_COMPOSE",
    "HLFAST_FRONT_PREFIX",
    "HLFAST_HAPROXY_BIND",
    "HLFAST_HAPROXY_FILES_MAX",
    "HLFAST_HAPROXY_HARD_STOP",
    "HLFAST_HAPROXY_IDLE",
    "HLFAST_HAPROXY_REQUEST",
    "HLFAST_HAPROXY_STATISTICS",
    "HLFAST_HAPROXY_STATISTICS_PORT",
    "HLFAST_RABBITMQ_WAIT_S",
    "HLFAST_STACK",
    "HLFAST_TUNING",
})  # fmt: skip
# How like two names are, from 0 to 1. Variables without our prefix may well be another program's.
_LIKE, _VERY_LIKE = 0.75, 0.9


def _aliases() -> Iterator[str]:
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            yield str(field.validation_alias.choices[0])


_ALIASES = tuple(_aliases())
KNOWN = frozenset(
    chain(
        (_PREFIX + name.upper() for name in Settings.model_fields),
        (f"{_PREFIX}TUNING__{name.upper()}" for name in Tuning.model_fields),
        _ALIASES,
        _OTHERS,
    )
)


def misnamed(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each name of an environment that no setting has, with the one that was perhaps meant, or ''.

    Case does not count, as it does not for settings.
    """
    given = {name.upper() for name in names}
    for name in sorted(names):
        upper = name.upper()
        if upper in KNOWN:
            continue
        if upper.startswith(_PREFIX):
            meant = get_close_matches(upper, sorted(KNOWN), 1, _LIKE)
            yield name, meant[0] if meant else ""
        else:
            for alias in get_close_matches(upper, _ALIASES, 1, _VERY_LIKE):
                if alias not in given:
                    yield name, alias


def sentences(names: Collection[str]) -> Iterator[str]:
    """A line for the operator on each misnamed variable. It shows no value."""
    for name, meant in misnamed(names):
        hint = f": did you mean {meant}?" if meant else ""
        yield f"{name} is no setting, and nobody reads it{hint}"
