"""Whatever the pages tell to run or to look at is there: README.md, and every other page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from hl_utils.servers.process import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAM = re.compile(r"(?:bash|python|docker|haproxy|systemctl) ")
_PATH = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w-]+\.(?:sh|py|yml|yaml|cfg|toml|txt))(?![\w/])")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
# A name in code that is a path of this repository: it has a folder of ours, or is a page.
_NAMED = re.compile(
    r"(?:(?:\.ci|\.github|bench|citus|compose|haproxy|hl_utils|hlfast|rabbitmq|sql|tests)/[\w./-]*"
    r"|[A-Z]+\.md)"
)
# Where a command of a page may be run: a container's working directory is the second one.
PLACES = (ROOT, ROOT / "hl_utils")
# What is made by a command, and is in no checkout.
MADE = {"compose/initdb/users.sql"}
_NOT_OURS = {"build", "node_modules", "results"}


def _pages() -> list[str]:
    """Each page of the checkout, by its path. Hidden folders are caches, but for .github."""
    folders = (path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    found = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")]
    found += [path for folder in folders for path in folder.rglob("*.md")]
    paths = (path.relative_to(ROOT) for path in found)
    ours = (path for path in paths if not _NOT_OURS & {*path.parts})
    # Of a page that is made, the template is not checked beside it.
    return sorted(str(path) for path in ours if not path.name.endswith(".in.md"))


PAGES = _pages()


@cache
def text_of(page: str) -> str:
    """A page as it is."""
    return (ROOT / page).read_text(encoding="utf-8")


def outside(page: str) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", text_of(page))


def commands(page: str) -> list[str]:
    """Each line of the page's shell blocks, and each command in its text."""
    blocks = [body for language, body in _BLOCK.findall(text_of(page)) if language == "sh"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return lines + [code for code in _codes(page) if _PROGRAM.match(code)]


def _codes(page: str) -> list[str]:
    return [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", outside(page))]


EVERY_COMMAND = [line for page in PAGES for line in commands(page)]


def test_there_are_pages_and_commands() -> None:
    assert {"README.md", "CONTRIBUTING.md", "hlfast/SETTINGS.md", "bench/README.md"} <= {*PAGES}
    assert len(EVERY_COMMAND) > 100


def test_the_first_page_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 150


@cache
def _verbs() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "hl_utils", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"^    ([a-z]+)\b", done.stdout, re.MULTILINE)) | {"test", "bench", "lab"}


def test_every_verb_of_build_sh_exists() -> None:
    used = {m for line in EVERY_COMMAND for m in re.findall(r"build\.sh ([a-z]+)", line)}
    assert "up" in used
    assert used <= _verbs()


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_of_hlfast_exists(page: str) -> None:
    used = {m for code in _codes(page) for m in re.findall(r"^hlfast ([a-z]+)", code)}
    assert used <= _verbs()


def test_every_module_that_is_run_exists() -> None:
    used = {m for line in EVERY_COMMAND for m in re.findall(r"python -m ([\w.]+)", line)}
    assert "bench.compare" in used
    for module in used:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("path", sorted({m for line in EVERY_COMMAND for m in _PATH.findall(line)}))
def test_every_file_exists(path: str) -> None:
    assert any((place / path).exists() for place in PLACES) or path in MADE, path


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_in_code_exists(page: str) -> None:
    for code in _codes(page):
        if _NAMED.fullmatch(code):
            assert [*ROOT.glob(code.rstrip("/"))] or code in MADE, code


def test_every_service_of_a_compose_command_exists() -> None:
    files = [*Path(ROOT, "compose").glob("*.yml"), *Path(ROOT, "compose/citus").glob("*.yml")]
    text = "".join(path.read_text() for path in files)
    services = set(re.findall(r"^  ([a-z][a-z0-9-]*):$", text, re.MULTILINE))
    lines = [line for line in EVERY_COMMAND if line.startswith("docker compose")]
    named = re.compile(
        r"(?:exec|kill -s USR2|stop|up -d) (?:--index \d+ )?([a-z]\w*)|--scale (\w+)="
    )
    used = {one or other for line in lines for one, other in named.findall(line)}
    assert used and used <= services


def _anchors(page: str) -> set[str]:
    """What GitHub calls the page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", outside(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _links(page: str) -> list[str]:
    """What the page links to of its own repository."""
    found = (link for pair in _LINK.findall(outside(page)) for link in pair)
    return [unquote(link) for link in found if link and not re.match(r"[a-z]+:", link)]


def _target(page: str, link: str) -> tuple[str, str]:
    """The file that a link leads to, and the heading."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    return str(target.resolve().relative_to(ROOT.resolve())), anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in _links(page):
        target, anchor = _target(page, link)
        assert (ROOT / target).exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_links_lead_from_the_first_page_to_every_other() -> None:
    reached, new = set(), {"README.md"}
    while new:
        reached |= new
        new = {_target(page, link)[0] for page in new for link in _links(page)}
        new = (new & {*PAGES}) - reached
    # Templates are for the host; what has a small name is a part of another page.
    pages = {page for page in PAGES if not page.startswith(".github/")}
    assert {page for page in pages if Path(page).stem.isupper()} <= reached
