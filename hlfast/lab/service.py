"""The laboratory of one process: its numbers for superusers, and switches that they may flip."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

from hlfast import errors
from hlfast.auth.account import AccountStatus
from hlfast.lab.schemas import LabNumbers, LabReport, LabSwitches
from hlfast.settings import Settings

logger = logging.getLogger(__name__)

Switch = Callable[[bool], None]


class Lab:
    """Numbers and switches of this process, while HLFAST_LAB is on.

    `status_of` looks a user up; `numbers` reads what there is; `switches` has those methods that
    can be switched here. Nothing is written down: a process that starts has its settings.
    """

    def __init__(
        self,
        settings: Settings,
        status_of: Callable[[int], Awaitable[AccountStatus | None]],
        numbers: Callable[[], LabNumbers],
        switches: Mapping[str, Switch],
    ) -> None:
        self._is_on = settings.lab
        self._status_of = status_of
        self._numbers = numbers
        self._switches = switches
        tuning = settings.tuning.model_dump()
        self._state = {name: name in switches and tuning[name] for name in LabSwitches.model_fields}
        self._process = f"{socket.gethostname()}-{os.getpid()}"

    async def look(self, me: int) -> LabReport:
        """The report of now. Raises errors.Forbidden, NotFound where it is off."""
        await self._admit(me)
        return self._report()

    async def flip(self, me: int, wanted: Mapping[str, bool]) -> LabReport:
        """Switch methods on or off; all of them or none.

        Raises errors.Forbidden, NotFound, and Conflict for a method that can't be switched here.
        """
        await self._admit(me)
        for name, is_on in wanted.items():
            if name not in self._switches and is_on:
                raise errors.Conflict(f"{name} does nothing here: neither system nor database can.")
        for name, is_on in wanted.items():
            if self._state[name] != is_on:
                self._switches[name](is_on)
                self._state[name] = is_on
                logger.warning("%s is %s, says user %d", name, "on" if is_on else "off", me)
        return self._report()

    async def _admit(self, me: int) -> None:
        status = await self._status_of(me)
        if status is None or not status.is_superuser:
            raise errors.Forbidden("Only a superuser may do this.")
        if not self._is_on:
            raise errors.NotFound("The laboratory is off: HLFAST_LAB=true lets superusers in.")

    def _report(self) -> LabReport:
        switches = LabSwitches.model_validate(self._state)
        return LabReport(process=self._process, numbers=self._numbers(), switches=switches)
