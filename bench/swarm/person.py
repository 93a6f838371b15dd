"""What one person does: some a lot, most next to nothing, and a share of it around the stars."""

from __future__ import annotations

import random
from types import MethodType
from typing import Any
from urllib.parse import urlencode

import answers
import gevent
from answers import MESSAGE, POST, USER, has, page
from asking import Asker
from live import Live, websocket_of
from locust import FastHttpUser, constant_throughput, task
from locust.exception import RescheduleTask
from town import FIRST_NAMES, LAST_NAMES, STAR_NAME, TOWN, Account, by_rank

# Of the log-normal distribution of activity: with 1.5, the most active hundredth does a fifth of
# all, and half of the people do less than a third of the mean.
_ACTIVITY_SIGMA = 1.5
# Times the mean; beyond, one person would be a load test of their own.
_ACTIVITY_MAX = 20.0
_ACTIVITY_MIN = 0.05
_RETRY_S = 3.0
_BIO_MAX = 1000
# Requests that are made now and then.
_NOW_AND_THEN = 0.2
_STATUSES = ({"status": "requested"}, {"status": "friends"})
_WORDS = ("the", "of", "and", "to", "in", "is", "you", "that", "it", "was", "for", "on", "are")


class Person(FastHttpUser):
    """Registers once, stays logged in and connected. Frames come while all else is done."""

    host = "http://localhost:8000"
    connection_timeout = 10.0
    network_timeout = 30.0

    def on_start(self) -> None:
        """Register or log in, befriend the stars, connect."""
        self.live = None
        self.asker = Asker(self.client)
        self.slot = TOWN.take_slot()
        options = self.environment.parsed_options
        # That of a process which is alone, or does not know yet, is the first.
        worker = max(0, getattr(self.environment.runner, "worker_index", 0))
        name = f"swarm-{options.seed}-{worker}-{self.slot}"
        # An account is as active in every run, and as well known.
        self.chance = random.Random(name)
        self.account = Account(
            name, by_rank(FIRST_NAMES, self.chance), by_rank(LAST_NAMES, self.chance)
        )
        activity = self.chance.lognormvariate(-(_ACTIVITY_SIGMA**2) / 2, _ACTIVITY_SIGMA)
        rate = options.rate * min(max(activity, _ACTIVITY_MIN), _ACTIVITY_MAX)
        self.wait_time = MethodType(constant_throughput(rate), self)
        while True:
            try:
                self._arrive(options)
                return
            except RescheduleTask:
                gevent.sleep(random.uniform(0, _RETRY_S))

    def _arrive(self, options: Any) -> None:
        if not self.account.id:
            self.asker.arrive(self.account)
        TOWN.meet(self.account.id)
        with TOWN.arrival:
            for number in range(len(TOWN.stars), options.stars if options.gaga else 0):
                star = Account(f"swarm-{options.seed}-star-{number}", *STAR_NAME)
                self.asker.arrive(star)
                TOWN.stars.append(star)
        for star in TOWN.stars:
            if self._befriend(star.id, is_star=True) == "requested":
                self._befriend(self.account.id, of=star, is_star=True)
        # Of each list the first page: enough to write to, and to answer.
        users = page(USER, ascending=True, limit=100)
        friends = self._get("/friends?limit=100", users, "/friends").body
        asked = self._get("/friends/requests?limit=100", users, "/friends/requests").body
        url = options.ws_url or websocket_of(self.host)
        live = Live(url, self.account, self.asker, self.environment.events.request.fire)
        live.friends += [id_ for id_ in answers.ids(friends) if not TOWN.is_star(id_)]
        live.asked.extend(answers.ids(asked))
        self.live = live
        live.start()

    def on_stop(self) -> None:
        """Hang up; somebody else may take the account."""
        if self.live is not None:
            self.live.stop()
        TOWN.leave_slot(self.slot)

    @task(30)
    def read(self) -> None:
        """The feed, sometimes on to its next page; or a star's wall."""
        if star := self._star():
            check = page(POST, ascending=False, author_id=star.id)
            self._get(f"/users/{star.id}/posts", check, "/users/{id}/posts", is_star=True)
            return
        feed = self._get("/feed", page(POST, ascending=False)).body
        if feed["next"] and random.random() < _NOW_AND_THEN:
            query = urlencode({"before": feed["next"]})
            self._get(f"/feed?{query}", page(POST, ascending=False), "/feed (next page)")

    @task(25)
    def chat(self) -> None:
        """Write to somebody, and look whether it is there. Its frame must come to me, too."""
        star = self._star()
        other = star.id if star else self._somebody()
        if not other:
            return
        self.live.tend()
        if other in self.live.friends:
            self.live.say({"type": "typing", "user_id": other})
        key = TOWN.depart()
        path, kind = f"/dialogs/{other}/messages", "/dialogs/{id}/messages"
        new = {"content": f"{self._text()} #{key}", "client_id": key}
        shape = has(MESSAGE, from_user_id=self.account.id, to_user_id=other, **new)
        self.live.expect(key)
        is_sent = False
        try:
            sent = self._post(path, kind, new, shape, is_star=bool(star))
            is_sent = True
        finally:
            self.live.sent(key, is_sent=is_sent)
        of_dialog = page(MESSAGE, ascending=True, limit=1)
        mine = answers.begins_with(of_dialog, sent["id"])
        self._get(f"{path}?after={sent['id'] - 1}&limit=1", mine, kind, is_star=bool(star))
        if random.random() < _NOW_AND_THEN:
            again = has(MESSAGE, id=sent["id"], **new)
            kind += " (again)"
            self._post(path, kind, new, again, accept=(200,), is_star=bool(star))

    @task(10)
    def catch_up(self) -> None:
        """Accept whoever has asked, and read what is unread; or a dialog with a star."""
        if star := self._star():
            path = f"/dialogs/{star.id}/messages"
            check = page(MESSAGE, ascending=False)
            self._get(path, check, "/dialogs/{id}/messages (page)", is_star=True)
            return
        while self.live.asked:
            self._ask_or_accept(self.live.asked.popleft())
        for dialog in self._get("/dialogs", answers.dialogs).body["items"]:
            if dialog["unread"] and dialog["last_message"]["to_user_id"] == self.account.id:
                self.asker.ask(
                    "POST",
                    f"/dialogs/{dialog['user']['id']}/read",
                    "/dialogs/{id}/read",
                    of=self.account,
                    json={"up_to": dialog["last_message"]["id"]},
                    accept=(204,),
                )
                return

    @task(10)
    def look(self) -> None:
        """Somebody's profile, or a star's; the second time, only if it has changed."""
        star = self._star()
        other = star.id if star else by_rank(TOWN.known, random)
        path, kind, check = f"/users/{other}", "/users/{id}", has(USER, id=other)
        seen = self._get(path, check, kind, is_star=bool(star))
        if random.random() < _NOW_AND_THEN:
            unless = {"If-None-Match": seen.etag}
            kind += " (again)"
            self.asker.ask(
                "GET",
                path,
                kind,
                accept=(200, 304),
                check=check,
                headers=unless,
                is_star=bool(star),
            )

    @task(10)
    def search(self) -> None:
        """People by the beginnings of their names, or a star by both names."""
        star = self._star()
        if star:
            names = dict(zip(("first_name", "last_name"), STAR_NAME, strict=True))
        else:
            first, last = by_rank(FIRST_NAMES, random), by_rank(LAST_NAMES, random)
            names = {"first_name": first[: random.randint(1, 4)]}
            if random.random() < _NOW_AND_THEN:
                names["last_name"] = last[:1]
        path, check = f"/users/search?{urlencode(names)}", answers.found(20, **names)
        found = self._get(path, check, "/users/search", is_star=bool(star))
        for id_ in answers.ids(found.body):
            if not TOWN.is_star(id_):
                TOWN.meet(id_)

    @task(8)
    def write(self) -> None:
        """A post of mine, or of a star; it is there at once."""
        star = self._star()
        author = star or self.account
        content = f"{self._text()} #{TOWN.depart()}"
        new = {"content": content, "privacy": random.choice(("public", "friends"))}
        shape = has(POST, author_id=author.id, **new)
        post = self._post("/posts", "/posts", new, shape, of=author, is_star=bool(star))
        path, check = f"/posts/{post['id']}", has(POST, **post)
        self._get(path, check, "/posts/{id}", of=author, is_star=bool(star))

    @task(5)
    def befriend(self) -> None:
        """Ask somebody for friendship; a star already is a friend."""
        if star := self._star():
            self._befriend(star.id, is_star=True)
            return
        other = by_rank(TOWN.known, random)
        if other != self.account.id:
            self._ask_or_accept(other)

    @task(2)
    def edit(self) -> None:
        """My profile; the change is there at once."""
        # At its longest a text is longer than a profile takes.
        bio = self._text()[:_BIO_MAX].strip()
        check = has(USER, id=self.account.id, bio=bio)
        me = "/users/me"
        self.asker.ask("PATCH", me, me, of=self.account, json={"bio": bio}, check=check)
        self._get(me, check)

    def _star(self) -> Account | None:
        """A star, in as many cases as the Lady Gaga ratio says."""
        if TOWN.stars and random.random() < self.environment.parsed_options.gaga:
            return by_rank(TOWN.stars, random)
        return None

    def _somebody(self) -> int | None:
        """A friend, or else somebody known; some much more often than others."""
        others = self.live.friends or [id_ for id_ in TOWN.known if id_ != self.account.id]
        return by_rank(others, random) if others else None

    def _text(self) -> str:
        """Log-normal in length: most are short, some are not."""
        words = min(int(random.lognormvariate(2, 1)) + 1, 300)
        return " ".join(random.choices(_WORDS, k=words))

    def _get(self, path: str, check: Any, kind: str = "", **more: Any) -> answers.Answer:
        more.setdefault("of", self.account)
        return self.asker.ask("GET", path, kind or path, check=check, **more)

    def _post(self, path: str, kind: str, body: Any, check: Any, **more: Any) -> Any:
        more = {"of": self.account, "accept": (201,), **more}
        return self.asker.ask("POST", path, kind, json=body, check=check, **more).body

    def _ask_or_accept(self, other: int) -> None:
        """Once we are friends, I find them among my friends."""
        if self._befriend(other) == "friends":
            self.live.add_friend(other)
            one = answers.begins_with(page(USER, ascending=True, limit=1), other)
            self._get(f"/friends?after={other - 1}&limit=1", one, "/friends")

    def _befriend(self, other: int, **more: Any) -> str:
        """Ask somebody to be a friend; the new status."""

        def check(body: Any) -> None:
            answers.need(body in _STATUSES, "not a status")

        more.setdefault("of", self.account)
        path, kind = f"/friends/{other}", "/friends/{id}"
        return str(self.asker.ask("PUT", path, kind, check=check, **more).body["status"])
