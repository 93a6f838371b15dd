"""Which dialog is that of two users, and whose dialog is that of an id.

Rows of a dialog bear a mixed id: a cluster finds a row's shard by a hash of it, in which the halves
of the id cancel each other out, so that the bare pairs of neighbours (a, a + 1) would nearly all
lie on one node. As each bit of a mixed id is as good as random, any hash of it is. It is made and
taken apart here; the databases store it and have the same arithmetic as `dialog_id_of`, for
migrations and for people. What readers see, ids of events above all, has the pair in it.
"""

from __future__ import annotations

# A user's id has so many bits, a dialog's twice as many: no sign, and no overflow in any SQL.
_HALF = 31
_LOWER = (1 << _HALF) - 1
_ALL = (1 << 2 * _HALF) - 1
# The multipliers of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
# 2014), modulo 2**62, and their inverses. Rows are stored under these: they never change.
_FIRST, _SECOND = 4564476756301768121, 1499779743744070123
_UNDO_FIRST, _UNDO_SECOND = pow(_FIRST, -1, _ALL + 1), pow(_SECOND, -1, _ALL + 1)


def dialog_id(one: int, other: int) -> int:
    """The id of the dialog of two users, in whichever order; below 2**62.

    Users' ids are below 2**31. No two pairs have one id: each step can be undone.
    """
    id = one << _HALF | other if one < other else other << _HALF | one
    id = (id ^ id >> _HALF) * _FIRST & _ALL
    id = (id ^ id >> _HALF) * _SECOND & _ALL
    return id ^ id >> _HALF


def users_of(dialog: int) -> tuple[int, int]:
    """The two users of a dialog, the lower id first."""
    # To xor the upper half into the lower one undoes itself.
    id = (dialog ^ dialog >> _HALF) * _UNDO_SECOND & _ALL
    id = (id ^ id >> _HALF) * _UNDO_FIRST & _ALL
    id ^= id >> _HALF
    return id >> _HALF, id & _LOWER


def peer(dialog: int, me: int) -> int:
    """The other one of the two."""
    low, high = users_of(dialog)
    return high if me == low else low


def pair(one: int, other: int) -> int:
    """The pair of users as one number, low << 32 | high: what readers see of a dialog."""
    return one << 32 | other if one < other else other << 32 | one
