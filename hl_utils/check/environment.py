"""What the environment says that nobody reads, or that says too much."""

from __future__ import annotations

from hl_utils.check.finding import Answers, Finding, Kind
from hlfast.misnamed import misnamed
from hlfast.settings import Settings, variables

SETTING_UNKNOWN = Kind(
    "setting-unknown",
    "error",
    "what it was to change is as it was before",
    "see hlfast/SETTINGS.md, or unset it",
)
PROXIES_EVERYBODY = Kind(
    "proxies-everybody",
    "error",
    "whoever connects says what their address is, and nothing that is counted by address holds",
    "name the addresses of your proxies",
)
KINDS = (SETTING_UNKNOWN, PROXIES_EVERYBODY)


def look(settings: Settings) -> Answers:
    """Find settings that are unknown, and proxies that are everybody. No server is asked."""
    everybody = [str(one) for one in settings.trusted_networks if one.prefixlen == 0]
    answers: list[Finding | None] = [
        PROXIES_EVERYBODY.unless(
            not everybody, "HLFAST_TRUSTED_PROXIES", f"{', '.join(everybody)} is every address"
        )
    ]
    unknown: list[Finding | None] = [
        SETTING_UNKNOWN.found(
            name, "it is no setting" + (f": did you mean {meant}?" if meant else "")
        )
        for name, meant in misnamed(variables())
    ]
    return [*answers, *(unknown or [None])]
