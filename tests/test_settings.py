"""Settings, and the page of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from hl_utils import settings_page
from hlfast import settings as settings_module
from hlfast.settings import Settings, SettingsError, Tuning

FIELDS: dict[str, FieldInfo] = {
    name: field for _, fields in settings_page.groups() for name, field in fields.items()
}


def attribute_of(name: str) -> str:
    """The attribute that a variable sets, of Settings or of Tuning."""
    return name.removeprefix("HLFAST_").removeprefix("TUNING__").lower()


def test_the_page_is_made_of_the_settings() -> None:
    made = settings_page.page()
    assert settings_page.PAGE.read_text(encoding="utf-8") == made, (
        "run python -m hl_utils.settings_page"
    )


def test_the_page_has_every_setting() -> None:
    every = {*Settings.model_fields, *Tuning.model_fields} - {"tuning"}
    assert [*map(attribute_of, FIELDS)] == [
        *(name for name in Settings.model_fields if name != "tuning"),
        *Tuning.model_fields,
    ]
    assert len(FIELDS) == len(every)
    for name, field in FIELDS.items():
        assert f"\n| `{name}` | " in settings_page.page()
        assert (field.description or "").endswith("."), name


def other_than(name: str, value: Any) -> tuple[str, Any]:
    """Another value of the same type, as the environment has it and as it is."""
    match value:
        case bool():
            return str(not value).lower(), not value
        case int() | float():
            return str(value + 1), value + 1
        case Path():
            return "/elsewhere", Path("/elsewhere")
        case "text":
            # Of HLFAST_LOG_FORMAT, one of two words.
            return "json", "json"
        case _ if name == "HLFAST_ALLOWED_ORIGINS":
            return "https://app.example.org", "https://app.example.org"
        case _ if name == "HLFAST_WS_URL":
            return "wss://live.example.org/ws", "wss://live.example.org/ws"
        case _ if name == "HLFAST_TRUSTED_PROXIES":
            return "10.0.0.0/8", "10.0.0.0/8"
        case _:
            return "another text", "another text"


@pytest.mark.parametrize("name", FIELDS)
def test_every_variable_sets_its_field(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in FIELDS:
        monkeypatch.delenv(known, raising=False)
    attribute, field = attribute_of(name), FIELDS[name]
    text, value = other_than(name, field.get_default(call_default_factory=True))
    monkeypatch.setenv(name, text)
    before = Settings.model_construct()
    after = settings_module.from_environment()
    owner = after.tuning if name.startswith("HLFAST_TUNING__") else after
    assert getattr(owner, attribute) == value
    changed = {
        key for key, set_to in after.model_dump().items() if set_to != before.model_dump()[key]
    }
    assert changed == {"tuning" if owner is after.tuning else attribute}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HLFAST_HTTP_PORT", "0"),
        ("HLFAST_HTTP_PORT", "65536"),
        ("HLFAST_HTTP_PORT", "http"),
        ("HLFAST_WORKERS", "0"),
        ("HLFAST_FRIENDS_MAX", "-1"),
        ("HLFAST_REVOCATION_CHECK_S", "61"),
        ("HLFAST_ACCESS_LOG", "perhaps"),
        ("HLFAST_TUNING__BATCH_READS", "perhaps"),
        ("HLFAST_DATABASE_TIMEOUT_S", "0"),
        ("HLFAST_ALLOWED_ORIGINS", "app.example.org"),
        ("HLFAST_WS_URL", "https://live.example.org/ws"),
        ("HLFAST_WS_URL", "wss://live.example.org/ws; script-src *"),
        ("HLFAST_TRUSTED_PROXIES", "nonsense"),
        ("HLFAST_TRUSTED_PROXIES", "127.0.0.1, haproxy"),
        ("HLFAST_TRUSTED_PROXIES", "10.0.0.7/8"),
    ],
)
def test_a_wrong_value_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError) as caught:
        settings_module.from_environment()
    assert re.search(rf"\b{name}\b", str(caught.value))
    assert "\n" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    settings = Settings(secret="s3cret", first_superuser_password="pa55word")
    assert "s3cret" not in repr(settings)
    assert "pa55word" not in repr(settings)
    assert "s3cret" not in str(settings)


def test_there_is_no_secret_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HLFAST_SECRET", raising=False)
    monkeypatch.setenv("HLFAST_HOME", str(tmp_path))
    assert settings_module.load().secret == ""


def test_what_is_not_set_comes_from_the_running_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DATABASE_URL", "EVENTS_URL", "HLFAST_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HLFAST_HOME", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", "redis://set")
    known = {"database_url": "postgresql://stack", "redis_url": "redis://stack"}
    settings_module.from_environment().stack_file.write_text(json.dumps(known))
    settings_module.from_environment().secret_file.write_text("kept\n")
    settings = settings_module.load()
    assert settings.database_url == settings.dialogs_url == "postgresql://stack"
    assert settings.redis_url == "redis://set"
    assert settings.secret == "kept"
