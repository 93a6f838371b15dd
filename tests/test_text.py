"""What people type: one spelling of each text, something to see in it, and passwords."""

from __future__ import annotations

import unicodedata

import pytest

from hl_utils.servers.services import Api
from hl_utils.servers.sql import rows
from hlfast.auth.passwords import hash_password
from hlfast.settings import Settings
from hlfast.text import is_visible, nfc, opaque
from tests.clients import PASSWORD, Client

NOTHING_TO_SEE = [
    " ", "\u200b", "\u2800", "\u00a0", "\u3000\u2003", "\u00ad", "\u200d\u200c", "\ufeff", "\u034f",
    "\u3164", "\uffa0", "\u115f\u1160", "\ufe0f", "\U000e0041", "\U0001d159", "\t\n", "\u2028",
    "\u061c", "\u2063 \u200b \u2800", "\x7f", "\u180e",
]  # fmt: skip
SOMETHING_TO_SEE = ["a", ".", "\u0301", "한", "😀", "\U0010ffff", "\ue000", "\u200b.", "⠁", "ا"]


@pytest.mark.parametrize("text", NOTHING_TO_SEE, ids=ascii)
def test_what_nobody_sees_is_no_name_post_or_message(client: Client, text: str) -> None:
    assert not is_visible(text)
    me, other = client.user(), client.user()
    for answer in (
        me.post("/posts", json={"content": text}),
        me.post(f"/dialogs/{other.id}/messages", json={"content": text}),
        me.patch("/users/me", json={"first_name": text}),
        me.patch("/users/me", json={"last_name": text}),
    ):
        assert answer.status_code == 422, answer.text
    assert me.items(f"/users/{me.id}/posts") == me.items("/dialogs") == []
    assert me.get("/users/me").json()["first_name"] == "Test"
    post = me.write()
    assert me.patch(f"/posts/{post['id']}", json={"content": text}).status_code == 422
    assert me.get(f"/posts/{post['id']}").json() == post


@pytest.mark.parametrize("text", SOMETHING_TO_SEE, ids=ascii)
def test_what_is_seen(client: Client, text: str) -> None:
    assert is_visible(text)
    assert client.user(first_name=text).write(text)["content"] == nfc(text)


DECOMPOSED = "Ame\u0301lie \u1112\u1161\u11ab\u212b"
COMPOSED = "Amélie 한Å"


def test_text_is_composed_before_it_is_stored_or_measured(client: Client) -> None:
    fields = dict.fromkeys(("first_name", "last_name", "bio", "city", "country"), DECOMPOSED)
    me, other = client.user(**fields), client.user()
    profile = me.get("/users/me").json()
    assert {profile[name] for name in fields} == {COMPOSED}
    assert me.write(DECOMPOSED)["content"] == COMPOSED
    assert me.send_to(other, DECOMPOSED)["content"] == COMPOSED
    # As typed these are too long.
    long = "e\u0301" * 4096
    assert me.write(long)["content"] == "é" * 4096
    assert me.send_to(other, long)["content"] == "é" * 4096
    assert me.patch("/users/me", json={"city": "e\u0301" * 64}).json()["city"] == "é" * 64
    assert me.post("/posts", json={"content": "é" * 4097}).status_code == 422
    # And this one is longer when it is composed: its characters have no composed form.
    assert me.post("/posts", json={"content": "\u0958" * 4096}).status_code == 422


def test_white_space_around_names_and_search_terms_is_dropped(client: Client) -> None:
    somebody = client.user(first_name="\u00a0Анна-Мария \n", last_name="\u3000 Wordsworthy")
    assert somebody.get("/users/me").json()["first_name"] == "Анна-Мария"
    somebody.patch("/users/me", json={"last_name": " Of  Two "})
    assert somebody.get("/users/me").json()["last_name"] == "Of  Two"
    for term in ("Анна ", "\u2003анна-", " Анна-Мария\t"):
        found = client.items("/users/search", first_name=term, last_name=" of  t")
        assert somebody.id in [user["id"] for user in found]
    assert client.get("/users/search", params={"first_name": " \u3000"}).status_code == 422
    # What belongs to a text is not dropped.
    assert somebody.write("  indented\n")["content"] == "  indented\n"
    assert somebody.patch("/users/me", json={"bio": " x "}).json()["bio"] == " x "


