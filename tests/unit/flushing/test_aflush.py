from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from helpers.land import FakeSink, GatedSink

from ctxkit.flushing import add_sink, aflush, engine

if TYPE_CHECKING:
    from collections.abc import Callable


def test_aflush_leaves_the_event_loop_free() -> None:
    sink = GatedSink()
    add_sink(sink)

    async def main() -> None:
        waiting = asyncio.ensure_future(aflush(15))
        await asyncio.to_thread(sink.entered.acquire)
        assert not waiting.done()
        sink.gate.release()  # by the loop that waits
        report = await waiting
        assert report.ok
        assert report.results[0].status == "ok"

    asyncio.run(main())


def test_aflush_with_nothing_pending_starts_no_thread(
    flush_threads: Callable[[], list[str]],
) -> None:
    add_sink(FakeSink(waiting=0))

    report = asyncio.run(aflush(1, reason="quiet"))

    assert (report.reason, report.results[0].status) == ("quiet", "empty")
    assert flush_threads() == []


def test_aflush_with_a_hanging_sink_returns_at_its_timeout() -> None:
    sink = GatedSink()
    add_sink(sink)
    add_sink(FakeSink("healthy"))

    report = asyncio.run(aflush(0.1))

    assert {result.sink: result.status for result in report.results} == {
        "gated": "timeout",
        "healthy": "ok",
    }
    assert report.seconds < 1
    sink.gate.release()


def test_aflush_cancelled_leaves_the_flush_to_its_thread() -> None:
    sink = GatedSink()
    add_sink(sink)

    async def main() -> None:
        waiting = asyncio.ensure_future(aflush(15))
        await asyncio.to_thread(sink.entered.acquire)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        [lane] = engine._ENGINE.lanes()
        [running] = lane.running
        assert running.latches == []
        sink.gate.release(2)
        assert (await aflush(15)).ok

    asyncio.run(main())


def test_aflush_on_a_loop_that_is_gone_when_the_pass_ends_breaks_nothing() -> None:
    sink = GatedSink()
    add_sink(sink)
    loop = asyncio.new_event_loop()
    task = loop.create_task(aflush(15))
    loop.run_until_complete(asyncio.sleep(0))
    assert sink.entered.acquire(timeout=10)
    loop.close()

    sink.gate.release(2)

    assert asyncio.run(aflush(15)).ok
    assert len(set(sink.threads)) == 1
    task.get_coro().close()  # type: ignore[union-attr]
    task._log_destroy_pending = False


def test_aflush_of_many_shares_the_passes() -> None:
    sink = GatedSink()
    add_sink(sink)

    async def main() -> None:
        first = asyncio.ensure_future(aflush(15))
        await asyncio.to_thread(sink.entered.acquire)
        others = [asyncio.ensure_future(aflush(15)) for _ in range(20)]
        await asyncio.sleep(0)
        sink.gate.release(2)
        reports = await asyncio.gather(first, *others)
        assert all(report.ok for report in reports)

    asyncio.run(main())
    assert len(sink.timeouts) == 2


def test_aflush_outside_of_asyncio_blocks_but_lands() -> None:
    """Another library's event loop drives coroutines too, with futures of its own."""
    sink = FakeSink()
    add_sink(sink)

    coroutine = aflush(10)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)

    assert stop.value.value.results[0].status == "ok"
