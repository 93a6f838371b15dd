"""/docs, /redoc and /openapi.json: made from ENDPOINTS, served from here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hlfast.endpoints import ENDPOINTS
from hlfast.web.endpoint import PREFIX
from tests import wire
from tests.clients import Client
from tests.contract import PROBLEM_KEYS

pytestmark = pytest.mark.one_database


@pytest.fixture
def schema(client: Client) -> Any:
    """The OpenAPI document that the API serves."""
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


def test_no_reader_is_told_of_buttons_that_only_docs_has(client: Client) -> None:
    """The same text is read at /redoc, and in the comments of generated clients."""
    text = client.get(f"{client.root}/openapi.json").text
    assert not re.search(r"Swagger|\bAuthorize\b|Try it out|Execute|\block\b", text)


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


def test_public_operations_say_so(schema: Any) -> None:
    """In words that generators read: nothing at all would mean that nobody knows."""
    for row in ENDPOINTS:
        if row.is_public:
            assert schema["paths"][PREFIX + row.path][row.method.lower()]["security"] == []
    assert [server["url"] for server in schema["servers"]] == ["/"]


def kinds(described: Any) -> set[str]:
    """The types that a value may have, null apart."""
    choices = described.get("anyOf", [described])
    return {choice["type"] for choice in choices} - {"null"}


def test_next_is_what_its_parameter_takes(schema: Any) -> None:
    """A generated client passes it on without a cast."""
    lists = 0
    for row in ENDPOINTS:
        operation = schema["paths"][PREFIX + row.path][row.method.lower()]
        answer = operation["responses"].get("200", {}).get("content", {})
        reference = answer.get("application/json", {}).get("schema", {}).get("$ref", "")
        page = schema["components"]["schemas"].get(reference.rpartition("/")[2], {})
        cursor = page.get("properties", {}).get("next")
        if cursor is None:
            continue
        lists += 1
        taken = [one for one in operation["parameters"] if one["name"] in ("before", "after")]
        assert taken or row.path == "/users"
        for parameter in taken:
            assert kinds(parameter["schema"]) == kinds(cursor), row.path
    assert lists == 8


def test_everything_has_a_sentence_and_an_example(schema: Any) -> None:
    """Operations, parameters, fields and errors."""
    for row in ENDPOINTS:
        operation = schema["paths"][PREFIX + row.path][row.method.lower()]
        assert operation["description"].endswith("."), row.name
        for parameter in operation.get("parameters", []):
            assert parameter["description"].endswith("."), (row.name, parameter["name"])
            assert parameter["schema"]["examples"], (row.name, parameter["name"])
        for status, response in operation["responses"].items():
            # More than HTTP's own word for it.
            assert response["description"].endswith("."), (row.name, status)
            for content in response.get("content", {}).values():
                if int(status) >= 400:
                    assert content["example"]["status"] == int(status)
                    assert content["example"].keys() >= set(PROBLEM_KEYS)
    for name, described in schema["components"]["schemas"].items():
        assert described["description"].endswith("."), name
        for field, values in described["properties"].items():
            assert values["description"].endswith("."), (name, field)
            holds_others = "$ref" in values or values.get("type") == "array" or field == "next"
            assert holds_others or values["examples"], (name, field)


def test_examples_are_what_they_are_examples_of() -> None:
    """Each model takes one that is made of its fields' examples."""
    for row in ENDPOINTS:
        for model in (row.body, row.form, row.query):
            if model is None:
                continue
            fields = model.model_fields.items()
            one_way = {"before"} if {"before", "after"} <= model.model_fields.keys() else set()
            shown = {
                name: field.examples[0]
                for name, field in fields
                if field.examples and name not in one_way
            }
            if row.query is model:
                shown = {name: str(value) for name, value in shown.items()}
            assert model.model_validate(shown), row.name
