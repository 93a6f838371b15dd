"""Requests of which every answer is checked and counted, under the kind of request that it is."""

from __future__ import annotations

import random
import time
from collections.abc import Collection
from typing import Any

import gevent
from answers import TOKENS, USER, Answer, Check, Wrong, has, read
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import RescheduleTask
from town import PASSWORD, Account

# Added to a kind when it is about a star.
STAR = " (star)"
_BUSY = (429, 503)
_PATIENCE_MAX_S = 10.0
# Of an access token's life.
_RENEWED_AFTER = 0.8


class Asker:
    """Asks the API for one person, over their own connections."""

    def __init__(self, session: FastHttpSession) -> None:
        self._session = session

    def ask(
        self,
        method: str,
        path: str,
        kind: str,
        *,
        of: Account | None = None,
        accept: Collection[int] = (200,),
        check: Check | None = None,
        is_star: bool = False,
        headers: dict[str, str] | None = None,
        **what: Any,
    ) -> Answer:
        """The answer, if it is right.

        Raises RescheduleTask when it is wrong, which has been counted then; a busy service has
        been given the time that it asked for.
        """
        headers = dict(headers or {})
        if of is not None:
            self.renew(of)
            headers["Authorization"] = f"Bearer {of.token}"
        name = kind + STAR if is_star else kind
        with self._session.request(
            method, f"/api/v1{path}", name=name, catch_response=True, headers=headers, **what
        ) as response:
            try:
                answer = read(response, accept, check)
                # Some of what is accepted Locust would take for an error.
                response.success()
                return answer
            except Wrong as wrong:
                response.failure(str(wrong))
        if response.status_code in _BUSY:
            asked_s = float(response.headers.get("retry-after") or 1)
            gevent.sleep(min(asked_s, _PATIENCE_MAX_S) * random.uniform(1, 2))
        raise RescheduleTask

    def arrive(self, account: Account) -> None:
        """Register, unless an earlier run has, and log in."""
        self.ask(
            "POST",
            "/users",
            "/users",
            json={
                "username": account.username,
                "password": PASSWORD,
                "first_name": account.first_name,
                "last_name": account.last_name,
            },
            accept=(201, 409),
            check=has(USER, username=account.username),
        )
        form = {"username": account.username, "password": PASSWORD}
        self._log_in(account, form, "/login")
        me = self.ask(
            "GET",
            "/users/me",
            "/users/me",
            of=account,
            check=has(USER, username=account.username),
        )
        account.id = me.body["id"]

    def renew(self, account: Account) -> None:
        """A fresh token, if the old one gets old."""
        if time.monotonic() < account.renew_at:
            return
        # Whoever else is about to ask need not.
        account.renew_at = time.monotonic() + _PATIENCE_MAX_S
        form = {"grant_type": "refresh_token", "refresh_token": account.refresh_token}
        self._log_in(account, form, "/login (refresh)")

    def _log_in(self, account: Account, form: dict[str, str], kind: str) -> None:
        pair = self.ask(
            "POST", "/login", kind, data=form, check=has(TOKENS, token_type="bearer")
        ).body
        account.token, account.refresh_token = pair["access_token"], pair["refresh_token"]
        account.renew_at = time.monotonic() + pair["expires_in"] * _RENEWED_AFTER
