"""Which core is whose: server, load and database apart where there are enough."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server runs, the load, and the databases."""

    server: int
    load: int
    databases: frozenset[int]

    @classmethod
    def of_machine(cls) -> Self:
        """The cores that this process may use."""
        return cls.of(sorted(os.sched_getaffinity(0)))

    @classmethod
    def of(cls, cores: list[int]) -> Self:
        """Two are shared by load and databases; one by all."""
        match cores:
            case [only]:
                return cls(only, only, frozenset({only}))
            case [first, second]:
                return cls(first, second, frozenset({second}))
            case [first, second, *others]:
                return cls(first, second, frozenset(others))
        raise ValueError("A machine without cores")

    @property
    def all(self) -> list[int]:
        """The cores of the server, the load and the databases, each once."""
        return sorted({self.server, self.load, *self.databases})

    def __str__(self) -> str:
        databases = ", ".join(map(str, sorted(self.databases)))
        return f"server on core {self.server}, load on {self.load}, databases on {databases}"
