from __future__ import annotations

import time
from typing import Any

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import CallableSink, Sink, SinkOutcome, SinkStatus, add_sink, flush


def test_function_without_argument_is_called_with_none() -> None:
    calls: list[str] = []
    sink = CallableSink("audit", lambda: calls.append("flushed"))
    assert isinstance(sink, Sink)
    add_sink(sink)
    [result] = flush(10).results
    assert (result.sink, result.status, result.pending) == ("audit", "unverified", None)
    assert calls == ["flushed"]


def test_function_with_argument_is_called_with_the_time_that_is_left() -> None:
    timeouts: list[float] = []

    def send(timeout: float) -> bool:
        timeouts.append(timeout)
        return True

    add_sink(CallableSink("audit", send))
    assert flush(7).results[0].status == "ok"
    assert timeouts == [7]


def test_function_written_in_c_without_a_signature_is_called_with_nothing() -> None:
    waiting = {1: "a"}
    add_sink(CallableSink("audit", waiting.clear))
    assert flush(10).results[0].status == "unverified"
    assert waiting == {}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (True, "ok"),
        (False, "error"),
        (None, "unverified"),
        (7, "error"),
        (SinkOutcome(SinkStatus.OK, "well"), "ok"),
    ],
)
def test_answer_is_that_of_the_function(answer: Any, status: str) -> None:
    add_sink(CallableSink("audit", lambda: answer))
    assert flush(10).results[0].status == status


def test_pending_is_asked_of_the_function_and_zero_ends_the_matter() -> None:
    waiting = ["a"]
    calls: list[int] = []

    def send() -> bool:
        calls.append(len(waiting))
        waiting.clear()
        return True

    add_sink(CallableSink("audit", send, pending=waiting.__len__))
    assert [flush(10).results[0].status for _ in range(2)] == ["ok", "empty"]
    assert calls == [1]


def test_function_that_hangs_holds_nobody_beyond_the_timeout() -> None:
    add_sink(CallableSink("audit", lambda: time.sleep(2)))
    begun = time.monotonic()
    assert not flush(0.1).ok
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("", print), "the name ''"),
        ((7, print), "the name 7"),
        (("audit", 7), "7 as flush"),
        (("audit", None), "None as flush"),
        (("audit", print, 7), "7 as pending"),
    ],
)
def test_bad_arguments_are_a_configuration_error(arguments: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        CallableSink(*arguments)
