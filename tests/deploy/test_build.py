"""What `bash build.sh test` does before any test: it is polite about what it installs."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT

_TOOLS = ("bash", "cat", "cmp", "cp", "dirname", "env", "getconf", "grep", "mv", "uname")
_LOCKS = ("requirements.txt", "requirements-test.txt")


class Machine:
    """A copy of build.sh on a machine where nothing is installed but what it made itself.

    `calls` are those of apt-get and of the virtual environment's Python, neither of which does
    anything.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "calls"
        self.programs = directory / "programs"
        self.programs.mkdir()
        for tool in _TOOLS:
            (self.programs / tool).symlink_to(str(shutil.which(tool)))
        self._program(self.programs / "id", "echo 0")
        self._program(self.programs / "apt-get", f'echo "apt-get $*" >>{self.log}')
        (directory / ".venv" / "bin").mkdir(parents=True)
        self._program(directory / ".venv" / "bin" / "python", f'echo "python $*" >>{self.log}')
        shutil.copy(ROOT / "build.sh", directory)
        for lock in _LOCKS:
            for place in (directory, directory / ".venv"):
                shutil.copy(ROOT / lock, place)

    @staticmethod
    def _program(path: Path, line: str) -> None:
        path.write_text(f"#!{shutil.which('bash')}\n{line}\n")
        path.chmod(0o755)

    def test(
        self, *arguments: str, answer: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`bash build.sh test`; at a terminal, where an answer is typed, if one is given."""
        master, slave = pty.openpty()
        try:
            os.write(master, f"{answer}\n".encode())
            return subprocess.run(
                ["bash", str(self.directory / "build.sh"), "test", *arguments],
                env={"PATH": str(self.programs), **environment},
                stdin=slave if answer else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            os.close(master)
            os.close(slave)

    def build(self) -> str:
        """What `bash build.sh` says last."""
        done = subprocess.run(
            ["bash", str(self.directory / "build.sh")],
            env={"PATH": str(self.programs)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()[-1]

    @property
    def calls(self) -> list[str]:
        """What was called, without what asks where packages lie."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if not line.startswith(("python -c", "import "))]

    @property
    def installed(self) -> list[str]:
        """The packages that apt-get was asked to install."""
        lines = [line for line in self.calls if line.startswith("apt-get install")]
        return [word for line in lines for word in line.split()[2:] if not word.startswith("-")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_help_does_nothing_else(machine: Machine) -> None:
    shutil.rmtree(machine.directory / ".venv")
    done = machine.test("--help")
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout and "--repeat" in done.stdout
    assert machine.calls == []
    assert not (machine.directory / ".venv").exists()


def test_quick_installs_no_package(machine: Machine) -> None:
    done = machine.test("--quick")
    assert done.returncode == 0, done.stderr
    assert machine.installed == []
    [call] = machine.calls
    assert call.startswith("python -m pytest --numprocesses ") and call.endswith(" --quick")


def test_packages_are_named_with_their_use_before_they_are_installed(machine: Machine) -> None:
    done = machine.test(CI="true")
    assert done.returncode == 0, done.stderr
    assert {"chromium", "golang-go", "prometheus"} <= set(machine.installed)
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    for package in machine.installed:
        assert len(lines[package]) > len("use"), package
    assert machine.calls[-1].startswith("python -m pytest --numprocesses ")


@pytest.mark.parametrize(("answer", "installs"), [("y", True), ("n", False), ("", False)])
def test_at_a_terminal_it_asks(machine: Machine, answer: str, installs: bool) -> None:
    done = machine.test(answer=answer or "\n")
    assert bool(machine.installed) is installs
    assert (done.returncode == 0) is installs
    if not installs:
        assert "--quick" in done.stderr
        assert machine.calls == []


def test_who_is_not_root_reads_why(machine: Machine) -> None:
    machine._program(machine.programs / "id", "echo 1000")
    done = machine.test(CI="true")
    assert done.returncode == 1
    assert "chromium" in done.stdout and "--quick" in done.stderr
    assert machine.calls == []


def test_pip_is_quiet_at_a_terminal_too(machine: Machine) -> None:
    """One line says what is installed and how long that takes."""
    (machine.directory / ".venv" / "requirements-test.txt").unlink()
    done = machine.test("--quick", answer="y")
    assert done.returncode == 0, done.stderr
    [pip] = [call for call in machine.calls if call.startswith("python -m pip install ")]
    assert " --quiet " in pip
    assert "Installing requirements-test.txt" in done.stdout


def _locked(lock: str) -> set[tuple[str, str, str]]:
    """The name, version and hashes of each package."""
    pin = re.compile(r"^(\S+)==([^\s;]+).*\n((?: +--hash=.*\n)+)", re.MULTILINE)
    return {(name, version, hashes) for name, version, hashes in pin.findall(lock)}


def test_one_pip_installs_everything_and_all_cores_compile_it(machine: Machine) -> None:
    """The tests' lock file has all that the service's has, which is noted as installed, too."""
    service, tests = (_locked((ROOT / lock).read_text()) for lock in _LOCKS)
    assert service and service < tests
    installed = [machine.directory / ".venv" / lock for lock in _LOCKS]
    for copy in installed:
        copy.write_text("of before")
    done = machine.test("--quick")
    assert done.returncode == 0, done.stderr
    pip, compiled, _ = machine.calls
    assert pip.startswith("python -m pip install ")
    assert " --require-hashes --only-binary :all: --no-compile " in pip
    assert pip.endswith("/requirements-test.txt")
    assert compiled.startswith("python -m compileall ") and " -j 0 " in compiled
    assert [copy.read_text() for copy in installed] == [
        (ROOT / lock).read_text() for lock in _LOCKS
    ]


def test_arguments_are_pytests(machine: Machine) -> None:
    """A part of the tests runs in one process."""
    done = machine.test("--quick", "tests/posts", "-k", "wall and not x")
    assert done.returncode == 0, done.stderr
    assert machine.calls == ["python -m pytest --quick tests/posts -k wall and not x"]


def test_many_runs(machine: Machine) -> None:
    done = machine.test("--quick", "--repeat", "8")
    assert done.returncode == 0, done.stderr
    [call] = machine.calls
    assert call.startswith("python -m tests.repeat 8 --numprocesses ")
    assert machine.test("--repeat", "none").returncode == 1


def test_a_build_ends_with_the_command_that_fits(machine: Machine) -> None:
    """Compose where an image was built, and `up` where there is no Docker, or none that answers."""
    assert machine.build() == "Built. Run it: bash build.sh up"
    (machine.directory / "Dockerfile").touch()
    assert machine.build() == "Built. Run it: bash build.sh up"
    machine._program(machine.programs / "docker", "exit 1")
    assert machine.build() == "Built. Run it: bash build.sh up"
    machine._program(machine.programs / "docker", f'echo "docker $*" >>{machine.log}')
    assert machine.build().startswith("Built. Run it: docker compose up -d, or ")
    assert "docker build --tag hlfast" in "".join(machine.calls)
