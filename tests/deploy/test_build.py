"""What `bash build.sh test` does before any test: it is polite about what it installs."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from hl_utils.servers.process import ROOT

_TOOLS = ("bash", "cat", "cmp", "cp", "dirname", "env", "getconf", "grep", "mv", "uname")
_LOCKS = ("requirements.txt", "requirements-test.txt")
_PIP = "requirements-pip.txt"


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
        shutil.copy(ROOT / _PIP, directory)

    def forget(self, *, has_pip: bool) -> None:
        """There is no virtual environment any more, but a Python that makes one.

        Whether the index that its pip asks has pip itself.
        """
        python = self.directory / "of-a-new-environment"
        refusal = "" if has_pip else f"; [[ $* != *{_PIP} ]]"
        self._program(python, f'echo "python $*" >>{self.log}{refusal}')
        shutil.rmtree(self.directory / ".venv")
        mkdir, cp = shutil.which("mkdir"), shutil.which("cp")
        made = f'{mkdir} -p "$4/bin" && {cp} {python} "$4/bin/python"'
        self._program(self.programs / "python3", f"[ $2 != venv ] || {{ {made}; }}")

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


def test_only_what_the_service_needs_is_compiled_beforehand(machine: Machine) -> None:
    """Of the tests' packages, that is what is imported, as it is."""
    for lock in _LOCKS:
        (machine.directory / ".venv" / lock).write_text("of before")
    done = machine.test("--quick")
    assert done.returncode == 0, done.stderr
    service, tests, _ = machine.calls
    for pip in (service, tests):
        assert pip.startswith("python -m pip install ")
        assert " --require-hashes --only-binary :all: " in pip
    assert service.endswith("/requirements.txt") and "--no-compile" not in service
    assert tests.endswith("/requirements-test.txt") and " --no-compile " in tests
    for lock in _LOCKS:
        assert (machine.directory / ".venv" / lock).read_text() == (ROOT / lock).read_text()


@pytest.mark.parametrize("has_pip", [True, False])
def test_a_new_environment_gets_a_new_pip_where_there_is_one(
    machine: Machine, has_pip: bool
) -> None:
    """Not every index of somebody's own has it; then the one of that Python has to do."""
    machine.forget(has_pip=has_pip)
    done = machine.test("--quick")
    assert done.returncode == 0, done.stderr
    pips = [call for call in machine.calls if call.startswith("python -m pip ")]
    assert [call.rpartition("/")[2] for call in pips] == [
        _PIP,
        "requirements.txt",
        "requirements-test.txt",
    ]
    assert all(" --require-hashes --only-binary :all: " in call for call in pips)
    assert ("Going on with the pip of this Python" in done.stdout) is not has_pip
    assert (machine.directory / ".venv" / _PIP).exists() is has_pip
    assert "Installing requirements-test.txt" in done.stdout


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
