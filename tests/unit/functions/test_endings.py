"""Ends of calls when several things happen at once, or one of them goes wrong."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from concurrent import futures
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context.lifetime import Lifetime, pause
from ctxkit.exceptions import Cancelled, FrameClosed
from ctxkit.functions.starting import Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.mark.rule("F-16")
def test_start_while_the_frame_closes_is_refused_and_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ctxkit.functions import starting  # noqa: PLC0415 - here alone

    owner = Lifetime()
    cancelled: list[Any] = []

    def closes(started: Any) -> bool:
        cancelled.append(started)
        return Started.cancel(started)

    monkeypatch.setattr(starting, "open_lifetime", lambda _: owner)
    monkeypatch.setattr(starting, "cancel", closes)
    owner.over = True  # as another thread does it, after we have asked
    with pytest.raises(FrameClosed, match="Cannot start"):
        ctxkit.function(lambda: pause(60)).start()
    assert futures.wait(cancelled, 5).done == {*cancelled}
    assert owner.started == set()


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


@pytest.mark.rule("F-26")
def test_failure_after_the_end_that_did_not_wait_for_it_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, gate, futures_made = threading.Event(), threading.Event(), []

    @ctxkit.function
    def fails() -> None:
        begun.set()
        gate.wait(5)
        raise ValueError("late")

    with ctxkit.invocation("x", timeout=0.01, leftovers="ignore"):
        futures_made.append(fails.start())
        assert begun.wait(5)
    assert caplog.messages == []
    told = threading.Event()
    futures_made[0].add_done_callback(lambda _: told.set())
    gate.set()
    assert told.wait(5)
    assert ["has failed" in message for message in caplog.messages] == [True]


def test_value_with_a_copy_goes_along_to_a_coroutine_function_in_a_thread() -> None:
    basket = ctxkit.Key[list[int]]("basket_of_endings", copy=list)

    @ctxkit.function
    async def added() -> list[int]:
        basket.get().append(1)
        return basket.get()

    with ctxkit.bind({basket: [0]}):
        assert added.start().result(5) == [0, 1]
        assert basket.get() == [0]


def test_result_where_a_loop_runs_waits_for_the_thread() -> None:
    @ctxkit.function
    async def answer() -> int:
        return 42

    async def main() -> None:
        thread = threading.Thread(target=started.run)
        asyncio.get_running_loop().call_soon(pytest.fail)  # this thread stands still
        timer = threading.Timer(0.05, thread.start)
        timer.start()
        assert started.result() == 42
        timer.join()
        thread.join()
        raise SystemExit

    started = _unbegun(answer)
    with pytest.raises(SystemExit):
        asyncio.run(main())


def _unbegun(function: Any) -> Started[Any]:
    from ctxkit.functions import starting  # noqa: PLC0415 - here alone

    return starting._started(function.__ctxkit_unit__, function, None, (), {})


def test_exception_of_one_that_has_not_begun_needs_no_thread() -> None:
    @ctxkit.function
    def fails() -> None:
        raise ValueError("inline")

    assert str(_unbegun(fails).exception()) == "inline"


@pytest.mark.rule("F-25")
def test_cancelling_a_coroutine_function_that_has_ended_does_nothing() -> None:
    gate, begun = threading.Event(), threading.Event()

    @ctxkit.function
    async def waits() -> str:
        begun.set()
        await asyncio.to_thread(gate.wait, 5)
        return "done"

    future = waits.start()
    assert begun.wait(5)
    wakers = [*future._lifetime._wakers]
    gate.set()
    assert future.result(5) == "done"
    assert wakers
    for wake in wakers:  # as whoever cancels does it, which has looked for them before
        wake()


@pytest.mark.rule("F-25")
def test_coroutine_function_is_cancelled_once_and_cleans_up() -> None:
    begun, log = threading.Event(), []

    @ctxkit.function
    async def waits() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    future = waits.start()
    assert begun.wait(5)
    future.cancel()
    future.cancel()
    with pytest.raises(Cancelled, match="waits was cancelled"):
        future.result(5)
    assert log == ["cleaned up"]


@pytest.mark.rule("F-25")
@pytest.mark.parametrize("bridge", ["asyncio", "asgiref"])
def test_coroutine_function_that_synchronous_code_waits_for_is_cancelled_with_it(
    bridge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bridge == "asgiref":
        pytest.importorskip("asgiref.sync")
    else:
        monkeypatch.delitem(sys.modules, "asgiref.sync", raising=False)
    begun, log = threading.Event(), []

    @ctxkit.function
    async def waits() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            log.append("ended")

    @ctxkit.function
    def outer() -> None:
        ctxkit.call(waits)

    future = outer.start()
    assert begun.wait(5)
    future.cancel()
    with pytest.raises(Cancelled, match="outer was cancelled"):
        future.result(5)
    assert log == ["ended"]


@pytest.mark.rule("F-24")
def test_invocation_inside_of_a_call_that_is_cancelled_stops_too() -> None:
    begun = threading.Event()

    @ctxkit.function
    def endless() -> None:
        with ctxkit.invocation("outer"), ctxkit.invocation("inner"):
            begun.set()
            pause(60)

    future = endless.start()
    assert begun.wait(5)
    future.cancel()
    with pytest.raises(Cancelled, match="endless was cancelled"):
        future.result(5)


class _Failure(Exception):  # noqa: N818 - no error of ours
    """Can be referred to weakly, as any error of a class of one's own."""


@pytest.fixture
def _uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _failing() -> tuple[Callable[[], None], list[weakref.ref[_Failure]]]:
    made: list[weakref.ref[_Failure]] = []

    def make() -> _Failure:
        failure = _Failure()
        made.append(weakref.ref(failure))
        return failure

    def fail() -> None:
        raise make()

    return fail, made


async def _to_its_end(call: Callable[[], Any]) -> None:
    with suppress(_Failure):
        await call()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("way", ["result", "acall", "deferred", "async deferred", "awaited"])
def test_error_and_its_frames_do_not_hold_each_other(way: str) -> None:
    fail, made = _failing()
    fails = ctxkit.function(fail)

    @ctxkit.function
    async def waits(gate: list[Any]) -> None:
        await gate.pop()

    async def awaited() -> None:
        gate = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_to_its_end(_partial(waits, [gate])))
        await asyncio.sleep(0)
        try:
            fail()
        except _Failure as error:
            gate.set_exception(error.with_traceback(None))
        del gate
        await task

    if way == "result":
        with suppress(_Failure):
            fails.start().result()
    elif way == "acall":
        asyncio.run(_to_its_end(_partial(ctxkit.acall, fails)))
    elif way == "deferred":
        with suppress(_Failure):
            ctxkit.function(ctxkit.defer)(fail)
    elif way == "async deferred":
        asyncio.run(_to_its_end(_partial(ctxkit.function(_deferring_async), fail)))
    else:
        asyncio.run(awaited())
    # A thread of a pool may be at its last step.
    for _ in range(500):
        if made[0]() is None:
            break
        threading.Event().wait(0.01)
    assert made[0]() is None


def _partial(function: Any, *args: Any) -> Any:
    return lambda: function(*args)
