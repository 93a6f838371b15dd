"""The service and its own description, held against each other by requests made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from hl_utils.servers.redis import RedisServer
from hl_utils.servers.services import Api
from hl_utils.servers.sql import SqlServer, rows, skip_user_ids
from hlfast.endpoints import ENDPOINTS
from hlfast.web.docs import ASSETS, INFO
from hlfast.web.endpoint import PREFIX, Endpoint
from hlfast.web.openapi import documentation
from tests.clients import Client
from tests.conftest import TEMPLATE, new_database
from tests.http import get

if TYPE_CHECKING:
    import schemathesis
    from requests import Session

# Of the profile; beside them come all the limits and omissions that the schema suggests.
EXAMPLES = settings().max_examples
# Small ids are what is asked for most: there are so many users, posts and dialogs.
PEOPLE = 12
# Of those who ask, so that they do not meet themselves, which no schema can forbid.
FAR_ID = 2_000_000_000


@dataclass(slots=True)
class Described:
    """An API with something in it, and who asks."""

    api: Api
    me: Client
    superuser: Client
    # Where requests go through: a connection for each would cost more than its answer.
    session: Session


@pytest.fixture(scope="module")
def described(database_server: SqlServer, redis_server: RedisServer) -> Iterator[Described]:
    from requests import Session

    database = new_database(database_server, TEMPLATE)
    with (
        # A database of Redis for itself. The example of a login fails here so often that the other
        # services of these tests, which count by name, would refuse whoever has the name.
        Api(database, f"{redis_server.url}?db=1") as api,
        Client(api.url) as anybody,
        Session() as session,
    ):
        # Or each request would look for a proxy in all of the environment.
        session.trust_env = False
        people = [anybody.user() for _ in range(PEOPLE)]
        skip_user_ids(database, FAR_ID)
        me, superuser = anybody.user(), anybody.user()
        promote = 'UPDATE "user" SET is_superuser = true WHERE id = $1'
        rows(database, promote, superuser.id)
        for number, person in enumerate(people):
            person.post("/posts", json={"content": "theirs", "privacy": "friends"})
            me.post("/posts", json={"content": "mine"})
            person.post(f"/dialogs/{me.id}/messages", json={"content": "hi"})
            if number % 3:
                me.put(f"/friends/{person.id}")
            if number % 2:
                person.put(f"/friends/{me.id}")
        yield Described(api, me, superuser, session)
        assert "Traceback" not in api.log
        for client in (*people, me, superuser):
            client.close()


@cache
def description() -> dict[str, Any]:
    """What the requests are made from."""
    return documentation(ENDPOINTS, INFO, ASSETS).openapi()


@cache
def schema() -> Any:
    """The description as schemathesis sees it."""
    import schemathesis

    return schemathesis.openapi.from_dict(description())


@cache
def requests(row: Endpoint, examples: int) -> Callable[..., None]:
    """Asks an endpoint, again and again.

    Made when it is run: to make all of them takes seconds, and every process collects tests.
    """
    from schemathesis.checks import load_all_checks
    from schemathesis.generation.feedback import FeedbackSources
    from schemathesis.pytest._test_builder import build_operation_test

    def run(case: schemathesis.Case, described: Described, client: Client | None) -> None:
        check(case, described, client)

    load_all_checks()
    run_often: Callable[..., None] = build_operation_test(
        config=schema().config,
        operation=schema()[PREFIX + row.path][row.method],
        test_func=settings(max_examples=examples)(run),
        given_kwargs={},
        feedback=FeedbackSources(),
    )
    return run_often


def test_the_live_description_is_the_one_that_the_requests_are_made_from(
    described: Described,
) -> None:
    assert get(f"{described.api.url}/openapi.json").json() == description()
    operations = [result.ok().label for result in schema().get_all_operations()]
    assert sorted(operations) == sorted(f"{row.method} {PREFIX}{row.path}" for row in ENDPOINTS)


def aim(case: schemathesis.Case) -> None:
    """Turn every second id into one that there is; what is there is not deleted thereby."""
    for name, value in case.path_parameters.items():
        if isinstance(value, int) and value > PEOPLE and value % 2 and case.method != "DELETE":
            case.path_parameters[name] = value % PEOPLE + 1


def check(case: schemathesis.Case, described: Described, client: Client | None) -> None:
    """Ask, and hold the answer against every check that there is."""
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    aim(case)
    headers = {"Authorization": client.headers["Authorization"]} if client else {}
    response = case.call(base_url=described.api.url, headers=headers, session=described.session)
    excluded = []
    if response.status_code == 422:
        errors = response.json()["errors"]
        # Parameters that are good one by one but not together cannot be described, nor what people
        # see and can type.
        if [error["loc"] for error in errors] == [["query"]] or all(
            error["type"] in ("invisible", "marks", "password_characters")
            # To a schema 1.0 is an integer.
            or (error["type"] == "int_type" and isinstance(case.body[error["loc"][1]], float))
            for error in errors
        ):
            excluded.append(positive_data_acceptance)
    case.validate_response(
        response,
        headers=headers,
        excluded_checks=excluded,
        transport_kwargs={"base_url": described.api.url, "headers": headers},
    )


every_row = pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)


@every_row
def test_a_user_gets_what_is_described(row: Endpoint, described: Described) -> None:
    requests(row, EXAMPLES // 4)(described=described, client=described.me)


@every_row
def test_a_superuser_gets_what_is_described(row: Endpoint, described: Described) -> None:
    requests(row, EXAMPLES // 10)(described=described, client=described.superuser)


@every_row
def test_somebody_without_a_token_gets_what_is_described(
    row: Endpoint, described: Described
) -> None:
    requests(row, EXAMPLES // 10)(described=described, client=None)
