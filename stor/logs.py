"""Log events as lines: flat JSON for machines, text for people, never longer than 8 KiB."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from textwrap import indent
from typing import Literal, TextIO
from urllib.parse import quote

from msgspec.json import encode
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

Format = Literal["json", "text", "auto"]
Level = Literal["debug", "info", "warn", "error", "critical"]
Value = str | int | float | bool | None
Fields = dict[str, Value]

LINE_BYTES = 8192
_MOST_FIELDS = 32
_ROOMS = (4096, 1024, 128)  # characters for each text, tried until the line fits
_FIRST = ("ts", "level", "event")
_LEGACY = {"message", "time", "system", "format", "isError", "failure", "why"}  # of twisted.python.log
_USERINFO = re.compile(r"://([^:/@\s]*):(?:(?!://)\S)*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def observer(stream: TextIO, form: Format, level: Level) -> ILogObserver:
    """Write each event of at least `level` to `stream` as one line; "auto" is text on a terminal."""
    text = form == "text" or (form == "auto" and stream.isatty())
    lines = _Lines(stream, _text if text else _json)
    threshold = LogLevelFilterPredicate(LogLevel.lookupByName(level))
    threshold.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)  # it tells of every connection it opens
    return FilteringLogObserver(lines, [threshold])


def redact(text: str, secrets: Iterable[str]) -> str:
    """Put `***` for each of `secrets`, plain or percent-encoded, and for passwords inside URLs."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return _USERINFO.sub(r"://\1:***@", text)


@implementer(ILogObserver)
class _Lines:
    """One line an event. One that brings `lines`, short and well-formed, is written as those, and as they are."""

    def __init__(self, stream: TextIO, shape: Callable[[Fields], str]) -> None:
        self._stream, self._shape = stream, shape

    def __call__(self, event: LogEvent) -> None:
        batch: Sequence[Fields] | None = event.get("lines")
        lines = [_bounded(_fields(event), self._shape)] if batch is None else [self._shape(fields) for fields in batch]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


def stamp(seconds: float) -> str:
    """Give a moment (seconds since 1970) as it stands in a line: `2026-01-15T10:30:00.123Z`."""
    return f"{_second(int(seconds))}.{int(seconds * 1000) % 1000:03d}Z"


@lru_cache(maxsize=16)  # many lines of the same moment
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields(event: LogEvent) -> Fields:
    """What is worth a reader's time: when, how bad, what, and the plain values of the log call."""
    level = event.get("log_level") or LogLevel.info
    fields: Fields = {
        "ts": stamp(event.get("log_time", 0.0)),
        "level": level.name,
        "event": formatEvent(event),
    }
    for name, value in event.items():
        hidden = name.startswith("log_") or name in _LEGACY or name in _FIRST
        if not hidden and (value is None or isinstance(value, str | int | float)):
            fields[name] = value
        if len(fields) == _MOST_FIELDS:
            break
    if (failure := event.get("log_failure")) is not None:
        fields["traceback"] = failure.getTraceback()
    return fields


def _bounded(fields: Fields, shape: Callable[[Fields], str]) -> str:
    for room in _ROOMS:
        line = shape({name[:64]: _cut(value, room) for name, value in fields.items()})
        if len(line.encode()) < LINE_BYTES:
            return line
    return shape({name: _cut(fields[name], room) for name in _FIRST})


def _cut(value: Value, room: int) -> Value:
    """A text's beginning and end: a traceback says most in its last lines."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no word for it
    if not isinstance(value, str):
        return value
    value = value.encode(errors="replace").decode()  # lone surrogates cannot be written
    return value if len(value) <= room else f"{value[: room // 2]} … {value[-room // 2 :]}"


def _json(fields: Fields) -> str:
    return encode(fields).decode()


def _text(fields: Fields) -> str:
    """Time, level, event, the other fields, and a traceback below; nothing else may begin a line."""
    rest = dict(fields)
    moment, level, event = (str(rest.pop(name)) for name in _FIRST)
    traceback = rest.pop("traceback", None)
    words = [moment[11:23], f"{level:8}", event, *(f"{name}={value}" for name, value in rest.items())]
    line = _CONTROL.sub(_escape, " ".join(words))
    return line if traceback is None else f"{line}\n{indent(str(traceback).rstrip(), '    ')}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
