"""Read Sentry envelopes: https://develop.sentry.dev/sdk/data-model/envelopes/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ctxkit.testing._items import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {"sessions": "session", "trace_metric": "metric"}
_CONTAINERS = frozenset({"log", "trace_metric", "span"})


def read_envelope(body: bytes) -> list[Reading]:
    """Read every item of an envelope.

    An item of type ``log``, ``trace_metric`` or ``span`` is a container of several
    entries, which come out one by one.

    Raises:
        ValueError: The body is no envelope.
    """
    return [
        _reading(kind, entry) for kind, payload in _split(body) for entry in _entries(kind, payload)
    ]


def _split(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    line, position = _line(body, 0)
    _object(line)
    while position < len(body):
        line, position = _line(body, position)
        if not line.strip():
            continue
        header = _object(line)
        length = header.get("length")
        if isinstance(length, int):
            payload = body[position : position + length]
            if len(payload) < length:
                raise ValueError(f"item announces {length} bytes and has {len(payload)}")
            position += length + 1
        else:
            payload, position = _line(body, position)
        yield str(header.get("type")), _payload(payload)


def _line(body: bytes, start: int) -> tuple[bytes, int]:
    end = body.find(b"\n", start)
    end = len(body) if end < 0 else end
    return body[start:end], end + 1


def _object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {text[:80]!r}")  # noqa: TRY004 - of the input
    return cast("dict[str, Any]", value)


def _payload(payload: bytes) -> dict[str, Any]:
    try:
        return _object(payload)
    except ValueError:  # attachments and profiles are bytes of any kind
        return {"bytes": len(payload)}


def _entries(kind: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    entries = payload.get("items")
    if kind in _CONTAINERS and isinstance(entries, list):
        return cast("list[dict[str, Any]]", entries)
    return [payload]


def _reading(kind: str, data: dict[str, Any]) -> Reading:
    trace_id = data.get("trace_id") or _dig(data, "contexts", "trace", "trace_id")
    name = _event_name(data) if kind == "event" else _plain_name(data)
    return Reading(f"sentry.{_KINDS.get(kind, kind)}", name or kind, trace_id, data)


def _event_name(data: dict[str, Any]) -> str:
    exceptions = _dig(data, "exception", "values")
    if exceptions:
        return f"{_dig(exceptions[-1], 'type')}: {_dig(exceptions[-1], 'value')}"
    entry = _dig(data, "logentry", "formatted") or _dig(data, "logentry", "message")
    return str(entry or data.get("message") or "")


def _plain_name(data: dict[str, Any]) -> str:
    return str(data.get("transaction") or data.get("name") or data.get("body") or "")


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    return cast("Any", value)
