"""GET /users/search: prefixes of names, in any script, and nothing is a wildcard.

All tests share a database: each marks its names with a word that no other one has.
"""

from __future__ import annotations

import random
import string
from typing import Any

import pytest

from tests import wire
from tests.clients import Client


@pytest.fixture
def word() -> str:
    """A word of small letters that nobody is called."""
    return "".join(random.choices(string.ascii_lowercase, k=12))


def found(client: Client, **query: Any) -> list[int]:
    """The ids of the first page."""
    return [user["id"] for user in client.items("/users/search", **query)]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Anna", "anna"),
        ("anna", "ANNA"),
        ("Straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("ＡＢＣ", "abc"),  # full width
        ("abc", "ＡＢＣ"),
        ("ﬁona", "FIO"),  # a ligature
        ("Fiona", "ﬁ"),
        ("Ёлкин", "ёЛ"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),  # a final sigma
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("İpek", "i\u0307pek"),
        ("É\u0301mile", "é\u0301mile"),
        ("\u00c9mile", "e\u0301mile"),  # composed and decomposed
        ("e\u0301mile", "\u00c9m"),
        ("한국", "\u1112\u1161\u11ab국"),  # a syllable and its letters
        ("ｶﾀｶﾅ", "カタ"),  # half width
        ("王小明", "王小"),
        ("محمد", "محم"),
        ("देवनागरी", "देव"),
        ("Ǆana", "ǆ"),
        ("ᏣᎳᎩ", "Ꮳꮃ"),  # Cherokee, whose small letters fold to the capital ones
        ("𐐔eseret", "𐐼e"),
        ("😀 smile", "😀"),
        ("Ⅷ", "viii"),
        ("O'Brien", "o'b"),
        ("Anna\u00a0Maria", "anna m"),
        ("\U0010ffff", "\U0010ffff"),
        ("\ud7ff", "\ud7ff"),
    ],
)
def test_compared_by_nfkc_and_case_folding(
    client: Client, word: str, name: str, prefix: str
) -> None:
    user = client.user(first_name=name, last_name=word)
    assert found(client, first_name=prefix, last_name=word) == [user.id]
    assert found(client, first_name=name, last_name=word) == [user.id]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Anna", "nna"),
        ("Anna", "annas"),
        ("Anna", "an na"),
        ("Émile", "e"),
        ("Иван", "й"),
        ("Ёлкин", "е"),
        ("Åsa", "a"),
        ("王小明", "小"),
    ],
)
def test_what_is_no_prefix(client: Client, word: str, name: str, prefix: str) -> None:
    client.user(first_name=name, last_name=word)
    assert found(client, first_name=prefix, last_name=word) == []


@pytest.mark.parametrize("sign", ["%", "_", "\\", "*", "?", ".", "[", "'", '"', "^", "+", "&", "#"])
def test_nothing_is_a_wildcard(client: Client, word: str, sign: str) -> None:
    plain = client.user(first_name=f"{word}xyz")
    marked = client.user(first_name=f"{word}{sign}z")
    assert found(client, first_name=f"{word}{sign}") == [marked.id]
    assert found(client, first_name=f"{word}{sign}{sign}") == []
    assert plain.id not in found(client, first_name=sign, last_name="User")
    assert found(client, first_name=word) == [plain.id, marked.id]


def test_either_name_alone_or_both(client: Client, word: str) -> None:
    both = client.user(first_name=f"{word}a", last_name=f"{word}b")
    first = client.user(first_name=f"{word}a", last_name="Other")
    last = client.user(first_name="Other", last_name=f"{word}b")
    assert found(client, first_name=word) == [both.id, first.id]
    assert found(client, last_name=word) == [both.id, last.id]
    assert found(client, first_name=word, last_name=word) == [both.id]
    assert found(client, first_name=word[:4], last_name=word) == [both.id]
    assert found(client, first_name=word, last_name=word[:4]) == [both.id]
    assert found(client, first_name=word, last_name="") == [both.id, first.id]
    assert found(client, first_name="", last_name=word) == [both.id, last.id]
    assert found(client, first_name=f"{word}b", last_name=word) == []


@pytest.mark.parametrize(
    "query", ["", "first_name=", "last_name=", "first_name=&last_name=", "limit=5"]
)
def test_at_least_one_name(client: Client, query: str) -> None:
    assert client.get(f"/users/search?{query}").status_code == 422


def test_lengths_of_a_prefix(client: Client, word: str) -> None:
    user = client.user(first_name=(word * 6)[:64])
    assert found(client, first_name=(word * 6)[:64]) == [user.id]
    for name in ("first_name", "last_name"):
        assert client.get("/users/search", params={name: "x" * 65}).status_code == 422


def test_characters_that_fold_to_many(client: Client, word: str) -> None:
    """One of these folds to eighteen characters, and 64 of them to more than an index holds."""
    user = client.user(first_name="ﷺ" * 64, last_name=word)
    assert found(client, first_name="ﷺ" * 64, last_name=word) == [user.id]
    assert found(client, first_name="ﷺ", last_name=word) == [user.id]
    assert found(client, first_name="ﷺx", last_name=word) == []


def test_utf_8_that_is_not_percent_encoded(client: Client, word: str) -> None:
    """What `curl` and some browsers send."""
    user = client.user(first_name="Ирина", last_name=word)
    query = f"first_name=Ири&last_name={word}"
    answer = wire.get(client.root, f"/api/v1/users/search?{query}".encode())
    assert [item["id"] for item in answer.json["items"]] == [user.id]


def test_a_space_is_a_plus_or_percent_20(client: Client, word: str) -> None:
    user = client.user(first_name="Anna Maria", last_name=word)
    for space in ("+", "%20"):
        answer = client.get(f"/users/search?first_name=anna{space}m&last_name={word}")
        assert [item["id"] for item in answer.json()["items"]] == [user.id]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_all_pages_by_ascending_id(
    client: Client, shared_name: tuple[str, list[int]], limit: int
) -> None:
    name, ids = shared_name
    for query in (
        {"first_name": name},
        {"last_name": name},
        {"first_name": name, "last_name": name[:5]},
        {"first_name": name[:5], "last_name": name},
    ):
        pages = client.pages("/users/search", "after", limit=limit, **query)
        assert [user["id"] for page in pages for user in page] == ids
        assert all(len(page) == limit for page in pages[:-1])


@pytest.fixture(scope="module")
def shared_name(api: Any) -> tuple[str, list[int]]:
    """A word that seven users are called, first and last, and their ids."""
    name = "".join(random.choices(string.ascii_lowercase, k=12))
    with Client(api.url) as client:
        return name, [client.user(first_name=name, last_name=name).id for _ in range(7)]


def test_20_are_on_a_page_unless_asked_otherwise(client: Client, word: str) -> None:
    ids = [client.user(first_name=word).id for _ in range(21)]
    assert found(client, first_name=word) == ids[:20]
    assert found(client, first_name=word, after=ids[19]) == ids[20:]


def test_nobody(client: Client, word: str) -> None:
    answer = client.get("/users/search", params={"first_name": word})
    assert answer.json() == {"items": [], "next": None}
