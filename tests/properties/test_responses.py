"""A response comes out of the boundary as it went in, but for when its last part leaves."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from properties import asgi_responses, wsgi_responses
from properties.timelines import Timeline, assert_only_the_completing_part_waits, assert_same

import ctxkit
from ctxkit.flushing import add_sink, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from properties.wsgi_responses import Response

#: A fraction of what the machine gets that follows requests: these are of fewer kinds.
EXAMPLES = settings(
    max_examples=max(50, int(os.environ.get("CTXKIT_PROPERTY_EXAMPLES", "50")) // 5),
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    print_blob=True,
)


class FlushedSink:
    """Write down in the timeline of the moment that everything was flushed."""

    name = "timeline"

    def __init__(self) -> None:
        self.timeline = Timeline()

    def pending(self) -> None:
        return None

    def flush(self, timeout: float) -> bool:
        self.timeline.append(("flush", None))
        return True


@pytest.fixture(scope="module")
def sink() -> Iterator[FlushedSink]:
    flushed = FlushedSink()
    add_sink(flushed)
    yield flushed
    remove_sink(flushed)


def wsgi_timeline(response: Response, sink: FlushedSink, mode: str | None) -> Timeline:
    sink.timeline = timeline = Timeline()
    app = wsgi_responses.Application(response, timeline)
    crossed = app if mode is None else ctxkit.WSGIMiddleware(app, mode=mode)
    wsgi_responses.Server(response, timeline).serve(crossed)
    return timeline


@EXAMPLES
@given(response=wsgi_responses.responses())
def test_wsgi_response_that_is_not_held_is_the_bare_one(
    response: Response, sink: FlushedSink
) -> None:
    assert_same(wsgi_timeline(response, sink, None), wsgi_timeline(response, sink, "never"))


@pytest.mark.parametrize("mode", ["always", "idle"])
def test_wsgi_response_that_is_held_is_the_bare_one_but_for_its_completing_part(
    mode: str, sink: FlushedSink
) -> None:
    @EXAMPLES
    @given(response=wsgi_responses.responses())
    def run(response: Response) -> None:
        bare = wsgi_timeline(response, sink, None)
        assert_only_the_completing_part_waits(
            bare, wsgi_timeline(response, sink, mode), by_reference=response.kind == "file"
        )

    run()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def asgi_timeline(
    response: asgi_responses.Response, sink: FlushedSink, mode: str | None, runner: asyncio.Runner
) -> Timeline:
    sink.timeline = timeline = Timeline()
    app = asgi_responses.Application(response, timeline)
    crossed = app if mode is None else ctxkit.ASGIMiddleware(app, mode=mode)

    async def serve() -> None:
        async with asyncio.timeout(5):
            await asgi_responses.Server(response, timeline).serve(crossed)

    runner.run(serve())
    return timeline


@EXAMPLES
@given(response=asgi_responses.responses())
def test_asgi_response_that_is_not_held_is_the_bare_one(
    response: asgi_responses.Response, sink: FlushedSink, runner: asyncio.Runner
) -> None:
    assert_same(
        asgi_timeline(response, sink, None, runner), asgi_timeline(response, sink, "never", runner)
    )


@pytest.mark.parametrize("mode", ["always", "idle"])
def test_asgi_response_that_is_held_is_the_bare_one_but_for_its_completing_part(
    mode: str, sink: FlushedSink, runner: asyncio.Runner
) -> None:
    @EXAMPLES
    @given(response=asgi_responses.responses())
    def run(response: asgi_responses.Response) -> None:
        bare = asgi_timeline(response, sink, None, runner)
        assert_only_the_completing_part_waits(bare, asgi_timeline(response, sink, mode, runner))

    run()
