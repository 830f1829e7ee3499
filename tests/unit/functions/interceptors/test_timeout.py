"""Timeouts: real in coroutines, a deadline everywhere."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest
from helpers.calls import Clock, Failing, call_of

import ctxkit
from ctxkit.boundary.intercepting import arun
from ctxkit.context import Deadline, Frame, deadline
from ctxkit.exceptions import ConfigurationError, DeadlineExceeded
from ctxkit.functions.interceptors import timeout

SOON, LONG = 0.02, 30.0


def _forever(*chain: ctxkit.Interceptor, **fields: Any) -> Any:
    async def body(call: ctxkit.Call) -> None:
        await asyncio.Event().wait()

    return arun(chain, call_of(asynchronous=True, **fields), body)


def _named(name: str, around: Any) -> ctxkit.Interceptor:
    @ctxkit.interceptor(name=name)
    def naming(call: ctxkit.Call) -> Any:
        return (yield call.replace(name=name))

    return naming


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadline, "monotonic", clock)
    return clock


@pytest.mark.rule("F-21")
@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("outer", "owner"), [(None, "m:f"), (2.0, "outer"), (5.0, "m:f")])
@pytest.mark.parametrize("holder", ["call", "frame"])
def test_earlier_deadline_goes_in(drive: Any, outer: float | None, owner: str, holder: str) -> None:
    inherited = None if outer is None else Deadline.after(outer, "outer")
    fields: dict[str, Any] = {"deadline": inherited}
    if holder == "frame":
        fields = {"frame": Frame({}, deadline=inherited)}
    seen = drive(lambda call: call.deadline, timeout(3.0), **fields)
    assert seen.owner == owner
    assert seen.remaining() == pytest.approx(2.0 if owner == "outer" else 3.0)


@pytest.mark.rule("F-21")
def test_coroutine_is_cancelled_at_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(_forever(timeout(SOON)))
    assert (caught.value.function, caught.value.timeout) == ("m:f", SOON)


@pytest.mark.rule("F-21")
def test_outer_deadline_names_the_outer_function() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(_forever(timeout(SOON), _named("m:inner", None), timeout(LONG)))
    assert (caught.value.function, caught.value.timeout) == ("m:f", SOON)


@pytest.mark.rule("F-21")
def test_inner_deadline_names_the_inner_function() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(_forever(timeout(LONG), _named("m:inner", None), timeout(SOON)))
    assert (caught.value.function, caught.value.timeout) == ("m:inner", SOON)


@pytest.mark.rule("F-21")
def test_deadline_of_a_host_ends_a_coroutine_too() -> None:
    frame = Frame({}, deadline=Deadline.after(SOON))
    with pytest.raises(DeadlineExceeded, match="this request"):
        asyncio.run(_forever(timeout(LONG), frame=frame))


@pytest.mark.rule("F-22")
def test_timeout_error_of_the_body_stays_what_it_is(drive: Any) -> None:
    error = TimeoutError("the database's")
    with pytest.raises(TimeoutError) as caught:
        drive(Failing(error), timeout(LONG))
    assert caught.value is error
    assert caught.value.__context__ is None


@pytest.mark.rule("F-22")
def test_timeout_around_the_call_stays_the_user_s() -> None:
    async def main() -> None:
        async with asyncio.timeout(SOON):
            await _forever(timeout(LONG))

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert type(caught.value) is TimeoutError


@pytest.mark.rule("F-20")
def test_cancelled_call_stays_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(_forever(timeout(LONG)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


@pytest.mark.parametrize("kind", ["http", "task"])
def test_what_runs_in_the_frame_of_its_caller_knows_the_deadline(drive: Any, kind: str) -> None:
    with ctxkit.bind(tenant="acme"):
        guard = timeout(LONG, at={"http", "task"})
        seen = drive(lambda _: (ctxkit.current().deadline, ctxkit.get("tenant")), guard, kind=kind)
        assert ctxkit.current().deadline is None
    assert seen[0].owner == "m:f"
    assert seen[1] == "acme"


@pytest.mark.rule("F-23")
def test_body_is_not_entered_after_the_deadline(drive: Any, clock: Clock) -> None:
    outer = Deadline.after(1.0, "outer")
    clock.now += 1.0
    body = Failing()
    with pytest.raises(DeadlineExceeded) as caught:
        drive(body, timeout(LONG), deadline=outer)
    assert caught.value.function == "outer"
    assert body.calls == 0


def test_task_goes_on_after_a_timeout_that_was_met(drive: Any) -> None:
    assert drive(Failing(), timeout(LONG)) == 1

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(DeadlineExceeded):
            await _forever(timeout(SOON))
        await asyncio.sleep(0)
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_coroutine_that_is_closed_leaves_no_timer() -> None:
    async def main() -> list[Any]:
        steps = _forever(timeout(LONG))
        await asyncio.create_task(_first_step(steps))
        steps.close()
        timers: list[Any] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        return [timer for timer in timers if not timer.cancelled()]

    assert asyncio.run(main()) == []


async def _first_step(steps: Any) -> None:
    steps.send(None)._asyncio_future_blocking = False


@pytest.mark.skipif(importlib.util.find_spec("trio") is None, reason="needs trio")
def test_timeout_outside_of_asyncio_is_refused() -> None:
    import trio  # noqa: PLC0415 - of this test alone

    with pytest.raises(ConfigurationError, match="not run by asyncio"):
        trio.run(lambda: _forever(timeout(LONG)))


@pytest.mark.parametrize("seconds", [-1, None, "soon", float("nan")])
def test_timeout_that_is_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"timeout\(\) must be"):
        timeout(seconds)
