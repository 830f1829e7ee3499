"""Lifetimes: what ends with a call, and how it is told that nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import runpy
import threading
import time
from concurrent import futures
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context import Deadline
from ctxkit.context.lifetime import pause
from ctxkit.exceptions import Cancelled, ConfigurationError, DeadlineExceeded, FrameClosed
from ctxkit.functions import starting

if TYPE_CHECKING:
    from ctxkit.boundary.intercepting import Interceptor


def within(seconds: float) -> Interceptor:
    """Return an interceptor that sets a deadline, and does nothing to keep it."""

    @ctxkit.interceptor
    def limiting(call: ctxkit.Call) -> Any:
        return (yield call.replace(deadline=Deadline.after(seconds, call.name)))

    return limiting


def drained(function: Any, *args: Any) -> Any:
    result = function(*args)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


@pytest.fixture(params=["sync", "async"])
def made(request: pytest.FixtureRequest) -> Any:
    def make(body: Any, **options: Any) -> Any:
        def synchronous(*args: Any) -> Any:
            return body(*args)

        async def asynchronous(*args: Any) -> Any:
            return body(*args)

        return ctxkit.function(**options)(synchronous if request.param == "sync" else asynchronous)

    return make


@pytest.mark.rule("F-15")
def test_deferred_callbacks_run_last_first_and_after_the_body(made: Any) -> None:
    log: list[Any] = []

    def body() -> str:
        ctxkit.defer(log.append, "first")
        ctxkit.defer(lambda: log.append(ctxkit.get("tenant")))
        log.append("body")
        return "result"

    with ctxkit.bind(tenant="acme"):
        assert drained(made(body)) == "result"
    assert log == ["body", "acme", "first"]


@pytest.mark.rule("F-15")
def test_deferred_callbacks_all_run_although_the_body_and_one_of_them_fail(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    def fail() -> None:
        raise KeyError("deferred")

    def body() -> None:
        ctxkit.defer(log.append, "ran")
        ctxkit.defer(fail)
        raise ValueError("body")

    with pytest.raises(ValueError, match="body"):
        drained(made(body))
    assert log == ["ran"]
    assert "a deferred callback failed" in caplog.text


@pytest.mark.rule("F-15")
def test_first_error_of_deferred_callbacks_is_raised_if_the_body_succeeded(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str) -> None:
        raise KeyError(name)

    def body() -> None:
        ctxkit.defer(fail, "second")
        ctxkit.defer(fail, "first")

    with pytest.raises(KeyError, match="first"):
        drained(made(body))
    assert [str(r.exc_info and r.exc_info[1]) for r in caplog.records] == ["'second'"]


@pytest.mark.rule("F-15")
def test_deferred_coroutine_is_awaited_in_coroutines_and_refused_elsewhere() -> None:
    log: list[str] = []

    async def late() -> None:
        await asyncio.sleep(0)
        log.append("awaited")

    @ctxkit.function
    async def asynchronous() -> None:
        ctxkit.defer(late)

    @ctxkit.function
    def synchronous() -> None:
        ctxkit.defer(late)

    asyncio.run(asynchronous())
    assert log == ["awaited"]
    with pytest.raises(ConfigurationError, match="in a synchronous call"):
        synchronous()


@pytest.mark.rule("F-16")
def test_frame_that_is_closed_takes_nothing_more(made: Any) -> None:
    contexts: list[Any] = []
    drained(made(lambda: contexts.append(copy_context())))
    started = ctxkit.function(lambda: None)
    for ask, action in ((lambda: ctxkit.defer(print), "defer"), (started.start, "start")):
        with pytest.raises(FrameClosed, match=f"Cannot {action}"):
            contexts[0].run(ask)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ctxkit.defer(print), "outside of every call, request and invocation"),
        (lambda: ctxkit.defer(7), "got 7"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_deferred_is_refused(ask: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ask()


@pytest.mark.parametrize("mode", ["never", "always"])
def test_deferred_callbacks_of_an_invocation_run_at_its_end(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []

    def fail() -> None:
        raise KeyError

    with ctxkit.invocation("nightly", mode=mode):
        ctxkit.defer(lambda: log.append(ctxkit.get("invocation")))
        ctxkit.defer(fail)
    assert log == ["nightly"]
    assert "a deferred callback failed" in caplog.text

    async def main() -> None:
        async with ctxkit.invocation("nightly", mode=mode):
            ctxkit.defer(asyncio.sleep, 0)
            ctxkit.defer(lambda: log.append(ctxkit.get("invocation")))

    asyncio.run(main())
    assert log == ["nightly", "nightly"]


def test_seconds_that_remain_shrink_with_the_deadline_of_the_caller() -> None:
    assert ctxkit.remaining() is None
    inner = ctxkit.function(interceptors=[within(60)])(ctxkit.remaining)
    outer = ctxkit.function(interceptors=[within(5)])(lambda: (ctxkit.remaining(), inner()))
    seconds, _ = outer()
    assert 4 < seconds <= 5


@pytest.mark.rule("F-23")
def test_body_is_not_entered_when_the_deadline_has_passed(made: Any) -> None:
    function = made(pytest.fail, interceptors=[within(-1)])
    with pytest.raises(DeadlineExceeded, match="is over"):
        drained(function)
    outer = ctxkit.function(interceptors=[within(0.001)])

    @outer
    def late() -> None:
        time.sleep(0.002)
        drained(made(pytest.fail))

    with pytest.raises(DeadlineExceeded, match="late"):
        late()


@pytest.mark.rule("F-24")
def test_checkpoint_raises_when_the_time_is_over() -> None:
    @ctxkit.function(interceptors=[within(0.01)])
    def endless() -> None:
        while True:
            ctxkit.checkpoint()
            time.sleep(0.001)

    with pytest.raises(DeadlineExceeded, match="endless") as caught:
        endless()
    assert isinstance(caught.value, TimeoutError)
    ctxkit.checkpoint()  # outside of everything it does nothing


@pytest.mark.rule("F-25")
def test_start_gives_a_future_in_synchronous_code() -> None:
    begun, log = threading.Event(), []

    @ctxkit.function
    def endless(name: str) -> None:
        log.append((name, ctxkit.get("tenant")))
        begun.set()
        while True:
            ctxkit.checkpoint()
            time.sleep(0.001)

    with ctxkit.bind(tenant="acme"):
        future = endless.start("a")
    assert isinstance(future, futures.Future)
    assert begun.wait(5)
    assert future.cancel()
    done, _ = futures.wait([future], timeout=5)
    assert done == {future}
    with pytest.raises(Cancelled, match="endless was cancelled"):
        future.result()
    assert not future.cancel()
    assert log == [("a", "acme")]


@pytest.mark.rule("F-25")
def test_start_gives_a_task_where_a_loop_runs() -> None:
    counter = [0]

    @ctxkit.function
    async def endless() -> None:
        while True:
            counter[0] += 1
            await asyncio.sleep(0)

    @ctxkit.function
    def blocking() -> Any:
        return ctxkit.get("tenant"), threading.current_thread() is threading.main_thread()

    async def main() -> None:
        with ctxkit.bind(tenant="acme"):
            task = endless.start()
            other = blocking.start()
        assert isinstance(task, asyncio.Task)
        assert isinstance(other, asyncio.Task)
        done, _pending = await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {other}
        assert other.result() == ("acme", False)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counted = counter[0]
        await asyncio.sleep(0.01)
        assert counter[0] == counted

    asyncio.run(main())


@pytest.mark.rule("F-25")
def test_coroutine_function_started_from_synchronous_code_can_be_cancelled() -> None:
    begun, ended = threading.Event(), threading.Event()

    @ctxkit.function
    async def waits() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    future = waits.start()
    assert begun.wait(5)
    future.cancel()
    with pytest.raises(Cancelled, match="waits was cancelled"):
        future.result(5)
    assert ended.is_set()


@pytest.mark.rule("F-11")
@pytest.mark.rule("F-25")
def test_coroutine_function_started_from_a_request_leaves_behind_what_stays() -> None:
    request = ctxkit.Key[object]("started_from", hops=())
    cart = ctxkit.Key[list[int]]("started_with", copy=list)

    @ctxkit.function
    async def seen() -> Any:
        return ctxkit.get(request), ctxkit.get(cart)

    with ctxkit.bind({request: object(), cart: [1]}):
        assert seen.start().result(5) == (None, [1])


@pytest.mark.rule("F-14")
def test_what_is_bound_after_the_start_is_not_seen() -> None:
    gate = threading.Event()

    @ctxkit.function
    def seen() -> Any:
        gate.wait(5)
        return ctxkit.get("tenant")

    with ctxkit.bind(tenant="before"):
        future = seen.start()
        with ctxkit.bind(tenant="after"):
            gate.set()
            assert futures.wait([future], 5).done
    assert future.result() == "before"


@pytest.mark.rule("F-20")
def test_cancelling_the_caller_ends_the_call_before_the_caller_goes_on() -> None:
    log: list[str] = []

    @ctxkit.function
    async def inner() -> None:
        ctxkit.defer(log.append, "deferred")
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("finally")

    async def outer() -> None:
        try:
            await inner()
        finally:
            log.append("caller")

    async def main() -> None:
        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["finally", "deferred", "caller"]


@pytest.mark.rule("F-24")
def test_cancelling_who_awaits_a_thread_ends_it_and_waits() -> None:
    begun, log = threading.Event(), []

    @ctxkit.function
    def endless() -> None:
        begun.set()
        try:
            while True:
                ctxkit.checkpoint()
                time.sleep(0.001)
        finally:
            log.append("ended")

    async def main() -> None:
        task = asyncio.create_task(ctxkit.acall(endless))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["ended"]

    asyncio.run(main())


@pytest.mark.rule("F-26")
def test_what_was_started_ends_with_the_call_that_started_it() -> None:
    log: list[str] = []
    begun = threading.Event()

    @ctxkit.function
    async def child() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("task ended")

    @ctxkit.function
    async def parent() -> None:
        ctxkit.defer(log.append, "deferred")
        child.start()
        await asyncio.sleep(0)

    asyncio.run(parent())
    assert log == ["task ended", "deferred"]

    @ctxkit.function
    def thread() -> None:
        begun.set()
        with contextlib.suppress(Cancelled):
            pause(60)
        log.append("thread ended")

    @ctxkit.function
    def waits_not() -> None:
        thread.start()
        assert begun.wait(5)

    waits_not()
    assert log[2:] == ["thread ended"]


@pytest.mark.rule("F-26")
def test_failure_that_nobody_has_asked_for_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    @ctxkit.function
    def fails() -> None:
        raise ValueError("unseen")

    @ctxkit.function
    def careless() -> None:
        futures.wait([fails.start()], 5)

    @ctxkit.function
    def careful() -> None:
        with pytest.raises(ValueError, match="unseen"):
            fails.start().result()

    with caplog.at_level(logging.ERROR):
        careful()
        assert caplog.records == []
        careless()
    assert [record.getMessage().partition(" was ")[0] for record in caplog.records] == [
        f"ctxkit.functions: {__name__}:{fails.__qualname__}"
    ]


@pytest.mark.rule("F-26")
def test_end_of_what_was_cancelled_is_no_failure_but_another_error_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = threading.Event()

    @ctxkit.function
    def waits(error: Exception | None) -> None:
        begun.set()
        try:
            while True:
                ctxkit.checkpoint()
                time.sleep(0.001)
        except Cancelled:
            raise error or Cancelled("as told") from None

    @ctxkit.function
    def chooses(error: Exception | None) -> None:
        begun.clear()
        started = waits.start(error)
        assert begun.wait(5)
        started.cancel()

    with caplog.at_level(logging.ERROR):
        chooses(None)
        assert caplog.records == []
        chooses(ValueError("while cleaning up"))
    [record] = caplog.records
    assert "while cleaning up" in str(record.exc_info)


@pytest.mark.rule("F-27")
@pytest.mark.parametrize("leftovers", ["ignore", "warn", "await", "cancel"])
def test_nothing_that_was_started_survives_the_invocation(leftovers: str) -> None:
    ended: list[str] = []
    begun = threading.Event()

    @ctxkit.function
    def thread() -> None:
        begun.set()
        try:
            pause(60)
        finally:
            ended.append("thread")

    @ctxkit.function
    async def task() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    with ctxkit.invocation("x", leftovers=leftovers):
        thread.start()
        assert begun.wait(5)
    assert ended == ["thread"]

    async def main() -> None:
        async with ctxkit.invocation("x", leftovers=leftovers):
            task.start()
            await asyncio.sleep(0)
        assert ended == ["thread", "task"]

    asyncio.run(main())


@pytest.mark.rule("F-27")
def test_thread_that_never_looks_is_named_as_a_leftover(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    @ctxkit.function
    def stubborn() -> None:
        gate.wait(10)

    with ctxkit.invocation("order", leftovers="warn", timeout=0.01):
        future = stubborn.start()
        while not future.running():
            time.sleep(0.001)
    assert "(order) ended and left behind: job of a pool" in caplog.text
    gate.set()
    future.result(5)


def test_task_that_a_synchronous_call_started_ends_with_its_caller() -> None:
    ended: list[str] = []

    @ctxkit.function
    async def task() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("task")

    @ctxkit.function
    def starts() -> None:
        tasks.append(task.start())

    @ctxkit.function
    async def caller() -> None:
        starts()
        assert not tasks[0].done()

    async def main() -> None:
        await caller()
        assert tasks[0].cancelled()

    tasks: list[asyncio.Task[None]] = []
    asyncio.run(main())
    assert ended == []  # it had not begun


def test_waiting_for_what_was_started_needs_no_further_thread() -> None:
    @ctxkit.function
    def leaf(number: int) -> int:
        return number

    @ctxkit.function
    def branch(depth: int) -> int:
        if depth == 0:
            return leaf.start(1).result()
        return sum(future.result() for future in [branch.start(depth - 1) for _ in range(3)])

    assert branch(4) == 81


@pytest.mark.rule("F-4A")
def test_wait_for_a_thread_is_a_part_of_the_timeout() -> None:
    from ctxkit.functions import starting  # noqa: PLC0415 - whose threads are taken

    gate = threading.Event()

    @ctxkit.function
    def blocks() -> None:
        assert gate.wait(10)

    late = ctxkit.function(timeout=0.01)(lambda: pytest.fail("entered"))
    blocked = [blocks.start() for _ in range(starting._THREADS)]
    waiting = late.start()
    time.sleep(0.02)
    gate.set()
    with pytest.raises(DeadlineExceeded, match="lambda"):
        # Not without a timeout, which would run it here.
        waiting.result(10)
    for each in blocked:
        each.result()


def test_future_that_was_cancelled_before_it_began_never_begins() -> None:
    from ctxkit.functions.starting import Started  # noqa: PLC0415 - what start() makes

    started = Started("f", pytest.fail)
    assert started.cancel()
    assert started.cancel()
    assert futures.wait([started], 5).done == {started}
    started.run()
    assert started.cancelled()
    with pytest.raises(futures.CancelledError):
        started.result()


def test_pause_ends_with_the_time_of_the_call_and_with_its_cancellation() -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        ctxkit.function(interceptors=[within(0.02)])(pause)(60)
    future = ctxkit.function(pause).start(60)
    while not future.running():
        time.sleep(0.001)
    future.cancel()
    with pytest.raises(Cancelled):
        future.result(5)
    pause(0.001)
    assert time.monotonic() - begun < 30


@pytest.mark.rule("F-14")
def test_started_call_is_gone_when_it_is_done() -> None:
    import gc  # noqa: PLC0415 - here alone
    import weakref  # noqa: PLC0415 - here alone

    frames: list[Any] = []

    @ctxkit.function
    def noting() -> None:
        frames.append(weakref.ref(ctxkit.current()))

    @ctxkit.function
    def failing() -> None:
        noting()
        raise ValueError

    with contextlib.suppress(ValueError):
        failing.start().result()
    noting.start().result()
    gc.collect()
    assert [frame() for frame in frames] == [None, None]


def test_thread_of_a_call_whose_values_stay_behind_is_still_a_part_of_it() -> None:
    stays = ctxkit.Key[str]("stays_in_the_thread_of_a_call", hops=())
    log: list[Any] = []

    @ctxkit.function
    def body() -> None:
        def other_thread() -> None:
            log.append((stays.get("none"), ctxkit.get("tenant"), ctxkit.current().root.outer))
            ctxkit.defer(log.append, "deferred")

        thread = ctxkit.Thread(target=other_thread)
        thread.start()
        thread.join()
        log.append("body")

    with ctxkit.bind(tenant="acme") as outer:
        body.using({stays: "x"})()
    assert log == [("none", "acme", outer), "body", "deferred"]


def test_functions_can_be_started_where_no_process_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    assert "start" in runpy.run_path(starting.__file__)
