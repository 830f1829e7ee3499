"""Retries: real stamina, pauses that are noted instead of waited for."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
from contextlib import suppress
from contextvars import copy_context
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest
from helpers.calls import Failing, call_of, drive_async, drive_sync

import ctxkit
from ctxkit.boundary.intercepting import arun, run
from ctxkit.context import Deadline, Frame
from ctxkit.context._current import CURRENT
from ctxkit.context.lifetime import Lifetime
from ctxkit.exceptions import (
    Cancelled,
    ConfigurationError,
    ContractViolation,
    DeadlineExceeded,
    MissingDependencyError,
    PermissionDenied,
)
from ctxkit.functions import Pool, Retry
from ctxkit.functions.interceptors import limit, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

stamina = pytest.importorskip("stamina")

from ctxkit.functions.interceptors import _stamina, _waiting  # noqa: E402 - needs stamina

LONG = 30.0


@pytest.fixture(autouse=True)
def hooks() -> Iterator[list[Any]]:
    told: list[Any] = []
    stamina.instrumentation.set_on_retry_hooks([told.append])
    yield told
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    noted: list[float] = []

    async def asleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(_stamina, "sleep", noted.append)
    monkeypatch.setattr(_waiting, "asleep", asleep)
    return noted


@pytest.fixture
def inactive() -> Iterator[None]:
    stamina.set_active(False)
    yield
    stamina.set_active(True)


@pytest.mark.rule("F-30")
@pytest.mark.parametrize("attempts", [1, 3])
def test_function_that_fails_is_called_as_often_as_was_said(
    drive: Any, pauses: list[float], attempts: int
) -> None:
    body = Failing(*(ConnectionError(str(number)) for number in range(9)))
    with pytest.raises(ConnectionError):
        drive(body, retry(attempts))
    assert body.calls == attempts
    assert len(pauses) == attempts - 1


def test_function_that_succeeds_is_called_once(drive: Any, pauses: list[float]) -> None:
    body = Failing()
    assert drive(body, retry(5)) == 1
    assert pauses == []


def test_result_of_a_later_attempt_is_returned(drive: Any, pauses: list[float]) -> None:
    assert drive(Failing(ConnectionError(), TimeoutError()), retry(5)) == 3


@pytest.mark.rule("F-31")
@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        SystemExit(3),
        DeadlineExceeded("m:f", 1.0),
        Cancelled("m:f"),
        PermissionDenied("m:f", "shop.buy", "nobody is logged in"),
        ContractViolation("m:f", "input", "x is missing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_end_of_a_call_is_never_retried(
    drive: Any, pauses: list[float], error: BaseException
) -> None:
    body = Failing(error)
    with pytest.raises(type(error)) as caught:
        drive(body, retry(Retry(on=lambda _: True)))
    assert caught.value is error
    assert body.calls == 1


@pytest.mark.rule("F-31")
def test_error_that_says_so_is_never_retried(drive: Any, pauses: list[float]) -> None:
    error = ConnectionError()
    error.retryable = False  # type: ignore[attr-defined]
    body = Failing(error)
    with pytest.raises(ConnectionError):
        drive(body, retry(Retry(on=Exception)))
    assert body.calls == 1


@pytest.mark.rule("F-33")
def test_pauses_are_those_of_the_policy(drive: Any, pauses: list[float]) -> None:
    policy = Retry(5, initial_delay=0.05, max_delay=0.15, jitter=0, on=OSError)
    with pytest.raises(OSError, match="4"):
        drive(Failing(*(OSError(str(number)) for number in range(9))), retry(policy))
    assert pauses == pytest.approx([0.05, 0.1, 0.15, 0.15])


@pytest.mark.rule("F-33")
def test_seconds_that_an_error_asks_for_are_the_pause(drive: Any, pauses: list[float]) -> None:
    policy = Retry(on=lambda error: float(error.args[0]))
    assert drive(Failing(OSError(7), OSError(0)), retry(policy)) == 3
    assert pauses == [7.0]


@pytest.mark.rule("F-34")
@pytest.mark.parametrize("holder", ["call", "frame"])
def test_pause_that_would_pass_the_deadline_is_not_begun(
    drive: Any, pauses: list[float], holder: str
) -> None:
    deadline = Deadline.after(LONG)
    fields: dict[str, Any] = {"deadline": deadline}
    if holder == "frame":
        fields = {"frame": Frame({}, deadline=deadline)}
    error = ConnectionError()
    body = Failing(ConnectionError(), error)
    policy = Retry(9, initial_delay=LONG - 10, max_delay=2 * LONG, jitter=0)
    with pytest.raises(ConnectionError) as caught:
        drive(body, retry(policy), **fields)
    assert caught.value is error
    assert pauses == [LONG - 10]


@pytest.mark.rule("F-34")
def test_cancelled_coroutine_ends_its_pause_at_once() -> None:
    calls: list[ctxkit.Call] = []

    async def main() -> None:
        called = asyncio.Event()

        async def abody(call: ctxkit.Call) -> None:
            calls.append(call)
            called.set()
            raise ConnectionError

        policy = Retry(initial_delay=LONG, max_delay=LONG)
        task = asyncio.create_task(arun((retry(policy),), call_of(asynchronous=True), abody))
        await called.wait()
        await asyncio.sleep(0)  # into the pause
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LONG / 3)

    asyncio.run(main())
    assert len(calls) == 1


@pytest.mark.rule("F-34")
def test_cancelled_thread_ends_its_pause_at_once() -> None:
    called, ended = Event(), Event()
    caught: list[BaseException] = []
    frame = Frame({})
    frame.lifetime = Lifetime("m:started")

    def body(call: ctxkit.Call) -> None:
        called.set()
        raise ConnectionError

    def work() -> None:
        CURRENT.set(frame)
        policy = Retry(initial_delay=LONG, max_delay=LONG)
        try:
            run((retry(policy),), call_of(frame=frame), body)
        except Exception as error:
            caught.append(error)
        ended.set()

    ctxkit.Thread(target=copy_context().run, args=(work,)).start()
    assert called.wait(LONG / 3)
    frame.lifetime.cancel()
    assert ended.wait(LONG / 3)
    (error,) = caught
    assert isinstance(error, Cancelled)
    assert error.function == "m:started"


@pytest.mark.rule("F-35")
def test_last_error_is_raised_as_it_was(drive: Any, pauses: list[float]) -> None:
    errors = [ConnectionError("1"), ConnectionError("2"), ConnectionError("3")]
    with pytest.raises(ConnectionError) as caught:
        drive(Failing(*errors), retry())
    assert caught.value is errors[-1]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_error_that_was_caught_keeps_nothing_of_the_call(asynchronous: bool) -> None:  # noqa: FBT001
    class Order:
        pass

    stamina.instrumentation.set_on_retry_hooks([])  # ours keep the errors
    orders: list[ref[Order]] = []

    def body(call: ctxkit.Call) -> None:
        order = Order()
        orders.append(ref(order))
        raise ConnectionError

    async def abody(call: ctxkit.Call) -> None:
        body(call)

    gc.collect()
    gc.disable()
    try:
        with suppress(ConnectionError):
            if asynchronous:
                # By hand: what asyncio makes of an error holds a cycle of its own.
                arun((retry(),), call_of(asynchronous=True), abody).send(None)
            else:
                run((retry(),), call_of(), body)
        assert [order() for order in orders] == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.rule("F-05")
def test_stop_iteration_comes_out_as_it_was() -> None:
    error = StopIteration(1)
    with pytest.raises(StopIteration) as caught:
        drive_sync(Failing(error), retry())
    assert caught.value is error


@pytest.mark.rule("F-36")
def test_testing_mode_of_stamina_takes_the_pauses_away(drive: Any, pauses: list[float]) -> None:
    body = Failing(*(ConnectionError() for _ in range(9)))
    with stamina.set_testing(True, attempts=5), pytest.raises(ConnectionError):
        drive(body, retry(2))
    assert body.calls == 5
    assert pauses == []


@pytest.mark.rule("F-36")
@pytest.mark.usefixtures("inactive")
def test_stamina_that_is_not_active_calls_once(drive: Any) -> None:
    body = Failing(ConnectionError(), ConnectionError())
    with pytest.raises(ConnectionError):
        drive(body, retry(5))
    assert body.calls == 1


def test_hooks_of_stamina_are_told_the_name_and_the_error(
    drive: Any, pauses: list[float], hooks: list[Any]
) -> None:
    error = ConnectionError()
    drive(Failing(error), retry())
    (told,) = hooks
    assert told.name == "m:f"
    assert told.caused_by is error
    assert told.retry_num == 1


@pytest.mark.rule("F-47")
def test_slot_is_free_during_a_pause(drive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool.static(1)
    busy: list[int] = []

    def look(_: object) -> None:
        busy.append(pool.stats().busy)

    async def asleep(seconds: float) -> None:
        look(seconds)

    def body(call: ctxkit.Call) -> None:
        look(call)
        if len(busy) < 3:
            raise ConnectionError

    monkeypatch.setattr(_stamina, "sleep", look)
    monkeypatch.setattr(_waiting, "asleep", asleep)
    drive(body, retry(), limit(pool))
    assert busy == [1, 0, 1]
    assert pool.stats().busy == 0


def test_coroutine_that_is_closed_is_not_tried_again() -> None:
    ended: list[str] = []

    async def abody(call: ctxkit.Call) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append("closed")

    steps = arun((retry(Retry(on=lambda _: True)),), call_of(asynchronous=True), abody)
    steps.send(None)
    steps.close()
    assert ended == ["closed"]


def test_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"retry\(\) must be"):
        retry("often")  # type: ignore[arg-type]


def test_retry_around_a_request_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"retry\(at=\) has http"):
        retry(at={"http"})


def test_retries_without_stamina_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, _stamina.__name__)
    monkeypatch.setitem(sys.modules, "stamina", None)
    with pytest.raises(MissingDependencyError, match=r"django-ctxkit\[retry\]"):
        retry(2)
    assert drive_async(Failing(), retry(1)) == 1


@pytest.mark.skipif(importlib.util.find_spec("trio") is None, reason="needs trio")
def test_pause_under_trio_is_one_of_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    import trio  # noqa: PLC0415 - of this test alone
    import trio.testing  # noqa: PLC0415

    async def abody(call: ctxkit.Call) -> Any:
        return body(call)

    body = Failing(ConnectionError())
    clock = trio.testing.MockClock(autojump_threshold=0)
    call = call_of(asynchronous=True)
    policy = Retry(initial_delay=LONG, max_delay=LONG)
    assert trio.run(arun, (retry(policy),), call, abody, clock=clock) == 2
