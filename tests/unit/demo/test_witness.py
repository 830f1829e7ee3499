from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ctxkit.demo import witness

if TYPE_CHECKING:
    from pathlib import Path


def test_witness_writes_down_the_spans_of_the_sdk(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
    from opentelemetry.trace import SpanKind, format_trace_id  # noqa: PLC0415 - optional

    file = tmp_path / "seen.jsonl"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(witness.Witness(str(file)))
    tracer = provider.get_tracer("shop")
    with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as span:
        with tracer.start_as_current_span("inner"):
            pass
        trace_id = format_trace_id(span.get_span_context().trace_id)
    provider.force_flush()
    provider.shutdown()
    inner, server = (json.loads(line) for line in file.read_text().splitlines())
    assert (inner["what"], inner["name"], inner["trace_id"]) == ("span", "inner", trace_id)
    assert (server["what"], server["name"]) == ("server", "GET /")
    assert server["start"] <= inner["start"] <= inner["end"] <= server["end"]


def test_witness_writes_down_a_flush_with_its_sinks(tmp_path: Path) -> None:
    file = tmp_path / "seen.jsonl"
    results = [SimpleNamespace(sink="sentry"), SimpleNamespace(sink="otel.traces")]
    witness.Witness(str(file)).on_flush(SimpleNamespace(seconds=0.5, results=results))
    entry = json.loads(file.read_text())
    assert (entry["what"], entry["name"]) == ("flush", "sentry, otel.traces")
    assert entry["end"] - entry["start"] == pytest.approx(0.5)


def test_entry_point_is_that_of_the_example_and_witnessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("lambda_handler")
    module.handler = object()  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "lambda_handler", module)
    monkeypatch.setenv(witness.FILE, str(tmp_path / "seen.jsonl"))
    installed: list[str] = []
    monkeypatch.setattr(witness, "_install", installed.append)
    try:
        assert witness.handler is module.handler
        assert witness.handler is module.handler
    finally:
        vars(witness).pop("handler", None)
    assert installed == [str(tmp_path / "seen.jsonl")]


def test_entry_point_of_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = witness.nothing
