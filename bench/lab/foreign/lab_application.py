"""Somebody else's ASGI application with methods that need no change of its code.

Imported in their interpreter, as `lab_application:app`: needs nothing but Python's library. Read
from the environment: LAB_TARGET (`package.module:app`), LAB_METHODS.
"""

from __future__ import annotations

import gc
import importlib
import os
import threading

METHODS = os.environ.get("LAB_METHODS", "").split(",")
# As the service itself has it.
_COLLECTED_AFTER = 20_000
# By then everything is imported and started.
_FROZEN_AFTER_S = 1.0


def _load():
    module, _, name = os.environ["LAB_TARGET"].partition(":")
    found = importlib.import_module(module)
    for part in (name or "app").split("."):
        found = getattr(found, part)
    return found() if os.environ.get("LAB_FACTORY") else found


def _freeze():
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


def _answer_by_orjson(application):
    """FastAPI's default_response_class, of the routes that name none themselves."""
    from fastapi.datastructures import DefaultPlaceholder  # noqa: PLC0415 (theirs, if they have it)
    from fastapi.responses import ORJSONResponse  # noqa: PLC0415
    from fastapi.routing import APIRoute, request_response  # noqa: PLC0415

    for route in application.routes:
        if isinstance(route, APIRoute) and isinstance(route.response_class, DefaultPlaceholder):
            route.response_class = ORJSONResponse
            route.app = request_response(route.get_route_handler())


app = _load()
if "orjson-response" in METHODS:
    _answer_by_orjson(app)
if "frozen-gc" in METHODS:
    threading.Timer(_FROZEN_AFTER_S, _freeze).start()
