from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit.context import aiterate_in, iterate_in, run_coroutine_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

VAR: ContextVar[str] = ContextVar("var", default="unset")


async def _set_and_reset(pause: Any = None) -> str:
    token = VAR.set("inside")
    try:
        await (asyncio.sleep(0) if pause is None else pause)
        return VAR.get()
    finally:
        VAR.reset(token)


def test_coroutine_keeps_what_it_sets_to_its_context() -> None:
    async def main() -> None:
        context = copy_context()
        stepped = asyncio.create_task(run_coroutine_in(context, _set_and_reset()))
        await asyncio.sleep(0)
        assert (VAR.get(), context[VAR]) == ("unset", "inside")
        assert await stepped == "inside"

    asyncio.run(main())


def test_coroutine_runs_in_the_task_that_awaits_it() -> None:
    async def main() -> None:
        async def which() -> object:
            await asyncio.sleep(0)
            return asyncio.current_task()

        assert await run_coroutine_in(copy_context(), which()) is asyncio.current_task()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await run_coroutine_in(copy_context(), asyncio.sleep(60))

    asyncio.run(main())


def test_coroutine_raises_the_very_error() -> None:
    error = LookupError()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        await run_coroutine_in(copy_context(), fail())

    with pytest.raises(LookupError) as caught:
        asyncio.run(main())
    assert caught.value is error


def test_coroutine_cancelled_runs_its_finally_in_the_context() -> None:
    async def main() -> None:
        context = copy_context()
        task = asyncio.create_task(
            run_coroutine_in(context, _set_and_reset(asyncio.Event().wait()))
        )
        await asyncio.sleep(0)
        assert context[VAR] == "inside"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert VAR not in context or context[VAR] == "unset"

    asyncio.run(main())


def test_coroutine_cancelled_before_its_first_step_is_not_reported_as_never_awaited() -> None:
    async def main() -> None:
        task = asyncio.create_task(run_coroutine_in(copy_context(), _set_and_reset()))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()  # warnings are errors here


def test_coroutine_may_be_anything_that_can_be_awaited() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_result("done")
        assert await run_coroutine_in(copy_context(), future) == "done"

    asyncio.run(main())


def test_closing_a_coroutine_runs_its_finally_in_the_context() -> None:
    context = copy_context()
    stepped = run_coroutine_in(context, _set_and_reset(asyncio.Event().wait()))

    async def first_step() -> None:
        stepped.send(None)
        stepped.close()

    asyncio.run(first_step())
    assert context.run(VAR.get) == "unset"


def test_stepped_coroutine_shows_the_frame_of_the_one_it_stands_for() -> None:
    inner = _set_and_reset()
    stepped: Any = run_coroutine_in(copy_context(), inner)
    assert stepped.cr_code is inner.cr_code
    assert "_set_and_reset" in repr(stepped)
    stepped.close()


def _counting() -> Generator[str, str | None, str]:
    token = VAR.set("inside")
    try:
        got = yield VAR.get()
        try:
            yield f"got {got}"
        except LookupError:
            yield "caught"
        return "returned"
    finally:
        VAR.reset(token)


def test_generator_keeps_what_it_sets_to_its_context() -> None:
    context = copy_context()
    stepped = iterate_in(context, _counting())
    assert (next(stepped), VAR.get(), context[VAR]) == ("inside", "unset", "inside")
    assert stepped.send("sent") == "got sent"
    assert stepped.throw(LookupError()) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(stepped)
    assert stop.value.value == "returned"
    assert context.run(VAR.get) == "unset"


def test_iterate_closes_in_the_context_once_even_if_never_started() -> None:
    seen: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter((b"chunk",))

        def close(self) -> None:
            seen.append(VAR.get())

    context = copy_context()
    context.run(VAR.set, "inside")
    stepped = iterate_in(context, Body())
    stepped.close()
    stepped.close()
    assert seen == ["inside"]


def test_generator_dropped_half_way_is_closed_in_the_context() -> None:
    stepped = iterate_in(copy_context(), _counting())
    next(stepped)
    del stepped
    gc.collect()  # an error of reset() would be unraisable, and fail the test
    assert VAR.get() == "unset"


def test_generator_resumed_on_another_thread_goes_on_in_its_context() -> None:
    stepped = iterate_in(copy_context(), _counting())
    assert next(stepped) == "inside"
    assert in_plain_thread(stepped.send, "elsewhere") == "got elsewhere"
    stepped.close()


