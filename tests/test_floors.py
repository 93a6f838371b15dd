"""The house: who may import whom, and what never happens."""

from __future__ import annotations

import ast
import asyncio
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import fastapi
import httpx
import pytest
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from hl_utils.servers.process import ROOT
from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import SECRET
from hlfast import api
from hlfast.endpoints import ENDPOINTS
from hlfast.metrics import Sampler
from hlfast.settings import Settings
from hlfast.web.admission import AdmissionControl
from hlfast.web.dispatch import Dispatch
from hlfast.web.edge import Edge, not_found
from hlfast.web.endpoint import PREFIX

# The one door to each library. What ends in a slash is a room.
DOORS = {
    "asyncpg": ["hlfast/db/postgres.py"],
    "aiomysql": ["hlfast/db/mysql.py"],
    "aio_pika": ["hlfast/events/rabbitmq.py", "hlfast/events/rabbitmq_stream.py"],
    "redis": ["hlfast/cache.py", "hlfast/events/redis.py"],
    "fastapi": ["hlfast/web/openapi.py"],
    "fastapi_offline": ["hlfast/web/openapi.py"],
    "picows": [
        "hlfast/ws.py",
        "hlfast/live/stream.py",
        "hlfast/live/upgrade.py",
        "hlfast/websocket/",
    ],
    "orjson": ["hlfast/codec.py"],
    "jwt": ["hlfast/auth/tokens.py"],
    "argon2": ["hlfast/auth/passwords.py"],
    "prometheus_client": ["hlfast/metrics.py"],
    "pydantic_settings": ["hlfast/settings/__init__.py"],
}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """Path below the root and syntax tree of every module of the service."""
    return [
        (str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "hlfast").rglob("*.py"))
    ]


def imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def names(tree: ast.Module) -> set[str]:
    """Every name and attribute that a module speaks of."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found |= set(node.name.split("."))
    return found


@pytest.mark.parametrize("library", DOORS)
def test_one_door_for_each_library(library: str) -> None:
    users = [path for path, tree in modules() if library in imported(tree)]
    doors = tuple(DOORS[library])
    assert [path for path in users if not path.startswith(doors)] == []
    if any((ROOT / door).exists() for door in doors):
        assert users


def reads_environment(tree: ast.Module) -> bool:
    """Whether a module looks into the environment; handing something down in it is not that."""
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    }
    return any(
        getattr(node, "attr", getattr(node, "id", "")) in ("environ", "environb", "getenv")
        and id(node) not in written
        for node in ast.walk(tree)
    )


def test_the_environment_is_read_in_one_place() -> None:
    assert [path for path, tree in modules() if reads_environment(tree)] == [
        "hlfast/settings/environment.py"
    ]


def test_no_base_http_middleware() -> None:
    """It makes a request and a response, and runs a task, for every call."""
    for path, tree in modules():
        assert "BaseHTTPMiddleware" not in names(tree), path


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on a tree."""
    program = (
        "from importlinter.cli import lint_imports;raise SystemExit(lint_imports(no_cache=True))"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def lint_changed(directory: Path, module: str, line: str) -> subprocess.CompletedProcess[str]:
    """import-linter on a copy of the tree in which a module has one more line."""
    for name in ("hlfast", "hl_utils"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    changed = directory / module
    changed.write_text(f"{changed.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    return lint(directory)


def test_imports_go_down_only() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hlfast/posts/service.py", "import hlfast.users.service"),
        ("hlfast/web/fields.py", "import hlfast.events.log"),
        ("hlfast/db/queries.py", "import hlfast.web.fields"),
        ("hlfast/codec.py", "import hlfast.web.request"),
        ("hlfast/users/service.py", "import hlfast.endpoints"),
        ("hlfast/api.py", "import hl_utils"),
        ("hl_utils/servers/redis.py", "import hl_utils.embedded.redis"),
    ],
)
def test_an_import_that_goes_up_or_across_is_found(tmp_path: Path, module: str, line: str) -> None:
    done = lint_changed(tmp_path, module, line)
    assert done.returncode != 0
    assert line.removeprefix("import ") in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hlfast/live/session.py", "import hlfast.live.node"),
        ("hlfast/websocket/write_queue.py", "import hlfast.websocket.connection"),
        ("hlfast/events/outbox.py", "import hlfast.events.sweeper"),
    ],
)
def test_a_circle_is_found(tmp_path: Path, module: str, line: str) -> None:
    done = lint_changed(tmp_path, module, line)
    assert done.returncode != 0
    assert "import each other BROKEN" in done.stdout


