"""What the way from a frame to its holder says: attributes, classes, threads, what is done."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit import Leak, find_leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    KEPT.clear()


def frame() -> ctxkit.Frame:
    with ctxkit.bind(tenant="acme") as bound:
        return bound


def held_by(keep: Callable[[ctxkit.Frame], object]) -> Leak:
    bound = frame()
    KEPT.append(keep(bound))
    [leak] = find_leaks(bound)
    assert leak.keys == ("tenant",)
    return leak


class Cart:
    def __init__(self, content: object) -> None:
        self.content = content


class Slotted:
    __slots__ = ("content", "other")

    def __init__(self, content: object) -> None:
        self.content = content


class Own:
    kept: object = None


def test_attribute_of_an_instance_is_named() -> None:
    for kind in (Cart, Slotted):
        leak = held_by(kind)
        assert leak.kind == "object"
        assert leak.holder == (
            f"{__name__}.{kind.__name__}, as 'content', in the global {__name__}.KEPT"
        )
        KEPT.clear()


def test_attribute_of_a_class_is_named() -> None:
    bound = frame()
    Own.kept = bound
    try:
        [leak] = find_leaks(bound)
    finally:
        Own.kept = None
    assert leak.holder == f"the class {__name__}.Own"


def test_way_through_many_instances_ends_at_one_of_them() -> None:
    leak = held_by(lambda bound: Cart(Cart(Cart(Cart(Cart(bound))))))
    assert leak.holder.startswith(f"{__name__}.Cart, as 'content'")


def test_cycle_of_holders_is_walked_once() -> None:
    def cycle(bound: ctxkit.Frame) -> Cart:
        one, other = Cart(bound), Cart(None)
        one.other, other.content = other, one  # type: ignore[attr-defined]
        return one

    assert held_by(cycle).kind == "object"


def test_class_that_answers_for_its_attributes_is_not_asked() -> None:
    class Lazy:
        def __init__(self, content: object) -> None:
            object.__setattr__(self, "content", content)

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        @property
        def __class__(self) -> Any:
            raise AssertionError

    assert "Lazy, as 'content'" in held_by(Lazy).holder


def test_future_that_is_done_is_told_by_what_keeps_it() -> None:
    def done(bound: ctxkit.Frame) -> object:
        future: futures.Future[Any] = futures.Future()
        future.set_result(bound)
        return future

    leak = held_by(done)
    assert leak.holder == (
        f"concurrent.futures._base.Future, as '_result', in the global {__name__}.KEPT"
    )


def test_future_of_a_pool_that_is_pending_is_named_with_its_callbacks() -> None:
    def pending(bound: ctxkit.Frame) -> object:
        future: futures.Future[Any] = futures.Future()
        future.add_done_callback(partial(KEPT.append, bound))
        return future

    leak = held_by(pending)
    assert leak.kind == "future"
    assert leak.holder == "concurrent.futures.Future with the callback list.append"


def test_task_that_is_done_is_told_by_what_keeps_it() -> None:
    async def main() -> None:
        with ctxkit.bind(tenant="acme"):
            task = asyncio.get_running_loop().create_task(asyncio.sleep(0), name="done")
        await task
        KEPT.append(task)

    with ctxkit.LeakWatch() as watch:
        asyncio.run(main())
    [leak] = watch.leaks()
    assert leak.kind == "task"
    assert leak.holder.startswith("finished Task 'done'")
    assert leak.holder.endswith(f"in the global {__name__}.KEPT")


def test_job_of_an_executor_that_a_loop_waits_for_is_named() -> None:
    async def main(go: threading.Event) -> list[Leak]:
        loop = asyncio.get_running_loop()
        with ctxkit.LeakWatch() as watch:
            with ctxkit.bind(tenant="acme"):
                future = loop.run_in_executor(None, go.wait, 30)
            leaks = watch.leaks()
        go.set()
        await future
        return leaks

    [leak] = asyncio.run(main(threading.Event()))
    assert leak.holder == "pending Future of a job in an executor"


def test_loop_in_debug_mode_knows_where_a_timer_was_made() -> None:
    async def main() -> list[Leak]:
        with ctxkit.LeakWatch() as watch:
            with ctxkit.bind(tenant="acme"):
                timer = asyncio.get_running_loop().call_later(60, KEPT.append, 1)
            leaks = watch.leaks()
        timer.cancel()
        return leaks

    [leak] = asyncio.run(main(), debug=True)
    assert ", made at " in leak.holder
    assert "test_leak_paths.py:" in leak.holder


def in_thread(f: Callable[[], None], while_it_waits: Callable[[], list[Leak]]) -> list[Leak]:
    """Call ``f`` in the base context of a thread, and look while the thread waits."""
    ready, stop = threading.Event(), threading.Event()

    def careless() -> None:
        f()
        ready.set()
        stop.wait(30)

    thread = threading.Thread(target=careless, name="careless")
    contextvars.Context().run(thread.start)
    try:
        assert ready.wait(30)
        return while_it_waits()
    finally:
        stop.set()
        thread.join(30)


def enter() -> None:
    ctxkit.bind(tenant="acme").__enter__()


def test_frame_in_the_base_context_of_another_thread_is_told_by_that_thread() -> None:
    with ctxkit.LeakWatch() as watch:
        leaks = in_thread(enter, lambda: (watch.stop(), watch.leaks())[1])
    [leak] = leaks
    assert leak.kind == "thread"
    assert "Thread 'careless', which runs " in leak.holder


def test_frame_in_the_base_context_of_this_thread_is_told_as_that() -> None:
    found: list[Leak] = []

    def look() -> None:
        enter()
        found.extend(find_leaks(weakref.ref(ctxkit.current())))

    in_thread(look, list)
    [leak] = found
    assert (leak.kind, leak.holder) == ("context", "the current context of Thread 'careless'")


def test_coroutine_that_nobody_runs_is_named() -> None:
    class Once:
        def __await__(self) -> Iterator[None]:
            yield

    async def halfway() -> None:
        with ctxkit.bind(tenant="acme"):
            await Once()

    with ctxkit.LeakWatch() as watch:
        coroutine = halfway()
        contextvars.Context().run(coroutine.send, None)
        KEPT.append(coroutine)
        del coroutine
    [leak] = watch.leaks()
    assert leak.kind == "generator"
    assert "coroutine test_coroutine_that_nobody_runs_is_named.<locals>.halfway" in leak.holder
    KEPT.pop().close()


def test_generator_is_the_only_holder_also_where_other_threads_run() -> None:
    """The token of its with-block holds a context, which is none that a thread is in."""
    go = threading.Event()
    threads = [threading.Thread(target=go.wait, args=(30,)) for _ in range(2)]
    for thread in threads:
        thread.start()

    def halfway() -> Iterator[None]:
        with ctxkit.bind(tenant="acme"):
            yield

    try:
        with ctxkit.LeakWatch() as watch:
            KEPT.append(halfway())
            contextvars.Context().run(next, KEPT[0])
        [leak] = watch.leaks()
        assert leak.kind == "generator"
    finally:
        KEPT.pop().close()
        go.set()
        for thread in threads:
            thread.join(30)
