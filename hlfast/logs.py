"""What the processes write to their log: a line of text, or of JSON, for each record."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from hlfast import codec, trace
from hlfast.settings import Settings

# One line for every request, and one for every event that came with a trace.
ACCESS = logging.getLogger("hlfast.access")
TRACED = logging.getLogger("hlfast.traced")
# That a process began to serve, and where.
STARTED = logging.getLogger("hlfast.started")
_SAYING = ("_granian", ACCESS.name, TRACED.name, STARTED.name)


def configuration(settings: Settings) -> dict[str, Any]:
    """The dictionary that logging.config.dictConfig takes."""
    lines = JsonLines if settings.log_format == "json" else TextLines
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{__name__}.{lines.__name__}"}},
        "filters": {"raised anyway": {"()": f"{__name__}.{RaisedAnyway.__name__}"}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": "WARNING", "handlers": ["lines"]},
        "loggers": {name: {"level": "INFO"} for name in _SAYING}
        | {"aiormq.connection": {"filters": ["raised anyway"]}},
    }


class RaisedAnyway(logging.Filter):
    """Drops records of errors that a library also raises: whoever catches those logs them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        return record.levelno < logging.ERROR and record.exc_info is None


def named(**fields: Any) -> dict[str, Any]:
    """`extra` of a record: fields of its line beside the message."""
    return {"fields": fields}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "fields", {}))
    current = trace.CURRENT.get()
    if current is not None:
        fields |= {"trace_id": current.trace_id, "span_id": current.span_id}
    return fields


class TextLines(logging.Formatter):
    """`time [LEVEL] message name=value …`, and the traceback below; the time in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(levelname)s] %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """See logging.Formatter."""
        return f"{_time(record).removesuffix('+00:00')}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See logging.Formatter."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return super().formatMessage(record) + fields


class JsonLines(logging.Formatter):
    """An object, in one line, for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return codec.encode(line).decode()
