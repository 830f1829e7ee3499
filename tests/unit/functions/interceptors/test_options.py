"""The interceptors that options of a function stand for, around real functions."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context import Deadline
from ctxkit.exceptions import Cancelled, DeadlineExceeded, MissingContext
from ctxkit.functions import Retry, naming
from ctxkit.functions.interceptors import log, span

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 30.0


@pytest.fixture(autouse=True)
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_units", {}, raising=False)


@pytest.mark.rule("F-35")
def test_each_attempt_has_a_frame_of_its_own_that_is_closed() -> None:
    pytest.importorskip("stamina")
    frames: list[ctxkit.Frame] = []
    ended: list[int] = []

    @ctxkit.function(name="o:sync", retry=Retry(initial_delay=0.001, jitter=0))
    def failing() -> None:
        frames.append(ctxkit.current())
        ctxkit.defer(ended.append, len(frames))
        raise ConnectionError(str(len(frames)))

    with pytest.raises(ConnectionError, match="3"):
        failing()
    assert len({id(frame) for frame in frames}) == 3
    assert ended == [1, 2, 3]


@pytest.mark.rule("F-35")
def test_each_attempt_of_a_coroutine_has_a_frame_of_its_own_that_is_closed() -> None:
    pytest.importorskip("stamina")
    frames: list[ctxkit.Frame] = []
    ended: list[int] = []

    @ctxkit.function(name="o:async", retry=Retry(initial_delay=0.001, jitter=0))
    async def failing() -> None:
        frames.append(ctxkit.current())
        ctxkit.defer(ended.append, len(frames))
        await asyncio.sleep(0)
        raise ConnectionError(str(len(frames)))

    with pytest.raises(ConnectionError, match="3"):
        asyncio.run(failing())
    assert len({id(frame) for frame in frames}) == 3
    assert ended == [1, 2, 3]


@pytest.mark.rule("F-34")
def test_started_thread_that_is_cancelled_in_a_pause_ends() -> None:
    pytest.importorskip("stamina")
    called = Event()

    @ctxkit.function(name="o:started", retry=Retry(initial_delay=LONG, max_delay=LONG))
    def failing() -> None:
        called.set()
        raise ConnectionError

    with ctxkit.invocation("test", mode="never"):
        future = failing.start()
        assert called.wait(LONG / 3)
        future.cancel()
        with pytest.raises((Cancelled, asyncio.CancelledError)):
            future.result(LONG / 3)


@pytest.mark.rule("F-21")
def test_inner_function_ends_at_the_deadline_of_the_outer_one() -> None:
    @ctxkit.function(name="o:inner", timeout=LONG)
    def inner() -> None:
        while True:
            ctxkit.checkpoint()

    @ctxkit.function(name="o:outer", timeout=0.02)
    def outer() -> None:
        inner()

    with pytest.raises(DeadlineExceeded) as caught:
        outer()
    assert caught.value.function == "o:outer"


@pytest.mark.rule("F-21")
def test_deadline_of_an_interceptor_is_no_later_than_that_of_the_caller() -> None:
    @ctxkit.interceptor(order=15)
    def later(call: Any) -> Any:
        return (yield call.replace(deadline=Deadline.after(2 * LONG)))

    left: list[float | None] = []

    @ctxkit.function(name="o:inner", interceptors=[later])
    def inner() -> None:
        left.append(ctxkit.remaining())

    @ctxkit.function(name="o:outer", timeout=LONG)
    def outer() -> None:
        inner()
        inner.using(timeout=2 * LONG)()

    outer()
    assert all(each is not None and each <= LONG for each in left)
    assert len(left) == 2


@pytest.mark.rule("F-83")
def test_required_values_are_looked_for_in_the_frame_and_in_the_call() -> None:
    @ctxkit.function(name="o:required", requires=["tenant", "user_id"])
    def greet() -> Any:
        return ctxkit.get("tenant"), ctxkit.get("user_id")

    with pytest.raises(MissingContext) as caught:
        greet()
    assert caught.value.missing == ("tenant", "user_id")
    with ctxkit.bind(tenant="acme"):
        assert greet.using({"user_id": 7})() == ("acme", 7)


@pytest.mark.rule("F-83")
def test_required_values_that_an_interceptor_further_out_has_bound_are_found() -> None:
    @ctxkit.interceptor(order=15)
    def binding(call: Any) -> Any:
        with ctxkit.bind(tenant="acme"):
            return (yield call)

    @ctxkit.function(name="o:bound", requires=["tenant"], interceptors=[binding])
    def greet() -> Any:
        return ctxkit.get("tenant")

    assert greet() == "acme"


@pytest.fixture
def everywhere() -> Iterator[None]:
    chosen = [span(), log()]
    for each in chosen:
        ctxkit.add_interceptor(each)
    yield
    for each in chosen:
        ctxkit.remove_interceptor(each)


@pytest.mark.usefixtures("everywhere")
def test_interceptors_of_the_process_are_around_every_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @ctxkit.function(name="o:plain")
    def plain() -> int:
        return 1

    with caplog.at_level("INFO", "ctxkit.functions"):
        assert plain() == 1
    assert caplog.messages[0] == "ctxkit.call.begin: o:plain"
