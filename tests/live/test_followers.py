"""The pairs of authors and followers are those of a plain set, however many and of whomever."""

from __future__ import annotations

import random

import pytest

from hlfast.live.followers import _CROWD, Followers


def shown(followers: Followers, authors: set[int]) -> set[tuple[int, int]]:
    """All pairs; none is there twice."""
    found = [(author, one) for author in authors for one in followers.of(author)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("authors", [[2**31 - 1], range(1, 20), range(1, 2000, 7), [*range(16)]])
def test_they_are_those_of_a_set(authors: list[int]) -> None:
    """One author beyond the size of a crowd and back, a few, many, and many of one bucket."""
    chance = random.Random(len(authors))
    followers, model = Followers(), set[tuple[int, int]]()
    known = set(authors)
    for growth in (0.8, 0.2, 0.7, 0.0):
        for _ in range(3 * _CROWD):
            author, one = chance.choice([*authors]), chance.randrange(2**31 - 2 * _CROWD, 2**31)
            if chance.random() < growth:
                if (author, one) not in model:
                    followers.add(author, one)
                    model.add((author, one))
            elif model:
                gone = chance.choice(sorted(model)[:50])
                followers.remove(*gone)
                model.discard(gone)
        assert shown(followers, known) == model
    for author, one in sorted(model):
        followers.remove(author, one)
    assert shown(followers, known) == set()
