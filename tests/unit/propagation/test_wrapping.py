from __future__ import annotations

import asyncio
import atexit
import gc
import inspect
import signal
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread, run_script

from ctxkit import (
    ConfigurationError,
    Key,
    aiterate,
    bind,
    current,
    detached,
    get,
    iterate,
    propagate,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

VAR: ContextVar[str] = ContextVar("var", default="unset")


class Request:
    """Something to be kept alive, or not."""


def _seen() -> tuple[object, str]:
    return get("tenant"), VAR.get()


def test_detached_runs_in_an_empty_context_each_time() -> None:
    def work() -> tuple[object, str]:
        seen = _seen()
        VAR.set("left behind")
        return seen

    VAR.set("request")
    with bind(tenant="acme"):
        bare = detached(work)
        assert [bare(), bare()] == [(None, "unset")] * 2
        assert _seen() == ("acme", "request")
    VAR.set("unset")


def test_detached_keeps_what_it_is_told_to() -> None:
    tenant = Key[str]("tenant")
    with bind({tenant: "acme"}, user="alice"):
        work = detached(lambda: dict(current()), keep=[tenant, "absent"])
    with bind(user="bob"):
        assert work() == {"tenant": "acme"}


def test_detached_keeps_the_kind_of_a_callable() -> None:
    @detached
    async def work() -> object:
        await asyncio.sleep(0)
        return get("tenant")

    async def main() -> object:
        with bind(tenant="acme"):
            return await work()

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(main()) is None


def test_detached_of_what_was_propagated_leaves_that_behind_too() -> None:
    with bind(tenant="acme"):
        carried = propagate(lambda: get("tenant"))
    assert carried() == "acme"
    assert detached(carried)() is None


@pytest.mark.parametrize("wrap", [detached, propagate])
def test_what_cannot_be_called_is_refused(wrap: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs a callable"):
        wrap(7)


@pytest.mark.parametrize("keep", ["tenant", [7], Key("alone")])
def test_detached_refuses_keys_that_are_none(keep: Any) -> None:
    with pytest.raises(ConfigurationError):
        detached(print, keep=keep)


def _kept_by_task() -> tuple[weakref.ref[Request], Any]:
    request = Request()

    async def wait() -> None:
        await asyncio.sleep(3600)

    with bind(request=request):
        return weakref.ref(request), detached(asyncio.create_task)(wait())


def _kept_by_handle() -> tuple[weakref.ref[Request], Any]:
    request = Request()
    loop = asyncio.get_running_loop()
    with bind(request=request):
        return weakref.ref(request), detached(loop.call_later)(3600, print)


@pytest.mark.parametrize("start", [_kept_by_task, _kept_by_handle])
def test_work_whose_start_is_detached_does_not_hold_the_request(start: Any) -> None:
    async def main() -> None:
        request, work = start()
        await asyncio.sleep(0)
        gc.collect()
        assert request() is None
        work.cancel()

    asyncio.run(main())


def test_sync_iteration_runs_wholly_in_the_context_of_the_call() -> None:
    def body() -> Generator[object]:
        try:
            yield _seen()
            VAR.set("step")
            yield _seen()
        finally:
            closed.append(_seen())

    closed: list[object] = []
    VAR.set("request")
    with bind(tenant="acme"):
        parts = iterate(body())
    VAR.set("server")
    assert next(parts) == ("acme", "request")
    assert in_plain_thread(next, parts) == ("acme", "step")
    parts.close()
    assert closed == [("acme", "step")]
    assert _seen() == (None, "server")
    VAR.set("unset")


def test_async_iteration_runs_wholly_in_the_context_of_the_call() -> None:
    async def body() -> AsyncGenerator[object]:
        token = VAR.set("step")
        try:
            yield _seen()
            await asyncio.sleep(0)
            yield _seen()
        finally:
            VAR.reset(token)  # another task closes: the same context all the same
            closed.append(_seen())

    closed: list[object] = []

    async def main() -> None:
        with bind(tenant="acme"):
            parts = aiterate(body())
        assert await anext(parts) == ("acme", "step")
        assert await asyncio.create_task(_next(parts)) == ("acme", "step")
        await asyncio.create_task(_close(parts))

    asyncio.run(main())
    assert closed == [("acme", "unset")]


async def _next(parts: AsyncGenerator[object]) -> object:
    return await anext(parts)


async def _close(parts: AsyncGenerator[object]) -> None:
    await parts.aclose()


def test_weakref_callback_that_is_propagated_has_its_context_and_leaves_nothing() -> None:
    seen: list[object] = []

    def gone() -> None:
        seen.append(_seen())
        VAR.set("left behind")

    request = Request()
    with bind(tenant="acme"):
        weakref.finalize(request, propagate(gone))
    with bind(tenant="other"):
        del request
        gc.collect()
        assert VAR.get() == "unset"
    assert seen == [("acme", "unset")]


def test_signal_handler_that_is_detached_has_a_context_of_its_own() -> None:
    seen: list[object] = []

    def handle(*_: object) -> None:
        seen.append(_seen())
        VAR.set("left behind")

    before = signal.signal(signal.SIGUSR1, detached(handle))
    try:
        with bind(tenant="acme"):
            signal.raise_signal(signal.SIGUSR1)
            assert _seen() == ("acme", "unset")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [(None, "unset")]


def test_atexit_callback_that_is_propagated_has_the_context_of_its_registration() -> None:
    assert run_script(AT_EXIT) == "acme\n"
    with bind(tenant="acme"):
        atexit.register(propagate(_seen))
    atexit.unregister(_seen)


AT_EXIT = """
import atexit, ctxkit
def last():
    print(ctxkit.get("tenant"))
with ctxkit.bind(tenant="acme"):
    atexit.register(ctxkit.propagate(last))
"""


def test_low_level_thread_runs_what_is_propagated_in_its_context() -> None:
    import _thread  # noqa: PLC0415 - nobody should, but somebody does

    seen: list[object] = []
    done = threading.Event()

    def work() -> None:
        seen.append(get("tenant"))
        done.set()

    with bind(tenant="acme"):
        _thread.start_new_thread(propagate(work), ())
    assert done.wait(10)
    assert seen == ["acme"]
