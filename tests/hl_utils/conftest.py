"""Where the servers' user gets to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that the servers' user gets into: pytest's own it does not, under root."""
    path = Path(tempfile.mkdtemp(prefix="hlfast-up-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