def test_no_import_is_for_types_only() -> None:
    """It would hide a circle."""
    for path, tree in modules():
        assert "TYPE_CHECKING" not in names(tree), path


def test_every_room_is_on_a_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    listed = {
        name for layer in layers for name in layer.replace("|", " ").replace(":", " ").split()
    }
    rooms = {
        f"hlfast.{path.stem}"
        for path in (ROOT / "hlfast").iterdir()
        if path.stem not in ("__init__", "__pycache__") and path.suffix != ".md"
    }
    assert rooms | {"hl_utils"} == listed


def importing_tests(root: Path) -> list[str]:
    """The modules of a tree that import the tests, though they are none."""
    return [
        str(path.relative_to(root))
        for room in ("bench", "hl_utils", "hlfast")
        for path in sorted((root / room).rglob("*.py"))
        if "tests" in imported(ast.parse(path.read_text(encoding="utf-8")))
    ]


def test_only_tests_import_tests() -> None:
    assert importing_tests(ROOT) == []


@pytest.mark.parametrize("room", ["bench/live", "hl_utils", "hlfast/web"])
@pytest.mark.parametrize(
    "line",
    [
        "import tests.wire",
        "import json, tests.wire as wire",
        "from tests import wire",
        "from tests.clients import Client",
        "def load():\n    from tests.clients import Client",
    ],
)
def test_an_import_of_the_tests_is_found(tmp_path: Path, room: str, line: str) -> None:
    (tmp_path / room).mkdir(parents=True)
    (tmp_path / room / "sound.py").write_text("from hl_utils import tests\nimport testsuite\n")
    (tmp_path / room / "new.py").write_text(f"{line}\n")
    assert importing_tests(tmp_path) == [f"{room}/new.py"]


@pytest.mark.one_database
def test_no_api_call_enters_fastapi(
    migrated_database_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []
    original = fastapi.FastAPI.__call__

    async def watched(app: fastapi.FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
        entered.append(scope["path"])
        await original(app, scope, receive, send)

    monkeypatch.setattr(fastapi.FastAPI, "__call__", watched)
    settings = Settings(
        database_url=migrated_database_url,
        redis_url=redis_server.url,
        secret=SECRET,
        database_pool_size=1,
    )
    seen = asyncio.run(_ask_everything(settings))
    assert entered == ["/docs"]  # which shows that entering would have been seen
    assert seen == {401, 404, 422}


async def _ask_everything(settings: Settings) -> set[int]:
    statuses = set()
    async with api.open_service(settings) as service:
        sampler = Sampler()
        others = Router(
            api.other_routes(service, sampler), default=not_found, redirect_slashes=False
        )
        dispatch = Dispatch(PREFIX, others)
        admission = AdmissionControl(settings)
        dispatch.add(api.api_paths(service, sampler, admission))
        app = Edge(dispatch, admission)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for row in ENDPOINTS:
                path = PREFIX + row.path.replace("{id}", "1").replace("{user_id}", "1")
                answer = await client.request(row.method, path, json={} if row.body else None)
                statuses.add(answer.status_code)
            for path in (PREFIX, f"{PREFIX}/", f"{PREFIX}/nothing", f"{PREFIX}/docs"):
                statuses.add((await client.get(path)).status_code)
            assert (await client.get("/docs")).status_code == 200
    return statuses
