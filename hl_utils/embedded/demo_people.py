"""Who the demo people are, and what they have said: met at a first look, which is not empty so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DEMO = "demo"
# Who may look at /lab, and delete anybody's post.
SUPERUSER = "teo"


class Person(NamedTuple):
    """A demo person's account and profile."""

    username: str
    first_name: str
    last_name: str
    city: str
    country: str
    bio: str


class Post(NamedTuple):
    """What was posted, so many minutes ago."""

    author: str
    minutes_ago: int
    privacy: str
    content: str


PEOPLE = (
    Person(DEMO, "Dana", "Moreau", "Lyon", "France", "Here to look around. Say hello!"),
    Person("mira", "Mira", "Novák", "Brno", "Česko", "Bread, bicycles, and a very old dog. 🚲"),
    Person("omar", "عمر", "حدّاد", "عمّان", "الأردن", "مهندس يحب القهوة والنجوم"),
    Person("aiko", "愛子", "田中", "京都", "日本", "写真とお茶と、ときどき猫。"),
    Person(
        "teo", "Teo", "Lindqvist", "Göteborg", "Sverige", "Sails when it blows, codes when not."
    ),
    Person("ksenia", "Ксения", "Орлова", "Тбилиси", "საქართველო", "Пишу письма от руки."),
)
FRIENDS = (
    *((DEMO, name) for name in ("mira", "omar", "aiko", "teo")),
    *(("mira", "teo"), ("mira", "ksenia"), ("omar", "aiko"), ("aiko", "ksenia")),
)
# Who has asked whom, and waits.
ASKED = (("ksenia", DEMO),)
POSTS = (
    Post("teo", 9500, "public", "First swim of the year. The water had opinions. 🥶"),
    Post("ksenia", 7300, "public", "Сегодня пришло письмо, которое шло три месяца."),
    Post("omar", 4400, "friends", "الليلة السماء صافية، والمشتري أقرب مما تظنون."),
    Post(DEMO, 3100, "public", "Hello, everybody! What should I look at first?"),
    Post("mira", 2950, "public", "@dana At what happens when you open a second window. 👀"),
    Post("aiko", 1500, "public", "雨上がりの哲学の道。傘を忘れたけれど、忘れてよかった。☔️🌿"),
    Post("teo", 420, "friends", "Friends only: boat dinner on Saturday. Bring a jumper, and soup."),
    Post("omar", 95, "public", "قهوة ثم كود، ثم قهوة. بهذا الترتيب. ☕️"),
    Post("mira", 12, "public", "The sourdough lives! Day 9, and it finally smells like bread 🍞"),
)
# Who said what to whom, so many minutes ago; of the last ones the demo user has not read all.
DIALOGS: dict[str, Sequence[tuple[str, int, str]]] = {
    "omar": (
        ("omar", 2900, "مرحبا دانا! Did you see Jupiter last night?"),
        (DEMO, 2890, "I did! Through the neighbour's telescope, even. 🔭"),
        ("omar", 2885, "🤩"),
    ),
    "mira": (
        ("mira", 190, "You are here! How do you like it?"),
        (DEMO, 188, "I came for the speed, I stay for the bread pictures."),
        ("mira", 187, "There will be more of both."),
        ("mira", 4, "Log in as me in a second window (same password) and write to yourself 😄"),
        ("mira", 3, "Watch the bubble: you see me typing."),
    ),
}
UNREAD = {"mira": 2, "omar": 0}
