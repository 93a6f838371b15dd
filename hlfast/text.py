"""Text as people type it: one spelling of each, something to see in it, and passwords."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Marks in a row that are put into order, which takes time by their square; Unicode's own bound for
# text in a stream is 30 (UAX #15, 12.1).
_MARKS_MAX = 255
# Below it every text is in NFC.
_FIRST_MARK = "\u0300"
_LAST_MARK = 0x1FFFF


def _class(code_points: Iterable[int]) -> str:
    """A regular expression's class of these, which ascend."""
    ranges: list[list[int]] = []
    for code_point in code_points:
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)


_MARKS = _class(c for c in range(ord(_FIRST_MARK), _LAST_MARK) if unicodedata.combining(chr(c)))
_TOO_MANY_MARKS = re.compile(f"[{_MARKS}]{{{_MARKS_MAX + 1}}}")
# Default_Ignorable_Code_Point of Unicode, which is also RFC 8264's PrecisIgnorableProperties.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Beside those, and what is a space or a control by its category: an empty braille cell and an empty
# note head.
_UNSEEN = re.compile(f"[{_IGNORABLE}\u2800\U0001d159]")
_UNSEEN_CATEGORIES = {"Zs", "Zl", "Zp", "Cc", "Cf"}


def nfc(text: str) -> str:
    """The text in NFC. Raises ValueError for one that is nothing but marks for too long."""
    if text.isascii() or max(text) < _FIRST_MARK:
        return text
    if len(text) > _MARKS_MAX and _TOO_MANY_MARKS.search(text):
        raise ValueError(f"more than {_MARKS_MAX} combining marks in a row")
    return unicodedata.normalize("NFC", text)


def is_visible(text: str) -> bool:
    """Whether there is a character in it that leaves something to see."""
    return any(
        unicodedata.category(character) not in _UNSEEN_CATEGORIES and not _UNSEEN.match(character)
        for character in text
    )


# RFC 8264, 9.6 and 9.9 to 9.18: what no text of the FreeformClass has.
_REFUSED = re.compile(
    f"[{_IGNORABLE}\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b"
    # Old Hangul's letters.
    "\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb]"
)
_REFUSED_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
# 9.6, of those that depend on what stands beside them.
_ARABIC_DIGIT = re.compile("[\u0660-\u0669]")
_EXTENDED_DIGIT = re.compile("[\u06f0-\u06f9]")
_VIRAMA = 9


def opaque(password: str) -> str:
    """A password as it is hashed, by the OpaqueString profile of RFC 8265, 4.2.

    Spaces of any script are the usual one, and it is in NFC; its case and its width stay. Raises
    ValueError for characters that cannot be typed the same way twice: controls, unassigned ones,
    those that nobody sees.
    """
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    text = nfc(spaced)
    if text.isascii() and text.isprintable():
        return text
    for index, character in enumerate(text):
        if character in _BESIDE:
            if not _BESIDE[character](text, index):
                raise ValueError("a character stands where its script has none")
        elif unicodedata.category(character) in _REFUSED_CATEGORIES or _REFUSED.match(character):
            raise ValueError("a control, or a character that nobody sees or knows")
    if _ARABIC_DIGIT.search(text) and _EXTENDED_DIGIT.search(text):
        raise ValueError("digits of two kinds that look alike")
    return text


def _script(character: str) -> str:
    """The first word of its name, which is a script's for those that are asked for."""
    return unicodedata.name(character, "").partition(" ")[0]


def _follows_virama(text: str, index: int) -> bool:
    """RFC 5892, A.2: a joiner."""
    return index > 0 and unicodedata.combining(text[index - 1]) == _VIRAMA


def _may_not_join(text: str, index: int) -> bool:
    """RFC 5892, A.1: a non-joiner. Of an alphabet whose letters join, any two will do."""
    if _follows_virama(text, index):
        return True
    before = next((c for c in text[:index][::-1] if unicodedata.category(c) != "Mn"), "")
    after = next((c for c in text[index + 1 :] if unicodedata.category(c) != "Mn"), "")
    return all(c and unicodedata.bidirectional(c) == "AL" for c in (before, after))


def _is_between_ls(text: str, index: int) -> bool:
    return text[index - 1 : index] == "l" == text[index + 1 : index + 2]


def _precedes_greek(text: str, index: int) -> bool:
    return index + 1 < len(text) and _script(text[index + 1]) == "GREEK"


def _follows_hebrew(text: str, index: int) -> bool:
    return index > 0 and _script(text[index - 1]) == "HEBREW"


def _is_among_japanese(text: str, _: int) -> bool:
    return any(_script(c) in ("HIRAGANA", "KATAKANA", "CJK") and c != "\u30fb" for c in text)


_BESIDE = {
    "\u00b7": _is_between_ls,
    "\u0375": _precedes_greek,
    "\u05f3": _follows_hebrew,
    "\u05f4": _follows_hebrew,
    "\u200c": _may_not_join,
    "\u200d": _follows_virama,
    "\u30fb": _is_among_japanese,
}
