"""Serving a generated response without the boundary and with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from properties import asgi_responses, wsgi_responses
from properties.timelines import Timeline

import ctxkit

if TYPE_CHECKING:
    from properties.timelines import Crossed


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


def wsgi_timelines(response: wsgi_responses.Response, sink: FlushedSink, mode: str) -> Crossed:
    """Return what happens without the boundary, and with it in ``mode``."""

    def served(crossing: str | None) -> Timeline:
        sink.timeline = timeline = Timeline()
        app = wsgi_responses.Application(response, timeline)
        crossed = app if crossing is None else ctxkit.WSGIMiddleware(app, mode=crossing)
        wsgi_responses.Server(response, timeline).serve(crossed)
        return timeline

    return served(None), served(mode)


def asgi_timelines(
    response: asgi_responses.Response, sink: FlushedSink, mode: str, runner: asyncio.Runner
) -> Crossed:
    """Return what happens without the boundary, and with it in ``mode``."""

    async def served(response: asgi_responses.Response, crossing: str | None) -> Timeline:
        sink.timeline = timeline = Timeline()
        app = asgi_responses.Application(response, timeline)
        crossed = app if crossing is None else ctxkit.ASGIMiddleware(app, mode=crossing)
        async with asyncio.timeout(5):
            await asgi_responses.Server(response, timeline).serve(crossed)
        return timeline

    # Where it is held a path is not offered: who sends the file may come after the
    # application has gone.
    bare = response if mode == "never" else response.without_paths()
    return runner.run(served(bare, None)), runner.run(served(response, mode))