def test_generator_resumed_on_another_thread_takes_asgiref_locals_along() -> None:
    local = pytest.importorskip("asgiref.local").Local()

    def reading() -> Iterator[str]:
        local.who = "alice"
        yield local.who
        yield local.who

    stepped = iterate_in(copy_context(), reading())
    assert next(stepped) == "alice"
    assert in_plain_thread(next, stepped) == "alice"
    assert not hasattr(local, "who")


async def _acounting(log: list[str]) -> AsyncIterator[str]:
    token = VAR.set("inside")
    try:
        for number in "12":
            await asyncio.sleep(0)
            yield VAR.get() + number
    finally:
        await asyncio.sleep(0)
        VAR.reset(token)
        log.append("closed")


def test_async_generator_keeps_what_it_sets_to_its_context() -> None:
    async def main() -> None:
        log: list[str] = []
        seen = [(item, VAR.get()) async for item in aiterate_in(copy_context(), _acounting(log))]
        assert seen == [("inside1", "unset"), ("inside2", "unset")]
        assert log == ["closed"]

    asyncio.run(main())


def test_async_generator_takes_what_is_sent_and_thrown() -> None:
    async def echo() -> Any:
        got = None
        while True:
            try:
                got = yield got
            except LookupError:
                got = "caught"

    async def main() -> None:
        stepped = aiterate_in(copy_context(), echo())
        assert await anext(stepped) is None
        assert await stepped.asend("sent") == "sent"
        assert await stepped.athrow(LookupError()) == "caught"
        with pytest.raises(ZeroDivisionError):
            await stepped.athrow(ZeroDivisionError())

    asyncio.run(main())


def test_async_generator_closed_half_way_is_closed_in_the_context() -> None:
    async def main() -> None:
        log: list[str] = []
        stepped = aiterate_in(copy_context(), _acounting(log))
        await anext(stepped)
        await asyncio.create_task(stepped.aclose(), context=Context())
        assert log == ["closed"]

    asyncio.run(main())


def test_async_generator_dropped_half_way_is_closed_in_the_context_by_the_loop() -> None:
    async def main() -> None:
        closed = asyncio.Event()
        log: Any = SimpleNamespace(append=lambda _: closed.set())
        stepped = aiterate_in(copy_context(), _acounting(log))
        await anext(stepped)
        del stepped
        gc.collect()
        await closed.wait()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_async_generator_is_known_to_the_loop_by_its_driver_alone() -> None:
    # Or else the loop closes it too, when it ends, and in another context.
    async def main() -> None:
        known: list[Any] = []
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=known.append)
        try:
            stepped = aiterate_in(copy_context(), _acounting([]))
            await anext(stepped)
            assert sys.get_asyncgen_hooks().firstiter == known.append
        finally:
            sys.set_asyncgen_hooks(*before)
        await stepped.aclose()
        assert known == [stepped]

    asyncio.run(main())


def test_async_generator_left_to_the_end_of_the_loop_is_closed_in_the_context() -> None:
    log: list[str] = []
    kept: list[Any] = []

    async def main() -> None:
        kept.append(aiterate_in(copy_context(), _acounting(log)))
        await anext(kept[0])

    asyncio.run(main())
    assert log == ["closed"]


def test_what_cannot_be_iterated_over_is_refused_and_left_as_it_is() -> None:
    class Socket:
        closed = False

        def close(self) -> None:
            self.closed = True

    socket: Any = Socket()
    with pytest.raises(TypeError, match="not iterable"):
        iterate_in(Context(), socket)
    gc.collect()
    assert not socket.closed


def test_error_of_a_dropped_generator_is_told_as_without_a_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise RuntimeError

    told: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_value))
    dropped = iterate_in(copy_context(), fail())
    next(dropped)
    del dropped
    assert [type(error) for error in told] == [RuntimeError]


def test_generator_that_closes_its_driver_from_within_is_closed_in_the_context_later() -> None:
    seen: list[str] = []

    def closes() -> Iterator[int]:
        VAR.set("inside")
        with suppress(RuntimeError):  # it is running, as a generator would say too
            driver.close()
        try:
            yield 1
        finally:
            seen.append(VAR.get())

    driver = iterate_in(copy_context(), closes())
    next(driver)
    driver.close()
    driver.close()
    assert seen == ["inside"]


def test_async_generator_wrapped_on_another_thread_moves_at_its_first_step() -> None:
    asgiref = pytest.importorskip("asgiref.local")
    local = asgiref.Local()

    async def language() -> AsyncIterator[str]:
        yield local.language

    def wrapped() -> Any[str]:
        local.language = "fi"
        return aiterate_in(copy_context(), language())

    async def first() -> str:
        return str(await anext(in_plain_thread(wrapped)))

    assert asyncio.run(first()) == "fi"
