"""The properties of responses are able to fail: they find each fault that is planted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from properties import asgi_responses, wsgi_responses
from properties.crossing_responses import FlushedSink, asgi_timelines, wsgi_timelines
from properties.response_faults import FAULTS
from properties.timelines import assert_only_the_completing_part_waits, assert_same

from ctxkit.flushing import add_sink, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Enough to find each of them by far, and always the same ones; the first that fails is the last.
ENOUGH = settings(
    max_examples=3_000,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def sink() -> Iterator[FlushedSink]:
    flushed = FlushedSink()
    add_sink(flushed)
    yield flushed
    remove_sink(flushed)


@ENOUGH
@given(response=wsgi_responses.responses())
def find_in_wsgi(sink: FlushedSink, response: wsgi_responses.Response) -> None:
    assert_same(*wsgi_timelines(response, sink, "never"))
    bare, crossed = wsgi_timelines(response, sink, "always")
    assert_only_the_completing_part_waits(bare, crossed, by_reference=response.kind == "file")


@ENOUGH
@given(response=asgi_responses.responses())
def find_in_asgi(
    sink: FlushedSink, runner: asyncio.Runner, response: asgi_responses.Response
) -> None:
    assert_same(*asgi_timelines(response, sink, "never", runner))
    assert_only_the_completing_part_waits(*asgi_timelines(response, sink, "always", runner))


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("wsgi_")])
def test_fault_that_is_planted_in_the_wsgi_boundary_is_found(
    name: str, sink: FlushedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(AssertionError):
        find_in_wsgi(sink)


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("asgi_")])
def test_fault_that_is_planted_in_the_asgi_boundary_is_found(
    name: str, sink: FlushedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[name](monkeypatch)
    with asyncio.Runner() as runner, pytest.raises((AssertionError, TimeoutError)):
        find_in_asgi(sink, runner)
