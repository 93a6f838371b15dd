"""/docs, /redoc and /openapi.json: made from ENDPOINTS, served from here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import PREFIX
from tests import wire
from tests.clients import Client

pytestmark = pytest.mark.one_database


@pytest.fixture
def schema(client: Client) -> Any:
    """The live one."""
    answer = client.get(f"{client.root}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_needs_nothing_from_elsewhere(client: Client, path: str) -> None:
    page = client.get(client.root + path)
    assert page.headers["content-type"].startswith("text/html")
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert assets
    assert not re.search(r"https?://|//cdn", page.text)
    for asset in assets:
        answer = client.get(client.root + asset)
        assert answer.status_code == 200, asset
        assert len(answer.content) > 100


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/nothing",
        "/../docs.py",
        "/%2e%2e%2fdocs.py",
        "/%00",
        "/a%00b",
        "/" + "x" * 5000,
        "/a/b",
    ],
)
def test_assets_that_are_not_there(client: Client, path: str) -> None:
    answer = wire.get(client.root, f"/static-offline-docs{path}".encode())
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_every_endpoint_is_described(schema: Any) -> None:
    described = {
        (method.upper(), path) for path, methods in schema["paths"].items() for method in methods
    }
    assert described == {(row.method, PREFIX + row.path) for row in ENDPOINTS}


def test_every_status_is_described(schema: Any) -> None:
    for row in ENDPOINTS:
        described = schema["paths"][PREFIX + row.path][row.method.lower()]["responses"]
        assert set(described) == {str(status) for status in row.every_status()}
        for status, response in described.items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]
            elif status in ("204", "304"):
                assert not response.get("content")
            else:
                assert list(response["content"]) == ["application/json"]


def test_who_needs_a_token_is_described(schema: Any) -> None:
    flow = schema["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]["password"]
    assert flow["tokenUrl"] == f"{PREFIX}/login"
    for row in ENDPOINTS:
        operation = schema["paths"][PREFIX + row.path][row.method.lower()]
        assert bool(operation.get("security")) == (not row.is_public), row.name


def test_every_reference_leads_somewhere(schema: Any) -> None:
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(schema)))
    assert references
    assert references <= set(schema["components"]["schemas"])
