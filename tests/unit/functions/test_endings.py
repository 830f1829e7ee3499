"""Ends of calls when several things happen at once, or one of them goes wrong."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context.lifetime import Lifetime, pause
from ctxkit.exceptions import Cancelled, FrameClosed

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.rule("F-26")
def test_what_a_deferred_callback_starts_ends_with_the_call_too() -> None:
    ended: list[str] = []

    @ctxkit.function
    async def task() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    @ctxkit.function
    def thread() -> None:
        begun.set()
        try:
            pause(60)
        finally:
            ended.append("thread")

    begun = threading.Event()

    async def starts() -> None:
        task.start()
        await asyncio.sleep(0)

    asyncio.run(ctxkit.function(_deferring_async)(starts))
    ctxkit.function(ctxkit.defer)(lambda: thread.start() and begun.wait(5))
    assert ended == ["task", "thread"]


async def _deferring_async(*callbacks: Callable[[], object]) -> None:
    for callback in callbacks:
        ctxkit.defer(callback)


@pytest.mark.rule("F-15")
def test_cancelling_a_deferred_callback_leaves_the_others_to_run() -> None:
    log: list[str] = []

    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def main() -> None:
        call = ctxkit.function(_deferring_async)(lambda: log.append("other"), waits)
        task = asyncio.create_task(call)
        await asyncio.wait_for(begun.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = asyncio.Event()
    asyncio.run(main())
    assert log == ["other"]


@pytest.mark.rule("F-15")
@pytest.mark.parametrize("body_fails", ["", "fails"])
def test_error_that_ends_the_program_is_raised_when_all_callbacks_have_run(body_fails: str) -> None:
    log: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    @ctxkit.function
    def body() -> None:
        ctxkit.defer(log.append, "other")
        ctxkit.defer(interrupt)
        if body_fails:
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        body()
    assert log == ["other"]


def test_coroutine_that_is_closed_from_outside_runs_what_was_deferred() -> None:
    log: list[str] = []
    coroutine: Any = ctxkit.function(_deferring_async)(
        lambda: log.append("second"), lambda: asyncio.sleep(0), lambda: log.append("first")
    )
    coroutine.send(None)
    assert log == ["first"]
    coroutine.close()
    assert log == ["first", "second"]


@pytest.mark.rule("F-16")
def test_callback_that_is_deferred_while_the_frame_closes_runs_or_is_refused() -> None:
    log: list[str] = []

    class Racing(list[Any]):
        """Has another thread defer something right after it was seen to be empty."""

        def __bool__(self) -> bool:
            if len(self) == 0 and not log:
                log.append("raced")
                lifetime.defer(log.append, ("ran",), {})
                return False
            return len(self) > 0

    lifetime = Lifetime()
    lifetime._deferred = Racing()
    for _ in lifetime.closing():
        pass
    assert log == ["raced", "ran"]
    with pytest.raises(FrameClosed):
        lifetime.defer(log.append, ("late",), {})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
@pytest.mark.rule("F-26")
def test_task_that_a_synchronous_call_hands_over_is_cancelled_once() -> None:
    log: list[str] = []

    @ctxkit.function
    async def task() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    @ctxkit.function
    async def caller() -> None:
        ctxkit.function(lambda: task.start() and None)()
        await asyncio.sleep(0)
        assert log == []

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await caller()
        assert log == ["cleaned up"]

    asyncio.run(main())


@pytest.mark.rule("F-26")
def test_task_of_another_loop_is_cancelled_in_that() -> None:
    begun, ended = threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    @ctxkit.function
    async def task() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def elsewhere() -> None:
        loops.append(asyncio.get_running_loop())
        with pytest.raises(asyncio.CancelledError):
            await task.start()

    def run() -> None:
        asyncio.run(elsewhere(), debug=True)  # which refuses what other threads may not do

    with ctxkit.invocation("x"):
        thread = ctxkit.Thread(target=run)
        thread.start()
        assert begun.wait(5)
    assert ended.wait(5)
    thread.join(5)


def test_what_was_started_under_trio_ends_with_the_call() -> None:
    trio: Any = pytest.importorskip("trio")
    ended: list[str] = []
    begun = threading.Event()

    @ctxkit.function
    def child() -> None:
        begun.set()
        try:
            pause(60)
        finally:
            ended.append("child")

    @ctxkit.function
    async def parent() -> None:
        child.start()
        assert begun.wait(5)
        await trio.sleep(0)

    trio.run(parent)
    assert ended == ["child"]


@pytest.mark.rule("F-26")
def test_failure_of_what_a_coroutine_awaits_at_its_end_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = threading.Event()

    @ctxkit.function
    def fails() -> None:
        begun.set()
        try:
            pause(60)
        except Cancelled:
            raise ValueError("at its end") from None

    @ctxkit.function
    async def parent() -> None:
        await asyncio.to_thread(fails.start)
        assert await asyncio.to_thread(begun.wait, 5)

    asyncio.run(parent())
    assert ["has failed" in message for message in caplog.messages] == [True]
