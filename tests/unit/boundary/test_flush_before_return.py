from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.boundary.invocations import CLOSED
from ctxkit.context import NO_FRAME
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from helpers.timeline import RecordingSink

asgiref_sync = pytest.importorskip("asgiref.sync") if sys.version_info < (3, 12) else inspect


class LambdaContext:
    aws_request_id = "8f5b-aws"

    def __init__(self, milliseconds: float = 3000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> float:
        return self.milliseconds


class Worker:
    def method(self, *args: object) -> object:
        return args

    async def amethod(self, *args: object) -> object:
        await asyncio.sleep(0)
        return args

    def __call__(self, *args: object) -> object:
        return args


class AsyncWorker:
    async def __call__(self, *args: object) -> object:
        await asyncio.sleep(0)
        return args


def function(*args: object) -> object:
    """Say it."""
    return args


async def afunction(*args: object) -> object:
    await asyncio.sleep(0)
    return args


def marked(*args: object) -> object:
    return afunction(*args)


SYNC: list[Callable[..., Any]] = [function, functools.partial(function), Worker().method, Worker()]
ASYNC: list[Callable[..., Any]] = [
    afunction,
    functools.partial(functools.partial(afunction)),
    Worker().amethod,
    AsyncWorker(),
    functools.partial(AsyncWorker()),
    asgiref_sync.markcoroutinefunction(marked),
]


@pytest.mark.parametrize("each", SYNC)
def test_callable_is_flushed_when_it_returns(
    sink: RecordingSink, timeline: list[object], each: Callable[..., Any]
) -> None:
    decorated = ctxkit.flush_before_return(each)
    argument = object()
    assert decorated(argument) == (argument,)
    assert timeline == ["flush"]
    assert not inspect.iscoroutinefunction(decorated)


@pytest.mark.parametrize("each", ASYNC)
def test_coroutine_function_is_flushed_when_it_returns_and_stays_one(
    sink: RecordingSink, timeline: list[object], each: Callable[..., Any]
) -> None:
    decorated = ctxkit.flush_before_return(each)
    argument = object()
    assert inspect.iscoroutinefunction(decorated)
    assert asyncio.run(decorated(argument)) == (argument,)
    assert timeline == ["flush"]


def test_methods_of_all_kinds_can_be_decorated(sink: RecordingSink, timeline: list[object]) -> None:
    class Service:
        @ctxkit.flush_before_return
        def plain(self) -> object:
            return self

        @ctxkit.flush_before_return(timeout=1)
        @classmethod
        def of_class(cls) -> object:
            return cls

        @ctxkit.flush_before_return
        @staticmethod
        def static() -> str:
            return "static"

        @ctxkit.flush_before_return
        def __call__(self) -> str:
            return "called"

    service = Service()
    assert service.plain() is service
    assert Service.of_class() is Service
    assert Service.static() == "static"
    assert service() == "called"
    assert timeline == ["flush"] * 4


def test_name_document_signature_and_attributes_stay() -> None:
    def view(request: str, *, page: int = 1) -> str:
        """Show it."""
        return request * page

    view.csrf_exempt = True  # type: ignore[attr-defined]
    decorated = ctxkit.flush_before_return(timeout=1)(view)
    assert (decorated.__name__, decorated.__doc__) == ("view", "Show it.")
    assert inspect.signature(decorated) == inspect.signature(view)
    assert decorated.csrf_exempt  # type: ignore[attr-defined]


ERRORS = [
    ValueError("x"),
    SystemExit(2),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_exception_is_flushed_and_comes_out_as_the_same_object(
    sink: RecordingSink, timeline: list[object], error: BaseException
) -> None:
    @ctxkit.flush_before_return
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert timeline == ["flush"]


@pytest.mark.parametrize("error", ERRORS[:4], ids=lambda error: type(error).__name__)
def test_every_exception_of_a_coroutine_is_flushed_and_comes_out(
    sink: RecordingSink, timeline: list[object], error: BaseException
) -> None:
    @ctxkit.flush_before_return
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        # By hand: a task would tear its loop down for SystemExit and KeyboardInterrupt.
        with pytest.raises(type(error)) as caught:
            await fail()
        assert caught.value is error
        assert timeline == ["flush"]

    asyncio.run(main())


def test_cancelled_coroutine_is_flushed_to_the_end(
    sink: RecordingSink, timeline: list[object]
) -> None:
    @ctxkit.flush_before_return
    async def wait(entered: asyncio.Event) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def main() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(wait(entered))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert timeline == ["flush"]

    asyncio.run(main())


def test_cancellation_during_the_flush_comes_out_when_it_is_over(
    sink: RecordingSink, timeline: list[object]
) -> None:
    sink.opened.clear()

    async def main() -> None:
        task = asyncio.create_task(ctxkit.flush_before_return(afunction)())
        await asyncio.to_thread(sink.flushing.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        sink.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert timeline == ["flush"]

    asyncio.run(main())


def test_coroutine_under_trio_is_flushed_too(sink: RecordingSink, timeline: list[object]) -> None:
    trio = pytest.importorskip("trio")

    @ctxkit.flush_before_return
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert trio.run(work) == 7
    assert timeline == ["flush"]


def test_closed_coroutine_begins_the_flush_without_waiting(sink: RecordingSink) -> None:
    sink.opened.clear()
    seen: list[str] = []

    @ctxkit.flush_before_return
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("closed")

    async def main() -> None:
        coroutine = wait()
        coroutine.send(None)  # type: ignore[attr-defined]
        coroutine.close()  # type: ignore[attr-defined]
        assert seen == ["closed"]
        assert sink.flushing.wait(10)

    asyncio.run(main())


def test_sink_that_hangs_holds_the_result_no_longer_than_allowed(
    sink: RecordingSink, timeline: list[object]
) -> None:
    sink.opened.clear()
    assert ctxkit.flush_before_return(timeout=0.02)(function)(1) == (1,)
    assert asyncio.run(ctxkit.flush_before_return(timeout=0.02)(afunction)(1)) == (1,)
    assert timeline == []


@pytest.mark.parametrize("kind", ["function", "method", "coroutine"])
def test_lambda_handler_gets_a_frame_that_is_gone_afterwards(
    sink: RecordingSink, timeline: list[object], kind: str
) -> None:
    seen: dict[str, object] = {}

    def look(event: object, context: object) -> object:
        seen.update(ctxkit.current())
        deadline = ctxkit.current().deadline
        assert deadline is not None
        assert deadline.remaining() <= 3
        assert ctxkit.current().root is ctxkit.current()
        CURRENT.set(CURRENT.get().extended({"left": "behind"}))
        return event

    class Handler:
        @ctxkit.flush_before_return
        def method(self, event: object, context: object) -> object:
            return look(event, context)

    @ctxkit.flush_before_return
    async def coroutine(event: object, context: object) -> object:
        await asyncio.sleep(0)
        return look(event, context)

    handlers: dict[str, Callable[..., Any]] = {
        "function": ctxkit.flush_before_return(look),
        "method": Handler().method,
        "coroutine": lambda *args: asyncio.run(coroutine(*args)),
    }
    assert handlers[kind]("event", LambdaContext()) == "event"
    known = {"request_id": "8f5b-aws", "aws_request_id": "8f5b-aws"}
    assert seen == {**known, "protocol": "aws-lambda"}
    assert ctxkit.current() is NO_FRAME
    assert timeline == ["flush"]
    assert 1.9 < sink.timeouts[0] <= 2.0


def test_lambda_handler_inside_of_a_frame_keeps_that() -> None:
    @ctxkit.flush_before_return
    def handler(event: object, context: object) -> object:
        return ctxkit.current()

    frame = ctxkit.Frame({"request_id": "outer"})
    token = CURRENT.set(frame)
    try:
        assert handler({}, LambdaContext()) is frame
        CURRENT.set(CLOSED)
        assert handler({}, LambdaContext()) is not CLOSED
    finally:
        CURRENT.reset(token)


@pytest.mark.parametrize(("milliseconds", "longest"), [(1000, 0.9), (300, 0.2), (50, 0)])
def test_flush_ends_before_the_invocation_does(
    sink: RecordingSink, milliseconds: float, longest: float
) -> None:
    sink.opened.clear() if not longest else None
    handler = ctxkit.flush_before_return(timeout=5)(lambda event, context: event)
    assert handler("event", LambdaContext(milliseconds)) == "event"
    assert sink.flushing.wait(10)
    assert sink.timeouts[0] <= longest or not longest


def generator() -> Any:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    "unusable", [generator, agenerator, Worker, 3, functools.partial(generator)]
)
def test_what_cannot_be_decorated_is_refused(unusable: Any) -> None:
    with pytest.raises(ctxkit.ConfigurationError) as caught:
        ctxkit.flush_before_return(unusable)
    assert caught.value.setting == "flush_before_return"


@pytest.mark.parametrize("timeout", [-1, "soon", float("inf"), True])
def test_unusable_timeout_is_refused_at_once(timeout: Any) -> None:
    with pytest.raises(ctxkit.ConfigurationError) as caught:
        ctxkit.flush_before_return(timeout=timeout)
    assert caught.value.setting == "timeout"


def test_unusable_variable_is_refused_at_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXKIT_FLUSH_TIMEOUT", "soon")
    with pytest.raises(ctxkit.ConfigurationError, match="CTXKIT_FLUSH_TIMEOUT"):
        ctxkit.flush_before_return(function)


def test_plain_function_costs_no_heavy_import() -> None:
    code = """
import sys, ctxkit
before = set(sys.modules)
assert ctxkit.flush_before_return(lambda: 7)() == 7
ctxkit.WSGIMiddleware
ctxkit.ASGIMiddleware
heavy = {"asyncio", "inspect", "logging", "json", "dataclasses"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run(
        [sys.executable, "-S", "-c", code],
        check=True,
        timeout=30,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
