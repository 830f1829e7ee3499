"""A response comes out of the boundary as it went in, but for when its last part leaves."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from properties import asgi_responses, wsgi_responses
from properties.crossing_responses import FlushedSink, asgi_timelines, wsgi_timelines
from properties.timelines import assert_only_the_completing_part_waits, assert_same

from ctxkit.flushing import add_sink, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A fraction of what the machine gets that follows requests: these are of fewer kinds.
EXAMPLES = settings(
    max_examples=max(50, int(os.environ.get("CTXKIT_PROPERTY_EXAMPLES", "50")) // 5),
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    print_blob=True,
)
wsgi_given = given(response=wsgi_responses.responses())
asgi_given = given(response=asgi_responses.responses())


@pytest.fixture(scope="module")
def sink() -> Iterator[FlushedSink]:
    flushed = FlushedSink()
    add_sink(flushed)
    yield flushed
    remove_sink(flushed)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@EXAMPLES
@wsgi_given
def test_wsgi_response_that_is_not_held_is_the_bare_one(
    response: wsgi_responses.Response, sink: FlushedSink
) -> None:
    assert_same(*wsgi_timelines(response, sink, "never"))


@EXAMPLES
@asgi_given
def test_asgi_response_that_is_not_held_is_the_bare_one(
    response: asgi_responses.Response, sink: FlushedSink, runner: asyncio.Runner
) -> None:
    assert_same(*asgi_timelines(response, sink, "never", runner))


@pytest.mark.parametrize("mode", ["always", "idle"])
def test_wsgi_response_that_is_held_is_the_bare_one_but_for_its_completing_part(
    mode: str, sink: FlushedSink
) -> None:
    @EXAMPLES
    @wsgi_given
    def run(response: wsgi_responses.Response) -> None:
        bare, crossed = wsgi_timelines(response, sink, mode)
        assert_only_the_completing_part_waits(bare, crossed, by_reference=response.kind == "file")

    run()


@pytest.mark.parametrize("mode", ["always", "idle"])
def test_asgi_response_that_is_held_is_the_bare_one_but_for_its_completing_part(
    mode: str, sink: FlushedSink, runner: asyncio.Runner
) -> None:
    @EXAMPLES
    @asgi_given
    def run(response: asgi_responses.Response) -> None:
        assert_only_the_completing_part_waits(*asgi_timelines(response, sink, mode, runner))

    run()
