"""Context on the wire: into the headers of a request or a message, and out of them."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from ctxkit.context import MISSING, Frame, Key, current
from ctxkit.context._hops import declared, making
from ctxkit.context.key import name_of
from ctxkit.exceptions import ConfigurationError
from ctxkit.propagation import _own_header as own
from ctxkit.propagation import _w3c
from ctxkit.propagation._fields import Fields, fields_of, texts_of
from ctxkit.propagation._left_out import warn_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

C = TypeVar("C", bound=MutableMapping[str, Any])

#: The position in a trace that came in, as W3C Trace Context writes it.
TRACEPARENT = Key[str]("traceparent", hops={"thread", "process", "wire"})
#: What tracing systems said about it; empty where they said nothing.
TRACESTATE = Key[str]("tracestate", hops={"thread", "process", "wire"})
#: The W3C Baggage that came in, as it came: percent-encoded.
BAGGAGE = Key[str]("baggage", hops={"thread", "process", "wire"})

# They have headers of their own.
_STANDARD: Final = frozenset(("traceparent", "tracestate", "baggage"))
_HEADERS: Final = frozenset((own.HEADER, *_STANDARD))


def inject(carrier: C, *, keys: Iterable[str | Key[Any]] | None = None) -> C:
    """Write what is to cross the wire into the headers of a request or a message.

    ::

        headers = ctxkit.inject({"Accept": "application/json"})

    Written are the values of the keys that declare the hop ``"wire"`` and are bound, in one
    header, ``ctxkit-context``; and ``traceparent``, ``tracestate`` and ``baggage``. Those
    three come from OpenTelemetry where that has a current span or baggage; otherwise those
    that were extracted are handed on as they came.

    Whoever receives the headers can read them. Send them to your own services only.

    Args:
        carrier: A mutable mapping of names to values: headers of ``requests`` or ``httpx``,
            of a message, the variables of a process. The case of names does not matter.
        keys: The only keys to send, ``traceparent``, ``tracestate`` and ``baggage`` among
            them; None for all that declare the hop.

    Returns:
        ``carrier``. A ``ctxkit-context`` that was there is replaced, or removed if there is
        nothing to send: it may have been copied from a client. A ``traceparent`` that was
        there stays, with its ``tracestate``. To a ``baggage`` that was there, members with
        other keys are added. Sentry's headers are left to Sentry.

    Raises:
        ConfigurationError: ``carrier`` is no mutable mapping, or ``keys`` is a string,
            or one of them does not declare the hop.

    Context:
        Reads the current frame. A value that breaks a limit, holds control characters or
        cannot be written down is left out whole; a warning, at most one a minute, names the
        key and never the value.
    """
    if not isinstance(cast("object", carrier), MutableMapping):
        raise ConfigurationError(
            "inject(carrier)",
            f"must be a mutable mapping of headers, not of type {type(carrier).__name__}",
            "Give it a dict, or the headers of the request or message to be sent.",
        )
    frame = current()
    chosen = _chosen(keys)
    faults: list[str] = []
    fields = Fields(carrier)
    fields.put(own.HEADER, own.write(_bound(frame, chosen), faults))
    _put_standard(fields, frame, {key.name for key in chosen} & _STANDARD, faults)
    if faults:
        warn_of("ctxkit.inject.left_out", faults)
    return carrier


def extract(carrier: object, *, trusted: bool = False) -> dict[str | Key[Any], object]:
    """Return what came over the wire, for :func:`ctxkit.bind`.

    ::

        TENANT = ctxkit.Key[str]("tenant", hops={"thread", "wire"})

        headers = {"ctxkit-context": 'v1 {"tenant":"acme"}'}
        with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
            assert TENANT.get() == "acme"

    Args:
        carrier: A mapping of names to ``str``, ``bytes`` or lists of those; a WSGI environ;
            or pairs of names and values, as ASGI has them. The case of names does not
            matter.
        trusted: Whether whoever sent it is one of your own services. Anybody else could
            choose tenants, run up the cost of tracing and forge trace ids.

    Returns:
        Values by the names of their keys; nothing at all if ``trusted`` is false. Only keys
        that declare the hop ``"wire"`` here are read, other names are ignored.
        ``traceparent``, ``tracestate`` and ``baggage`` are there if they were valid, for
        :func:`ctxkit.inject` to hand on.

    Raises:
        ConfigurationError: ``carrier`` is nothing that holds headers. What it holds never
            raises.

    Safety:
        Nothing is unpickled, and nothing longer than its limit is parsed. What breaks a
        limit, holds control characters or is malformed is left out; a warning, at most one
        a minute, names the key or the header and never a value.
    """
    fields = fields_of(carrier, _HEADERS)
    if not trusted:
        return {}
    texts = texts_of(fields, _HEADERS)
    faults: list[str] = []
    values: dict[str | Key[Any], object] = {}
    if own.HEADER in texts:
        values.update(_own_values(texts[own.HEADER], faults))
    values.update(_standard_values(texts, faults))
    if faults:
        warn_of("ctxkit.extract.left_out", faults)
    return values


def _own_values(texts: list[str | None], faults: list[str]) -> Iterator[tuple[str, object]]:
    """Yield what our own header says about keys that declare the hop here."""
    text = _only(texts)
    if text is None:
        faults.append(f"{own.HEADER}: more than one, or no text")
        return
    try:
        members = own.read(text)
    except own.UnfitError as error:
        faults.append(f"{own.HEADER}: {error}")
        return
    for name, raw in members:
        key = declared(name)
        if key is not None and "wire" in key.hops and name not in _STANDARD:
            try:
                yield name, own.loaded(key, raw)
            except own.UnfitError as error:
                faults.append(f"{name}: {error}")


def _standard_values(
    texts: dict[str, list[str | None]], faults: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield what is valid of W3C's headers."""
    state, baggage = _joined(texts.get("tracestate")), _joined(texts.get("baggage"))
    if "traceparent" in texts:
        parent = _w3c.valid_traceparent(_only(texts["traceparent"]) or "")
        if parent is None:
            faults.append("traceparent: invalid")
        else:
            yield "traceparent", parent
            # Also an empty one: an outer frame's would belong to another traceparent.
            yield "tracestate", _checked_list("tracestate", state, faults)
    if baggage and (baggage := _checked_list("baggage", baggage, faults)):
        yield "baggage", baggage


