"""What the changelog says of a version: `python .ci/release_notes.py v0.1.0`.

Ends with 1 where the tag is not the version of pyproject.toml, or the changelog says nothing of it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(tag: str) -> str:
    """The section of a tag's version. Raises SystemExit with the reason."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if tag != f"v{version}":
        raise SystemExit(f"the tag {tag} is not v{version}, the version of pyproject.toml")
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    for section in sections:
        title, _, text = section.partition("\n")
        if title.split(" ")[0] == version and text.strip():
            return text.strip()
    raise SystemExit(f"CHANGELOG.md has no section of {version}")


if __name__ == "__main__":
    print(notes(sys.argv[1]))
