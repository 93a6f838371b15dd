"""Who cares about whom: of a pair's news only the newest counts, however large its version is."""

from __future__ import annotations

import random

import pytest

from hlfast.live.event import Friendship
from hlfast.live.subscriptions import Subscriptions

ME, FRIENDS = 1, range(2, 12)


@pytest.mark.parametrize("first", [1, 2**32 - 150, 2**40], ids=["small", "growing", "large"])
def test_of_a_pairs_news_only_the_newest_counts(first: int) -> None:
    chance = random.Random(3)
    newest = {friend: (first + friend, True) for friend in FRIENDS}
    subscriptions = Subscriptions()
    me = subscriptions.add(ME, [(friend, version) for friend, (version, _) in newest.items()])
    for turn in range(300):
        friend = chance.choice(FRIENDS)
        # Some news is late.
        version = first + turn + chance.randrange(-40, 40)
        are_friends = chance.random() < 0.5
        change = Friendship((ME, friend), version, are_friends=are_friends)
        subscriptions.apply(change)
        if version > newest[friend][0]:
            newest[friend] = version, are_friends
        expected = {one: known for one, (known, is_one) in newest.items() if is_one}
        assert dict(zip(me.friends, me.versions, strict=True)) == expected
        for one in FRIENDS:
            assert list(subscriptions.of(one)) == ([me] if one in expected else [])
    subscriptions.remove(me)
    assert not len(subscriptions) and not any(subscriptions.of(one) for one in FRIENDS)