def _checked_list(name: str, text: str, faults: list[str]) -> str:
    """Return what is valid of a tracestate or a baggage."""
    if len(text) > _w3c.HUGE:
        faults.append(f"{name}: longer than {_w3c.HUGE} characters")
        return ""
    valid = (_w3c.valid_tracestate if name == "tracestate" else _w3c.valid_baggage)(text)
    if _w3c.count_of(valid) < _w3c.count_of(text):
        faults.append(f"{name}: members that are invalid, or beyond the limits")
    return valid


def _only(texts: list[str | None]) -> str | None:
    return texts[0] if len(texts) == 1 else None


def _joined(texts: list[str | None] | None) -> str:
    """Return a field that was sent in parts (RFC 9110, section 5.3)."""
    return ",".join(filter(None, texts or ()))


def _chosen(keys: Iterable[str | Key[Any]] | None) -> list[Key[Any]]:
    """Return the keys to send.

    Raises:
        ConfigurationError: One of them does not declare the hop, or they are a string.
    """
    if keys is None:
        return [*making("wire")]
    known = {key.name: key for key in making("wire")}
    if isinstance(keys, str):
        raise ConfigurationError(
            "inject(keys=)", f"must be a collection of keys, not {keys!r}", f"Write [{keys!r}]."
        )
    chosen: dict[str, Key[Any]] = {}
    for name in map(name_of, keys):
        if name not in known:
            raise ConfigurationError(
                "inject(keys=)",
                f"has {name!r}, which does not declare the hop to wires",
                f'Declare it: Key({name!r}, hops={{"thread", "wire"}}).',
            )
        chosen[name] = known[name]
    return [*chosen.values()]


def _bound(frame: Frame, chosen: list[Key[Any]]) -> Iterator[tuple[Key[Any], object]]:
    for key in chosen:
        if key.name not in _STANDARD:
            value = frame.get(key.name, MISSING)
            if value is not MISSING:
                yield key, value


def _put_standard(fields: Fields, frame: Frame, wanted: set[str], faults: list[str]) -> None:
    """Write ``traceparent``, ``tracestate``, ``baggage``, and what else traces a request."""
    if not wanted:
        return
    handed_on = _handed_on(frame)
    spoken, traced = _said_by_opentelemetry(faults)
    theirs, ours = spoken.pop("baggage", ""), handed_on.pop("baggage", "")
    trace = spoken if traced else handed_on
    # A tracestate alone says nothing; with a foreign traceparent it stays, as that does.
    present = "traceparent" in fields or any(
        name in fields for name in trace if name != "tracestate"
    )
    if "traceparent" in wanted and trace and not present:
        state = trace.pop("tracestate", "")
        fields.put("tracestate", state if "tracestate" in wanted else "")
        for name, value in trace.items():
            fields.put(name, value)
    if "baggage" in wanted:
        if theirs:
            _put_baggage(fields, theirs, sentry=True)
        elif ours and not traced:
            # Sentry, where it is in use, writes its members itself.
            _put_baggage(fields, ours, sentry="sentry_sdk" not in sys.modules)


def _put_baggage(fields: Fields, baggage: str, *, sentry: bool) -> None:
    present: object = fields.get("baggage") if "baggage" in fields else ""
    if isinstance(present, str) and present.isascii() and present.isprintable():
        merged = _w3c.merged_baggage(present, baggage, sentry=sentry)
        if merged:
            fields.put("baggage", merged)


def _handed_on(frame: Frame) -> dict[str, str]:
    """Return what was extracted. Anybody may have bound it, so it is looked at again."""

    def bound(name: str) -> str:
        value = frame.get(name)
        return value if type(value) is str else ""

    found: dict[str, str] = {}
    parent = _w3c.valid_traceparent(bound("traceparent"))
    if parent is not None:
        found["traceparent"] = parent
        found["tracestate"] = _w3c.valid_tracestate(bound("tracestate"))
    found["baggage"] = _w3c.valid_baggage(bound("baggage"))
    return {name: value for name, value in found.items() if value}


def _said_by_opentelemetry(faults: list[str]) -> tuple[dict[str, str], bool]:
    """Return what OpenTelemetry's propagators write, and whether it has a current span."""
    tracing: Any = sys.modules.get("opentelemetry.trace")
    propagate: Any = sys.modules.get("opentelemetry.propagate")
    said: dict[Any, Any] = {}
    traced = False
    try:
        if tracing is not None:
            traced = tracing.get_current_span().get_span_context().is_valid
        if propagate is None and traced:  # in use, then; few programs get here without it
            propagate = import_module("opentelemetry.propagate")
        if propagate is not None:
            propagate.inject(said)
    except Exception as error:  # noqa: BLE001 - a propagator's trouble is not the caller's
        faults.append(f"opentelemetry: its propagators raised {type(error).__name__}")
    clean = {
        name: value
        for name, value in said.items()
        if type(name) is type(value) is str and value.isascii() and value.isprintable()
    }
    return clean, traced
