"""The laboratory: HTTP to service and back."""

from __future__ import annotations

from hlfast.lab.schemas import LabReport
from hlfast.lab.service import Lab
from hlfast.web.endpoint import Call, Reply


def _report(report: LabReport) -> Reply:
    return Reply(report.model_dump_json().encode())


async def look(call: Call[Lab]) -> Reply:
    """GET /lab"""
    return _report(await call.service.look(call.me))


async def flip(call: Call[Lab]) -> Reply:
    """PATCH /lab"""
    given = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    return _report(await call.service.flip(call.me, given))
