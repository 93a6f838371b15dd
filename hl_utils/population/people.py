"""What a seeded population looks like: names and texts in several scripts, who knows whom.

Everything here is drawn from `draws`, so the same seed gives the same population.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from faker import Faker

from hlfast.codec import search_key

# Drawn once for each language and combined afterwards: Faker makes some 50,000 names a second,
# combining makes millions. Repeats stay, because some names are more common than others.
_NAMES_DRAWN = 300
_TEXTS_DRAWN = 120
_CITIES_DRAWN = 60

_NAME_CHARACTERS_MAX = 64
# Leaves space for the dot and the ten digits of an id in the 32 characters of a username.
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{1,19}")
_COPY_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": None})

# People whose connections make one pool. The work and the memory of a pool are bounded by this,
# whatever the number of users.
CIRCLE_SIZE = 25_000
# Exponent of the power law of connections: below 2 the variance is unbounded, which is what
# makes celebrities.
_TAIL = 1.6
_DRAWN_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Locale:
    """A Faker locale, and what Faker lacks in it."""

    name: str
    country: str
    cities: tuple[str, ...] = ()
    texts: str = ""


LOCALES = (
    Locale("en_US", "United States"),
    Locale("ru_RU", "Россия"),
    Locale("de_DE", "Deutschland"),
    Locale("ja_JP", "日本"),
    Locale("zh_CN", "中国"),
    Locale("ar_AA", "مصر", cities=("القاهرة", "الإسكندرية", "الجيزة", "الأقصر", "أسوان", "طنطا")),
    Locale("el_GR", "Ελλάδα"),
    Locale("hi_IN", "भारत", texts="en_US"),
    Locale("ko_KR", "대한민국", texts="en_US"),
    Locale("uk_UA", "Україна"),
    Locale("pl_PL", "Polska"),
    Locale("fr_FR", "France"),
    Locale("es_ES", "España"),
    Locale("he_IL", "ישראל"),
    Locale("th_TH", "ประเทศไทย"),
)


@dataclass(frozen=True, slots=True)
class Names:
    """First and last names that go together (many languages tell men from women in both).

    A first name is its slug for usernames and its columns `first_key, first_name`; a last name
    its columns `last_key, last_name`; all as COPY text.
    """

    first: list[tuple[str, str]]
    last: list[str]


@dataclass(frozen=True, slots=True)
class Language:
    """What the people of one language are called and what they say, as COPY text."""

    names: tuple[Names, Names]
    homes: list[str]  # the columns `city, country`
    sentences: list[str]
    paragraphs: list[str]


def draws(seed: int, *path: str | int) -> Random:
    """The random numbers of one part of the population, independent of every other part."""
    return Random("/".join(map(str, (seed, *path))))  # noqa: S311 (people, not secrets)


def copy_text(text: str) -> str:
    """A value in the text format of COPY. NUL, which no text may hold, is left out."""
    return text.translate(_COPY_ESCAPES)


def languages(seed: int) -> list[Language]:
    """One for each locale. Takes about two seconds."""
    return [_language(locale, seed) for locale in LOCALES]


def _language(locale: Locale, seed: int) -> Language:
    fake = Faker(locale.name)
    fake.seed_instance(f"{seed}/{locale.name}")
    speaker = fake
    if locale.texts:
        speaker = Faker(locale.texts)
        speaker.seed_instance(f"{seed}/{locale.name}/texts")
    cities = locale.cities or [fake.city() for _ in range(_CITIES_DRAWN)]
    lived_in = [f"{copy_text(city)}\t{locale.country}" for city in cities if len(city) <= 64]
    # Three out of five say where they live, one only in which country, one nothing.
    unsaid = [f"\\N\t{locale.country}", "\\N\t\\N"] * (len(lived_in) // 3)
    return Language(
        names=(
            _names(fake, fake.first_name_male, fake.last_name_male),
            _names(fake, fake.first_name_female, fake.last_name_female),
        ),
        homes=lived_in + unsaid,
        sentences=[copy_text(speaker.sentence()) for _ in range(_TEXTS_DRAWN)],
        paragraphs=[copy_text(speaker.paragraph(5)) for _ in range(_TEXTS_DRAWN)],
    )


def _names(fake: Faker, first: Callable[[], str], last: Callable[[], str]) -> Names:
    def drawn(draw: Callable[[], str]) -> list[str]:
        return [
            name.strip()[:_NAME_CHARACTERS_MAX] for name in (draw() for _ in range(_NAMES_DRAWN))
        ]

    firsts = drawn(first)
    slugs = {name: _slug(name, fake) for name in dict.fromkeys(firsts)}
    return Names(
        first=[(slugs[name], _with_key(name)) for name in firsts],
        last=[_with_key(name) for name in drawn(last)],
    )


def _with_key(name: str) -> str:
    return f"{copy_text(search_key(name))}\t{copy_text(name)}"


def _slug(name: str, fake: Faker) -> str:
    """The name in ASCII, or where its script is another one, a name that Faker transliterates."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    candidate = plain.replace(" ", "-")
    while not _SLUG.fullmatch(candidate):
        candidate = fake.user_name().replace(".", "")
    return candidate


def circle_starts(users: int) -> range:
    """The first position of each circle: who knows whom is decided within `CIRCLE_SIZE` people."""
    return range(0, users, CIRCLE_SIZE)


def connections(size: int, mean: float, most: int) -> list[int]:
    """How many people each of a circle knows: a power law (Lomax), the best known first.

    The mean is met but for rounding and for `most`, which nobody exceeds; nor does anybody know
    more than a quarter of the circle, beyond which too many of them would know each other.
    """
    tail = [((i + 0.5) / size) ** (-1 / _TAIL) - 1 for i in range(size)]
    scale = mean * size / sum(tail)
    most = min(most, max(size // 4, 1))
    return [min(int(known * scale + 0.5), most) for known in tail]


def pairs(size: int, mean: float, most: int, random: Random) -> Iterator[tuple[int, int]]:
    """Who knows whom in a circle: positions `(low, high)`, each pair once.

    Every person holds as many ends as she has connections; ends are connected at random, and those
    that would join her to herself or repeat a pair are drawn again, a few times. So nobody
    exceeds her number, few fall short of it, and only one circle is in memory.
    """
    ends = [i for i, known in enumerate(connections(size, mean, most)) for _ in range(known)]
    seen: set[int] = set()
    for _ in range(_DRAWN_AGAIN + 1):
        others = ends[1::2]
        random.shuffle(others)
        left: list[int] = []
        for one, other in zip(ends[::2], others, strict=False):
            low, high = (one, other) if one < other else (other, one)
            pair = low * size + high
            if low == high or pair in seen:
                left += (one, other)
            else:
                seen.add(pair)
                yield low, high
        ends = left
