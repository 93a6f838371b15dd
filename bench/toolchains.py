"""Peers that are not Python are built here when they are first needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_NODE = "install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)"
# Go's proxy of modules is not asked: the sources are Debian's, below /usr/share/gocode.
GO_PACKAGES = (
    "golang-github-jackc-pgx-v4-dev",
    "golang-github-golang-jwt-jwt-dev",
    "golang-golang-x-crypto-dev",
    "golang-golang-x-text-dev",
)
_GO = f"install Go and Debian's {', '.join(GO_PACKAGES)} (apt-get install golang-go ...)"
# No C compiler is needed either.
_GO_ENVIRONMENT = {
    "GO111MODULE": "off",
    "GOPATH": "/usr/share/gocode",
    "GOFLAGS": "",
    "CGO_ENABLED": "0",
}


class MissingProgram(RuntimeError):
    """What has to be installed first."""


def npm_packages(directory: Path, names: Sequence[str]) -> dict[str, str]:
    """`npm ci` in a directory, unless that is done. Gives the versions of Node.js and of packages.

    Raises MissingProgram.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise MissingProgram(f"{program} is missing: {_NODE}")
    wanted = (directory / "package-lock.json").read_bytes()
    # npm writes down what it installed; ours says from which lock file.
    installed = directory / "node_modules" / "installed-package-lock.json"
    if not installed.exists() or installed.read_bytes() != wanted:
        _run(["npm", "ci", "--no-audit", "--no-fund"], directory, {"NODE_ENV": "production"})
        installed.write_bytes(wanted)
    packages = json.loads(wanted)["packages"]
    versions = {f"npm {name}": packages[f"node_modules/{name}"]["version"] for name in names}
    return {"node": _run(["node", "--version"], directory).strip().removeprefix("v"), **versions}


def go_program(directory: Path, target: Path) -> dict[str, str]:
    """`go build` of a directory, which knows itself what is to be done. Gives the versions.

    Raises MissingProgram.
    """
    if shutil.which("go") is None:
        raise MissingProgram(f"go is missing: {_GO}")
    try:
        _run(["go", "build", "-o", str(target), "."], directory, _GO_ENVIRONMENT)
    except MissingProgram as error:
        raise MissingProgram(f"{error}\nIf packages are missing: {_GO}") from None
    versions = {"go": _run(["go", "env", "GOVERSION"], directory).strip().removeprefix("go")}
    pgx, *_ = GO_PACKAGES
    versions["pgx"] = _run(["dpkg-query", "--show", "--showformat=${Version}", pgx], directory)
    return versions


def _run(argv: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise MissingProgram(f"{' '.join(argv)} failed in {directory}:\n{done.stderr[-2000:]}")
    return done.stdout
