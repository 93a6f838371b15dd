"""The contract by brute force: a social network in lists and dicts, without any cleverness."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Pair = tuple[int, int]


def pair(one: int, other: int) -> Pair:
    """The two, whoever comes first."""
    return min(one, other), max(one, other)


@dataclass(slots=True)
class Dialog:
    """`messages` as the author was answered, but for `read`; `marks`: who has read how far."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    active: int = 0  # grows with every message anywhere


@dataclass(slots=True)
class Network:
    """Everything that the service should know."""

    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    asked: set[Pair] = field(default_factory=set)  # who, whom
    friends: set[Pair] = field(default_factory=set)
    posts: dict[int, dict[str, Any]] = field(default_factory=dict)  # the newest last
    post_client_ids: dict[tuple[int, str], int] = field(default_factory=dict)
    dialogs: dict[Pair, Dialog] = field(default_factory=dict)
    clock: int = 0

    # Friends

    def put_friend(self, me: int, other: int) -> tuple[int, str]:
        """Status and what the answer says."""
        if me == other:
            return 422, ""
        if pair(me, other) in self.friends:
            return 200, "friends"
        if (other, me) in self.asked:
            self.asked.remove((other, me))
            self.friends.add(pair(me, other))
            return 200, "friends"
        self.asked.add((me, other))
        return 200, "requested"

    def delete_friend(self, me: int, other: int) -> int:
        """End what there is between two; the status."""
        found = pair(me, other) in self.friends or {(me, other), (other, me)} & self.asked
        self.friends.discard(pair(me, other))
        self.asked -= {(me, other), (other, me)}
        return 204 if found and me != other else 404

    def friends_of(self, me: int) -> list[dict[str, Any]]:
        """The friends of a user, by ascending id."""
        return [user for i, user in sorted(self.users.items()) if pair(me, i) in self.friends]

    def requests_to(self, me: int) -> list[dict[str, Any]]:
        """Who asks a user to be a friend, by ascending id."""
        return [user for i, user in sorted(self.users.items()) if (i, me) in self.asked]

    # Posts

    def sees(self, me: int, post: dict[str, Any]) -> bool:
        """Whether the post may be shown to me."""
        author = post["author_id"]
        return post["privacy"] == "public" or author == me or pair(me, author) in self.friends

    def repeated_post(self, me: int, client_id: str | None) -> dict[str, Any] | None:
        """The first post of this client_id."""
        return (
            None
            if client_id is None
            else self.posts.get(self.post_client_ids.get((me, client_id), 0))
        )

    def add_post(self, post: dict[str, Any], client_id: str | None) -> None:
        """As the service answered it."""
        self.posts[post["id"]] = post
        if client_id is not None:
            self.post_client_ids[post["author_id"], client_id] = post["id"]

    def may_change(self, me: int, post_id: int) -> int:
        """The status of an attempt to change or delete it; 200 for may."""
        post = self.posts.get(post_id)
        if post is None or not self.sees(me, post):
            return 404
        return 200 if post["author_id"] == me else 403

    def wall(self, me: int, author: int) -> list[dict[str, Any]]:
        """The posts of a wall, newest first."""
        posts = [p for p in self.posts.values() if p["author_id"] == author and self.sees(me, p)]
        return sorted(posts, key=lambda post: -post["id"])

    def feed(self, me: int) -> list[dict[str, Any]]:
        """The posts of a feed, newest first."""
        posts = [p for p in self.posts.values() if pair(me, p["author_id"]) in self.friends]
        return sorted(posts, key=lambda post: -post["id"])

    # Dialogs

    def repeated_message(self, me: int, to: int, client_id: str | None) -> dict[str, Any] | None:
        """The first message of this client_id in the dialog, as it is now."""
        if client_id is None:
            return None
        for message in self.messages(me, to):
            if (message["from_user_id"], message["client_id"]) == (me, client_id):
                return message
        return None

    def add_message(self, message: dict[str, Any]) -> None:
        """As the service answered it."""
        key = pair(message["from_user_id"], message["to_user_id"])
        dialog = self.dialogs.setdefault(key, Dialog())
        dialog.messages.append(message)
        self.clock += 1
        dialog.active = self.clock

    def mark_read(self, me: int, other: int, up_to: int) -> None:
        """It never goes back, nor past the newest message."""
        dialog = self.dialogs.get(pair(me, other))
        if dialog is not None:
            mark = min(up_to, len(dialog.messages))
            dialog.marks[me] = max(mark, dialog.marks.get(me, 0))

    def messages(self, me: int, other: int) -> list[dict[str, Any]]:
        """The messages of a dialog, oldest first."""
        dialog = self.dialogs.get(pair(me, other), Dialog())
        return [
            message | {"read": message["id"] <= dialog.marks.get(message["to_user_id"], 0)}
            for message in dialog.messages
        ]

    def dialogs_of(self, me: int) -> list[dict[str, Any]]:
        """The dialogs of a user, by latest activity."""
        mine = [(key, dialog) for key, dialog in self.dialogs.items() if me in key]
        listed = []
        for key, _ in sorted(mine, key=lambda item: -item[1].active):
            other = key[0] if key[1] == me else key[1]
            messages = self.messages(me, other)
            unread = [m for m in messages if m["to_user_id"] == me and not m["read"]]
            listed.append(
                {
                    "user": self.users[other],
                    "last_message": messages[-1],
                    "unread": len(unread),
                }
            )
        return listed
