"""What a call needs to get in, what is logged of it, and what lands before its result."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from helpers.calls import Failing, call_of

import ctxkit
from ctxkit.boundary.intercepting import arun
from ctxkit.context import Deadline
from ctxkit.exceptions import ConfigurationError, MissingContext, PoolFull
from ctxkit.flushing import add_sink, on_report, remove_sink
from ctxkit.functions.interceptors import flush, limit, log, requires
from ctxkit.testing import MemorySink

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pool:
    def __init__(self, error: Exception | None = None) -> None:
        self.log: list[Any] = []
        self.error = error

    def acquire(self, deadline: Deadline | None) -> Any:
        self.log.append(("sync", deadline))
        if self.error:
            raise self.error
        return self

    async def aacquire(self, deadline: Deadline | None) -> Any:
        self.acquire(deadline)
        self.log[-1] = ("async", deadline)
        return self

    waited = 0.25

    def __enter__(self) -> None:
        self.log.append("in")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.log.append(error)


def test_call_waits_for_its_pool_in_its_colour_and_no_longer_than_its_deadline(drive: Any) -> None:
    pool, deadline = Pool(), Deadline(5.0)
    assert drive(Failing(), limit(pool), deadline=deadline) == 1
    assert pool.log == [("async" if drive.asynchronous else "sync", deadline), "in", None]


def test_slot_is_told_of_the_error(drive: Any) -> None:
    pool, error = Pool(), ValueError()
    with pytest.raises(ValueError) as caught:
        drive(Failing(error), limit(pool))
    assert caught.value is error
    assert pool.log[1:] == ["in", error]


def test_full_pool_keeps_the_body_out(drive: Any) -> None:
    body = Failing()
    with pytest.raises(PoolFull):
        drive(body, limit(Pool(PoolFull("orders", 3))))
    assert body.calls == 0


def test_limit_without_a_pool_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"limit\(\) got 3, no pool"):
        limit(3)


HERE = ctxkit.Key[str]("interceptors_here", hops=())


@pytest.mark.rule("F-83")
def test_all_that_is_missing_is_named_and_the_body_not_entered(drive: Any) -> None:
    body = Failing()
    guard = requires("tenant", HERE, "user_id", "actor")
    with ctxkit.bind({"tenant": None, HERE: "stays"}), pytest.raises(MissingContext) as caught:
        drive(body, guard, values={"actor": 7})
    assert caught.value.missing == ("interceptors_here", "user_id")
    assert body.calls == 0


@pytest.mark.rule("F-83")
def test_call_that_has_what_is_required_goes_on(drive: Any) -> None:
    guard = requires("tenant", HERE)
    with ctxkit.bind(tenant=1):
        assert drive(Failing(), guard, values={HERE.name: "given"}) == 1


def test_requirement_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Python identifier"):
        requires("not a name")


@pytest.fixture
def sink() -> Iterator[MemorySink]:
    sink = MemorySink("orders")
    add_sink(sink)
    yield sink
    remove_sink(sink)


@pytest.fixture
def reasons() -> Iterator[list[str]]:
    heard: list[str] = []
    remove = on_report(lambda report: heard.append(report.reason))
    yield heard
    remove()


def test_what_a_call_recorded_lands_before_its_result(
    drive: Any, sink: MemorySink, reasons: list[str]
) -> None:
    @ctxkit.interceptor(order=6)
    def recording(call: ctxkit.Call) -> Any:
        result = yield call
        sink.record("span of the call")
        return result

    assert drive(Failing(), flush(), recording) == 1
    assert sink.landed == ["span of the call"]
    assert reasons == ["return"]


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError()])
def test_what_a_failed_call_recorded_lands_before_its_error(
    drive: Any, sink: MemorySink, reasons: list[str], error: BaseException
) -> None:
    def body(call: ctxkit.Call) -> None:
        sink.record("error")
        raise error

    with pytest.raises(type(error)) as caught:
        drive(body, flush())
    assert caught.value is error
    assert sink.landed == ["error"]
    assert reasons == ["exception"]


def test_call_that_is_cancelled_while_it_is_flushed_is_flushed_and_cancelled(
    sink: MemorySink,
) -> None:
    async def body(call: ctxkit.Call) -> None:
        sink.record("order")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(arun((flush(),), call_of(asynchronous=True), body))
    assert sink.landed == ["order"]


def test_coroutine_that_is_closed_does_not_wait_for_a_flush(sink: MemorySink) -> None:
    async def body(call: ctxkit.Call) -> None:
        sink.record("order")
        await asyncio.sleep(0)

    steps = arun((flush(),), call_of(asynchronous=True), body)
    steps.send(None)
    steps.close()


def test_flush_around_a_request_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"flush\(at=\) has http"):
        flush(at=["http", "call"])


def test_begin_and_end_of_a_call_are_logged_without_its_values(
    drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "ctxkit.functions"):
        drive(Failing(), log(logging.DEBUG), args=("secret",))
    begin, end = caplog.records
    assert begin.getMessage() == "ctxkit.call.begin: m:f"
    assert end.getMessage().startswith("ctxkit.call.end: m:f after ")
    assert {begin.levelno, end.levelno} == {logging.DEBUG}
    assert (end.function, end.seconds >= 0) == ("m:f", True)  # type: ignore[attr-defined]
    assert "secret" not in caplog.text


def test_failure_of_a_call_is_logged_by_the_class_of_its_error(
    drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ctxkit.functions"), pytest.raises(PoolFull):
        drive(Failing(PoolFull("secret", 1)), log())
    assert "m:f with ctxkit.exceptions.PoolFull after" in caplog.messages[-1]
    assert caplog.records[-1].levelno == logging.WARNING
    assert "secret" not in caplog.text


def test_arguments_are_logged_if_they_are_asked_for(
    drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ctxkit.functions"):
        drive(Failing(), log(arguments=True), args=(1,), kwargs={"b": "x"})
    assert caplog.messages[0] == "ctxkit.call.begin: m:f(1, b='x')"


def test_argument_that_cannot_be_shown_fails_no_call(
    drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Closed:
        def __repr__(self) -> str:
            raise ConnectionError("lost")

    with caplog.at_level("INFO", "ctxkit.functions"):
        assert drive(Failing(), log(arguments=True), args=(Closed(),), kwargs={"b": Closed()}) == 1
    assert "(<test_argument_that_cannot_be_shown_fails_no_call.<locals>.Closed>" in caplog.text
