"""What others' programs make of the documents: linters find nothing, generators make clients of it.

Those clients compile, and page through every list.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.toolchains import npm_packages
from hl_utils.servers.process import START_S
from hl_utils.servers.services import Api
from tests.clients import PASSWORD, Client

HERE = Path(__file__).parent
TYPESCRIPT, PYTHON = HERE / "typescript", HERE / "python"
BUILD_S = 300.0
DOCUMENTS = ("openapi.json", "asyncapi.json")
LINTERS = {
    "redocly": ("lint", "--config", "redocly.yaml"),
    # It says so, too, where it does not know what kind of document it has.
    "spectral": ("lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint"),
}
# In CI a missing one fails the test instead.
ARE_OPTIONAL = "CI" not in os.environ
# Options by which openapi-generator makes names and imports that ECMAScript takes.
FETCH = {"importFileExtension": ".js", "modelPropertyNaming": "original", "paramNaming": "original"}

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(
        ARE_OPTIONAL and not (shutil.which("npm") and shutil.which("java")),
        reason="npm or Java is missing: install Node.js 20.19 with npm, and a Java runtime",
    ),
]


def run(
    directory: Path, *command: str | Path, timeout_s: float = START_S, **environment: str
) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def documents(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the service's own documents, npm's packages and what configures them."""
    npm_packages(TYPESCRIPT, ())
    directory = tmp_path_factory.mktemp("generated")
    for path in TYPESCRIPT.iterdir():
        if path.is_file():
            shutil.copy(path, directory)
    (directory / "node_modules").symlink_to(TYPESCRIPT / "node_modules")
    with Client(api.url) as anybody:
        for name in DOCUMENTS:
            (directory / name).write_bytes(anybody.get(f"{api.url}/{name}").content)
    return directory


@pytest.fixture(scope="module")
def generated(documents: Path) -> Path:
    """The directory, and in it all that generators make of OpenAPI."""
    directory = documents
    made = {
        "fetch": {"generatorName": "typescript-fetch", "additionalProperties": FETCH},
        "python": {"generatorName": "python"},
    }
    configurations = []
    for name, configuration in made.items():
        path = directory / f"{name}.json"
        path.write_text(
            json.dumps({"inputSpec": "openapi.json", "outputDir": name, **configuration})
        )
        configurations.append(path)
    found = find_spec("openapi_generator_cli")
    assert found is not None and found.origin is not None
    jar = Path(found.origin).with_name("openapi-generator.jar")
    run(directory, "java", "-jar", jar, "batch", *configurations, timeout_s=BUILD_S)
    # To have it tidied up by ruff costs more than to make it.
    (directory / "plain.json").write_text('{"post_hooks": []}')
    python_client = (sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning")
    named = ("--path", "openapi.json", "--output-path", "client", "--config", "plain.json")
    run(directory, *python_client, *named)
    return directory


@pytest.fixture(scope="module")
def compiled(generated: Path) -> Path:
    """The TypeScript of all of them, type-checked; tsconfig.json is strict."""
    programs = generated / "node_modules" / ".bin"
    run(generated, programs / "openapi-typescript", "openapi.json", "-o", "schema.d.ts")
    run(generated, programs / "openapi-ts", "-f", "hey.config.mjs", timeout_s=BUILD_S)
    run(generated, programs / "tsc", timeout_s=BUILD_S)
    return generated / "built"


@pytest.fixture(scope="module")
def me(api: Api) -> Iterator[Client]:
    """Somebody with more of everything than a page has."""
    with Client(api.url) as client:
        me = client.user(first_name="Generatia")
        friends = [client.user() for _ in range(3)]
        for friend in friends:
            me.befriend(friend)
            friend.write(privacy="friends")
            me.send_to(friend)
        for _ in range(2):
            friends[0].write()
            friends[0].send_to(me)
        for asked in [client.user() for _ in range(3)]:
            me.put(f"/friends/{asked.id}")
        for _ in range(2):
            client.user(first_name="Generatia")
        yield me


LISTS = {
    "friends": 3,
    "requests": 3,
    "search": 3,
    "wall": 3,
    "feed": 5,
    "messages": 3,
    "dialogs": 3,
    "several": 3,
}


@pytest.mark.parametrize("linter", LINTERS)
def test_linters_find_nothing(documents: Path, linter: str) -> None:
    """OpenAPI and AsyncAPI, by every rule but those that the linter's configuration names."""
    program = documents / "node_modules" / ".bin" / linter
    quiet = {"REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    run(documents, program, *LINTERS[linter], *DOCUMENTS, timeout_s=BUILD_S, **quiet)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("pages.js", id="openapi-typescript"),
        pytest.param("pages_hey.js", id="hey-api"),
        pytest.param("pages_fetch.js", id="openapi-generator"),
    ],
)
def test_typescript_pages_through_every_list(me: Client, compiled: Path, program: str) -> None:
    said = run(compiled, "node", program, me.root, me.username, PASSWORD)
    assert json.loads(said) == LISTS


@pytest.mark.parametrize(
    ("program", "folder"),
    [
        pytest.param("pages_openapi_generator.py", "python", id="openapi-generator"),
        pytest.param("pages_openapi_python_client.py", "client", id="openapi-python-client"),
    ],
)
def test_python_pages_through_every_list(
    me: Client, generated: Path, program: str, folder: str
) -> None:
    given = (me.root, me.username, PASSWORD)
    path = str(generated / folder)
    said = run(PYTHON, sys.executable, PYTHON / program, *given, PYTHONPATH=path)
    assert json.loads(said) == LISTS
