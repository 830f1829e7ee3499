"""Run the example's entry points with a witness: for the server processes of the demo.

It writes down, within the server process, when spans and flushes begin and end: what
is lost leaves no other trace. Nothing is patched; spans are seen by a span processor,
flushes by a listener.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

FILE = "CTXKIT_DEMO_WITNESS"  # environment variable: where to write, one JSON object a line

_ENTRY_POINTS = {
    "wsgi": ("config.wsgi", "application"),
    "asgi": ("config.asgi", "application"),
    "handler": ("lambda_handler", "handler"),
    "decorated": ("lambda_handler", "handler"),
}


class Witness:
    """Append what happens in this process to a file, each entry in a single write.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Ignore the start of a span: its end will tell it."""

    def on_end(self, span: Any) -> None:
        """Write down a span (``opentelemetry.sdk.trace.SpanProcessor``)."""
        context = span.get_span_context()
        self._write(
            what="server" if span.kind.name == "SERVER" else "span",
            name=span.name,
            start=span.start_time / 1e9,
            end=span.end_time / 1e9,
            trace_id=f"{context.trace_id:032x}",
        )

    def _on_ending(self, span: Any) -> None:  # pyright: ignore[reportUnusedFunction] - the SDK calls it
        """Ignore a span that is about to end."""

    def on_flush(self, report: Any) -> None:
        """Write down a flush (``ctxkit.flushing.on_report``)."""
        end = time.time()
        sinks = ", ".join(result.sink for result in report.results)
        self._write(what="flush", name=sinks, start=end - report.seconds, end=end, trace_id=None)

    def shutdown(self) -> None:
        """Do nothing: each entry is written at once."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Do nothing: each entry is written at once."""
        del timeout_millis
        return True

    def _write(self, **entry: object) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def _install(path: str) -> None:
    witness = Witness(path)
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is not None:
        add = getattr(tracing.get_tracer_provider(), "add_span_processor", None)
        if add is not None:
            add(witness)
    if "ctxkit.boundary" in sys.modules:  # not in the lanes without ctxkit
        import_module("ctxkit.flushing").on_report(witness.on_flush)


def load_wsgi() -> Any:
    """Return the WSGI application, to servers that look into the module's dictionary (uWSGI)."""
    return __getattr__("wsgi")


def __getattr__(name: str) -> Any:
    if name not in _ENTRY_POINTS:
        raise AttributeError(name)
    module, attribute = _ENTRY_POINTS[name]
    if name == "decorated":
        # In the place of the line in MIDDLEWARE, not besides it.
        os.environ["SHOP_WITHOUT_CTXKIT"] = "1"
    entry_point = getattr(import_module(module), attribute)
    if name == "decorated":
        entry_point = import_module("ctxkit").flush_before_return(entry_point)
    path = os.environ.get(FILE)
    if path:
        _install(path)
    globals()[name] = entry_point
    return entry_point
