"""Circuit breakers of functions, on a clock that a test moves."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from helpers.calls import Clock, Failing

from ctxkit.exceptions import CircuitOpen, ConfigurationError, PermissionDenied, PoolFull
from ctxkit.flushing.breaker import Breaker
from ctxkit.functions import Retry
from ctxkit.functions.interceptors import breaking, circuit_breaker

if TYPE_CHECKING:
    import ctxkit

REST = 10.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaking, "Breaker", partial(Breaker, clock))
    return clock


@pytest.fixture
def breaker(clock: Clock) -> ctxkit.Interceptor:
    return circuit_breaker(threshold=2, rest=REST)


def _fail(drive: Any, breaker: ctxkit.Interceptor, times: int = 1, **fields: Any) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            drive(Failing(OSError("down")), breaker, **fields)


def test_function_that_failed_too_often_is_not_called(
    drive: Any, breaker: ctxkit.Interceptor, clock: Clock
) -> None:
    _fail(drive, breaker, 2)
    clock.now += 4.0
    body = Failing()
    with pytest.raises(CircuitOpen) as caught:
        drive(body, breaker)
    assert body.calls == 0
    assert caught.value.function == "m:f"
    assert caught.value.retry_after == pytest.approx(REST - 4.0)
    assert caught.value.http_status == 503
    assert Retry().is_retryable(caught.value)


def test_success_in_between_begins_the_count_anew(drive: Any, breaker: ctxkit.Interceptor) -> None:
    _fail(drive, breaker)
    drive(Failing(), breaker)
    _fail(drive, breaker)
    assert drive(Failing(), breaker) == 1


def test_one_call_tries_after_the_rest_for_all(
    drive: Any, breaker: ctxkit.Interceptor, clock: Clock
) -> None:
    _fail(drive, breaker, 2)
    clock.now += REST

    def body(call: ctxkit.Call) -> str:
        with pytest.raises(CircuitOpen):  # another one, meanwhile
            next(breaker(call))
        return "well"

    assert drive(body, breaker) == "well"
    _fail(drive, breaker)
    assert drive(Failing(), breaker) == 1


def test_failure_after_the_rest_begins_another(
    drive: Any, breaker: ctxkit.Interceptor, clock: Clock
) -> None:
    _fail(drive, breaker, 2)
    clock.now += REST
    _fail(drive, breaker)
    with pytest.raises(CircuitOpen):
        drive(Failing(), breaker)


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        PermissionDenied("m:f", "shop.buy", "not allowed"),
        PoolFull("db", 64),
    ],
)
def test_error_that_tells_nothing_of_the_function_is_no_failure(
    drive: Any, breaker: ctxkit.Interceptor, clock: Clock, error: BaseException
) -> None:
    _fail(drive, breaker)
    with pytest.raises(type(error)):
        drive(Failing(error), breaker)
    _fail(drive, breaker)
    clock.now += REST
    with pytest.raises(type(error)):
        drive(Failing(error), breaker)
    assert drive(Failing(), breaker) == 1  # the next one tries for all


@pytest.mark.parametrize("on", [OSError, (OSError, KeyError), lambda error: "down" in str(error)])
def test_failures_are_those_that_were_named(drive: Any, clock: Clock, on: Any) -> None:
    breaker = circuit_breaker(threshold=1, on=on)
    with pytest.raises(ValueError, match="wrong"):
        drive(Failing(ValueError("wrong")), breaker)
    _fail(drive, breaker)
    with pytest.raises(CircuitOpen):
        drive(Failing(), breaker)


def test_each_function_has_a_breaker_of_its_own(drive: Any, breaker: ctxkit.Interceptor) -> None:
    _fail(drive, breaker, 2, name="m:g")
    assert drive(Failing(), breaker) == 1


def test_opening_and_closing_are_logged(
    drive: Any, breaker: ctxkit.Interceptor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ctxkit.functions"):
        _fail(drive, breaker, 2)
        clock.now += REST
        drive(Failing(), breaker)
    assert caplog.messages == [
        "ctxkit.breaker.open: m:f, nobody calls it for 10.0 s",
        "ctxkit.breaker.closed: m:f",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_child_does_not_wait_for_a_thread_of_its_parent(
    breaker: ctxkit.Interceptor,
) -> None:
    guard = breaker.plan.args[0]  # type: ignore[attr-defined]
    with breaking._TURNS.lock:
        child = os.fork()
        if not child:
            signal.alarm(5)  # or it would wait for ever
            guard.fail(guard.of("m:f"), "m:f")
            os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": True},
        {"rest": -1},
        {"on": 3},
        {"on": ()},
        {"on": KeyboardInterrupt},
    ],
)
def test_breaker_that_cannot_be_is_refused(wrong: Any) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"circuit_breaker\({name}=\)"):
        circuit_breaker(**wrong)
