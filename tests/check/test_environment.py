"""What the environment says that nobody reads, or that says too much."""

from __future__ import annotations

import pytest

from tests.check.command import found, run, wrong


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HLFAST_WORKRES", "HLFAST_WORKERS"),
        ("HLFAST_TUNING__BATCH_REDS", "HLFAST_TUNING__BATCH_READS"),
        ("EVENT_URL", "EVENTS_URL"),
        ("HLFAST_XQZ", ""),
    ],
)
def test_a_mistyped_setting(sound: dict[str, str], name: str, meant: str) -> None:
    findings = found(sound | {name: "s3cret"})
    assert [(one["code"], one["subject"]) for one in findings] == [("setting-unknown", name)]
    assert (f"did you mean {meant}?" in findings[0]["what"]) == bool(meant)
    assert "s3cret" not in str(findings)


def test_what_others_read_is_nobodys_mistake(sound: dict[str, str]) -> None:
    others = {"HLFAST_ADDRESS_REQUESTS_MAX": "0", "HLFAST_TUNING__FREEZE_GC": "1", "DATABASE": "x"}
    assert wrong(sound | others) == []


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0", "127.0.0.1, 0.0.0.0/0"])
def test_a_proxy_that_is_everybody(sound: dict[str, str], everybody: str) -> None:
    assert wrong(sound | {"HLFAST_TRUSTED_PROXIES": everybody}) == [
        "proxies-everybody HLFAST_TRUSTED_PROXIES"
    ]
    assert wrong(sound | {"HLFAST_TRUSTED_PROXIES": "127.0.0.0/8, ::1"}) == []


def test_what_is_no_address_is_refused(sound: dict[str, str]) -> None:
    done = run(sound | {"HLFAST_TRUSTED_PROXIES": "127.0.0.1, nonsense"})
    assert done.returncode == 1
    assert done.stderr.startswith("hlfast: the setting HLFAST_TRUSTED_PROXIES is not acceptable: ")
    assert "'nonsense' is neither an address nor a network" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "mysql+aiomysql"])
def test_a_scheme_of_sqlalchemys(sound: dict[str, str], scheme: str) -> None:
    findings = found(sound | {"DATABASE_URL": f"{scheme}://user:s3cret@127.0.0.1:1/name"})
    assert [one["code"] for one in findings] == ["unreachable"]
    assert f"{scheme}://, and postgresql:// or mysql:// is right" in findings[0]["what"]
    assert "s3cret" not in str(findings)