def test_many_marks_do_not_hold_the_others_up(client: Client) -> None:
    """They are put into order in a time that is the square of their number."""
    me = client.user()
    marks = "a" + "\u0301\u0327" * 16_000
    with pytest.raises(ValueError, match="marks"):
        nfc(marks)
    assert me.post("/posts", json={"content": marks}).status_code == 422
    assert me.post("/users", json={"username": "marks", "password": marks}).status_code == 422
    assert client.login("nobody", marks[:1000]).status_code == 401
    zalgo = "z" + "\u0301\u0327" * 100
    assert me.write(zalgo)["content"] == unicodedata.normalize("NFC", zalgo)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pässwörter", "pa\u0308sswo\u0308rter"),
        ("한국어비밀번호가", unicodedata.normalize("NFD", "한국어비밀번호가")),
        ("correct horse", "correct\u00a0horse"),
        ("correct horse", "correct\u3000horse"),
        ("\u212bngström unit", "Ångstro\u0308m unit"),
    ],
    ids=ascii,
)
def test_two_spellings_of_a_password_are_one(client: Client, one: str, other: str) -> None:
    assert opaque(one) == opaque(other)
    for first, second in ((one, other), (other, one)):
        me = client.user(password=first)
        assert client.login(me.username, second).status_code == 200
        change = {"old_password": second, "new_password": first}
        assert me.post("/users/me/password", json=change).status_code == 204
        assert client.login(me.username, second).status_code == 200
        assert client.login(me.username, f"{second}x").status_code == 401


def test_case_and_width_of_a_password_count(client: Client) -> None:
    me = client.user(password="Ｐassword é")
    for other in ("Password é", "ｐassword é", "Ｐassword e", "Ｐassword é "):
        assert client.login(me.username, other).status_code == 401


@pytest.mark.parametrize(
    "character",
    ["\x00", "\t", "\x7f", "\u200b", "\u2800\u200d", "\u0378", "\ue000", "\u00ad", "\u1112",
     "\u2028", "\u0640", "\u0661\u06f1", "a\u00b7", "\ufe0f"],
    ids=ascii,
)  # fmt: skip
def test_what_cannot_be_typed_again_is_in_no_password(client: Client, character: str) -> None:
    new = {"username": "nobody-at-all", "first_name": "a", "last_name": "b"}
    answer = client.post("/users", json={**new, "password": f"password{character}"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "password"]
    assert "password" not in answer.json()["errors"][0]["msg"].replace("password can't", "")
    me = client.user()
    change = {"old_password": PASSWORD, "new_password": f"password{character}"}
    assert me.post("/users/me/password", json=change).status_code == 422
    # To guess it is no error.
    assert client.login(me.username, f"password{character}").status_code in (401, 422)


@pytest.mark.parametrize(
    "typed", ["pa\u0308ssword", "tab\tpassword", "correct\u00a0horse"], ids=ascii
)
def test_a_hash_of_a_password_as_it_was_typed_still_opens(
    client: Client, api: Api, typed: str
) -> None:
    """As they were made before there was one spelling."""
    me = client.user()
    settings = Settings(password_hash_memory_kib=256, password_hash_time=1)
    rows(
        api.settings["DATABASE_URL"],
        'UPDATE "user" SET password_hash = $1 WHERE id = $2',
        hash_password(typed, settings),
        me.id,
    )
    assert client.login(me.username, typed).status_code == 200
    assert client.login(me.username, typed + "x").status_code == 401
    change = {"old_password": typed, "new_password": PASSWORD}
    assert me.post("/users/me/password", json=change).status_code == 204


@pytest.mark.parametrize(
    ("password", "stored"),
    [
        # RFC 8265, 4.3, table 4.
        ("correct horse battery staple", "correct horse battery staple"),
        ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
        ("πßå", "πßå"),
        ("Jack of ♦s", "Jack of ♦s"),
        ("foo\u1680bar", "foo bar"),
        ("my cat is a \u0009by", None),
        # What depends on its neighbours, RFC 5892, appendix A.
        ("l\u00b7l", "l\u00b7l"),
        ("L\u00b7L", None),
        ("\u0375α", "\u0375α"),
        ("\u0375a", None),
        ("א\u05f3", "א\u05f3"),
        ("\u05f3", None),
        ("ガ\u30fb", "ガ\u30fb"),
        ("a\u30fb", None),
        ("\u0915\u094d\u200d", "\u0915\u094d\u200d"),
        ("a\u200d", None),
        ("\u0628\u200c\u0628", "\u0628\u200c\u0628"),
        ("a\u200cb", None),
    ],
    ids=ascii,
)
def test_opaque_string(password: str, stored: str | None) -> None:
    if stored is None:
        with pytest.raises(ValueError):
            opaque(password)
    else:
        assert opaque(password) == opaque(stored) == stored
