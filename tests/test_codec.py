"""Keys of search, and JSON."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlfast.codec import (
    SEARCH_KEY_CHARACTERS_MAX,
    decode,
    encode,
    prefix_end,
    rows,
    search_key,
)
from hlfast.errors import Malformed

# Around the ends of what there is: ASCII, the surrogates' gap, the last one of all.
EDGES = "\x01\x7f\x80\ud7ff\ue000\uffff\U00010000\U0010fffe\U0010ffff"
CHARACTERS = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("ab" + EDGES))
TEXTS = st.text(CHARACTERS, max_size=8)


@st.composite
def prefixes_and_keys(draw: st.DrawFn) -> tuple[str, str]:
    """A prefix, and a key that is near it: starts with it, or nearly."""
    prefix, tail = draw(TEXTS), draw(TEXTS)
    if not prefix:
        return prefix, tail
    code = ord(prefix[-1]) + draw(st.integers(-2, 2))
    code = 0xE000 if 0xD800 <= code <= 0xDFFF else min(max(code, 1), 0x10FFFF)
    near = st.sampled_from([prefix, prefix[:-1], prefix[:-1] + chr(code), ""])
    return prefix, draw(near) + tail


@given(prefixes_and_keys())
def test_a_range_holds_exactly_the_keys_with_the_prefix(pair: tuple[str, str]) -> None:
    prefix, key = pair
    end = prefix_end(prefix)
    # By code points, as Python compares, and by bytes, as databases do.
    assert (prefix <= key < end) == key.startswith(prefix)
    low, middle, high = (text.encode() for text in (prefix, key, end))
    assert (low <= middle < high) == key.startswith(prefix)


def test_above_the_last_character_there_is_only_the_end() -> None:
    last = "\U0010ffff"
    longest = last * SEARCH_KEY_CHARACTERS_MAX
    for prefix in ("", last, last * 5, longest):
        assert longest < prefix_end(prefix)
    assert prefix_end("a" + last) == "b"
    assert prefix_end("a\ud7ff") == "a\ue000"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_key_is_bounded_and_can_be_stored(text: str) -> None:
    key = search_key(text)
    assert len(key) <= SEARCH_KEY_CHARACTERS_MAX
    assert key.encode().decode() == key
    assert bool(key) == bool(text)
    assert ("\0" in key) == ("\0" in text[:SEARCH_KEY_CHARACTERS_MAX])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_equivalent_texts_have_one_key(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert search_key(unicodedata.normalize(form, text)) == search_key(text)


LETTERS = st.characters(categories=["Lu", "Ll", "Lo", "Nd"], exclude_characters="\u0345")


@given(st.text(LETTERS, max_size=20))
def test_case_does_not_count(text: str) -> None:
    assert search_key(text.casefold()) == search_key(text)
    assert search_key(search_key(text)) == search_key(text)


@given(st.text(st.characters(categories=["Lu", "Ll", "Lo"], max_codepoint=0x52F), max_size=64))
def test_what_a_name_starts_with_its_key_starts_with(name: str) -> None:
    for length in range(len(name)):
        assert search_key(name).startswith(search_key(name[:length]))


def test_times_end_in_z_and_days_are_days() -> None:
    moment = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert encode(moment) == b'"2024-02-29T12:30:15.123456Z"'
    assert datetime.fromisoformat(decode(encode(elsewhere))) == moment
    assert encode(date(1, 2, 3)) == b'"0001-02-03"'


def test_text_is_utf_8_and_control_characters_are_escaped() -> None:
    assert encode("é語😀\u2028") == '"é語😀\u2028"'.encode()
    assert encode('\0\n\x1f\\"') == b'"\\u0000\\n\\u001f\\\\\\""'


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS, st.lists))
def test_what_was_encoded_is_decoded(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'"\\ud800"', b"NaN", b"[" * 5000])
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


def test_columns_beyond_the_fields_are_not_shown() -> None:
    assert rows(("id", "name"), [(1, "a", "hidden"), (2, "b", "hidden")]) == [
        {"id": 1, "name": "a"},
        {"id": 2, "name": "b"},
    ]
