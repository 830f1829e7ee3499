from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from threading import Event
from typing import Any

import pytest

from ctxkit import ConfigurationError, Key, bind, to_thread

TENANT = Key[str]("tenant")
VAR: ContextVar[str] = ContextVar("var", default="unset")


def _set(value: str) -> str:
    TENANT.set(value)
    VAR.set(value)
    return value


def test_what_the_thread_sets_comes_back_for_what_is_asked_alone() -> None:
    async def main() -> None:
        other: ContextVar[str] = ContextVar("other")
        with bind({TENANT: "acme"}):
            await to_thread(_set, "thread")
            assert (TENANT.get(), VAR.get()) == ("acme", "unset")
            await to_thread(_set, "thread", writeback=[TENANT, other])
            assert (TENANT.get(), VAR.get()) == ("thread", "unset")
            assert other.get("nothing") == "nothing"
        await to_thread(_set, "thread", writeback={VAR})
        assert (TENANT.get(None), VAR.get()) == (None, "thread")

    asyncio.run(main())


def test_what_the_thread_has_set_comes_back_after_its_error_too() -> None:
    def fail() -> None:
        _set("before the error")
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await to_thread(fail, writeback=[VAR])
        assert VAR.get() == "before the error"

    asyncio.run(main())


def test_value_that_was_set_here_meanwhile_is_kept_with_a_warning() -> None:
    async def main() -> None:
        job = to_thread(_set, "thread", writeback=[TENANT, VAR])
        VAR.set("here")
        with pytest.warns(RuntimeWarning, match="'var' was set in the thread and here"):
            await job
        assert (TENANT.get(), VAR.get()) == ("thread", "here")

    asyncio.run(main())


def test_value_that_compares_strangely_is_told_by_identity() -> None:
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    held: ContextVar[Strange] = ContextVar("held")

    async def main() -> None:
        held.set(Strange())
        new = Strange()
        await to_thread(lambda: held.set(new), writeback=[held])
        assert held.get() is new

    asyncio.run(main())


def test_cancelled_await_writes_nothing_back() -> None:
    go, over = Event(), Event()

    def slow() -> None:
        go.wait(10)
        VAR.set("thread")
        over.set()

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        seen = await task
        go.set()
        assert over.wait(10)
        assert seen == "unset"
        assert VAR.get() == "unset"

    async def wait() -> str:
        with pytest.raises(asyncio.CancelledError):
            await to_thread(slow, writeback=[VAR])
        return VAR.get()

    asyncio.run(main())


@pytest.mark.parametrize("writeback", ["tenant", ["tenant"], 7, TENANT])
def test_writeback_of_something_else_is_refused(writeback: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"writeback=\[TENANT\]"):
        to_thread(print, writeback=writeback)


def test_what_is_asked_for_twice_comes_back_once() -> None:
    async def main() -> None:
        await to_thread(_set, "thread", writeback=[TENANT, VAR, Key[str]("tenant"), VAR])
        assert (TENANT.get(), VAR.get()) == ("thread", "thread")

    asyncio.run(main())


def test_error_of_the_thread_does_not_keep_what_was_watched() -> None:
    class Value:
        pass

    key = Key[object]("watched_until_the_error")

    def fail() -> None:
        key.set("other")
        raise LookupError

    def start() -> tuple[Any, weakref.ref[Value]]:
        value = Value()
        with bind({key: value}):
            return to_thread(fail, writeback=[key]), weakref.ref(value)

    async def main() -> tuple[BaseException, weakref.ref[Value]]:
        job, value = start()
        with pytest.warns(RuntimeWarning, match="meanwhile"), pytest.raises(LookupError) as caught:
            await job
        return caught.value, value

    error, value = asyncio.run(main())
    gc.collect()
    assert error.__traceback__ is not None
    assert value() is None
