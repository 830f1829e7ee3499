"""Who holds a frame that is over: the real holders, each found and named."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import logging
import socket
import sys
import threading
import weakref
from asyncio.selector_events import BaseSelectorEventLoop
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import run_script

import ctxkit
from ctxkit import ConfigurationError, Leak, LeakWatch, find_leaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

HELD: list[Any] = []
SNAPSHOT: Any = None
CALLBACK: Any = None
ERROR: Any = None


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    HELD.clear()
    for name in ("SNAPSHOT", "CALLBACK", "ERROR"):
        globals()[name] = None


def in_request(f: Callable[[], Any]) -> Any:
    """Run ``f`` where a tenant is bound, which should be forgotten then."""
    with ctxkit.bind(tenant="acme"):
        return f()


def only(leaks: list[Leak]) -> Leak:
    assert len(leaks) == 1, "\n".join(map(str, leaks))
    [leak] = leaks
    assert leak.keys == ("tenant",)
    [place] = leak.set_at
    assert (place.function, place.names) == ("in_request", ("tenant",))
    assert place.file.endswith("test_leaks.py")
    assert "test_leaks.py:" in str(leak)
    return leak


async def poll() -> None:
    await asyncio.sleep(3600)


async def started(coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


def test_frame_that_nobody_holds_is_no_leak() -> None:
    with LeakWatch() as watch:
        in_request(ctxkit.current)
        assert watch.leaks() == []
    assert watch.leaks() == []
    assert find_leaks() == []


def test_task_that_outlives_its_request_is_named_with_where_it_was_made() -> None:
    async def main() -> Leak:
        with LeakWatch() as watch:
            task = in_request(lambda: asyncio.get_running_loop().create_task(poll(), name="poll"))
            await asyncio.sleep(0)
            leak = only(watch.leaks())
        task.cancel()
        return leak

    leak = asyncio.run(main())
    assert leak.kind == "task"
    assert leak.holder.startswith("Task 'poll' of poll, made at ")
    assert leak.holder.count("test_leaks.py:") == 2  # and where it waits
    assert "ctxkit.detached" in leak.advice


def test_task_with_a_timer_of_its_own_is_one_holder() -> None:
    async def patient() -> None:
        async with asyncio.timeout(3600):
            await asyncio.wait_for(asyncio.sleep(3600), 1800)

    async def main() -> list[Leak]:
        with LeakWatch() as watch:
            task = in_request(lambda: asyncio.get_running_loop().create_task(patient()))
            for _ in range(3):
                await asyncio.sleep(0)
            leaks = watch.leaks()
        task.cancel()
        return leaks

    leaks = asyncio.run(main())
    assert {leak.kind for leak in leaks} == {"task"}
    # On 3.11 wait_for() makes a task.
    assert len(leaks) <= 1 + (sys.version_info < (3, 12))


@pytest.mark.parametrize("later", ["call_later", "call_soon"])
def test_handle_is_named_with_its_callback(later: str) -> None:
    async def main() -> Leak:
        loop = asyncio.get_running_loop()
        with LeakWatch() as watch:
            if later == "call_later":
                handle = in_request(lambda: loop.call_later(3600, HELD.append, 1))
            else:
                handle = in_request(lambda: loop.call_soon(HELD.append, 1))
            leak = only(watch.leaks())
        handle.cancel()
        return leak

    leak = asyncio.run(main())
    assert leak.kind == "handle"
    assert "Handle of list.append" in leak.holder
    assert (", due in 3" in leak.holder) is (later == "call_later")
    assert "context=contextvars.Context()" in leak.advice


def test_cancelled_timer_is_told_by_find_leaks_and_not_by_a_watch() -> None:
    async def main() -> Leak:
        loop = asyncio.get_running_loop()
        with LeakWatch() as watch:
            frame = in_request(lambda: (loop.call_later(3600, print).cancel(), ctxkit.current())[1])
            assert watch.leaks() == []
            [leak] = find_leaks(frame)
        return leak

    leak = asyncio.run(main())
    assert leak.passing == "cancelled"
    assert "cancelled TimerHandle" in leak.holder


def test_pending_future_is_named_with_its_callback() -> None:
    async def main() -> Leak:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with LeakWatch() as watch:
            in_request(lambda: future.add_done_callback(HELD.append))
            return only(watch.leaks())

    leak = asyncio.run(main())
    assert leak.kind == "future"
    assert leak.holder == "pending Future with the callback list.append"


def test_holders_of_uvloop_are_named_as_those_of_asyncio() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[Leak]:
        loop = asyncio.get_running_loop()
        with LeakWatch() as watch:
            task, timer = in_request(
                lambda: (loop.create_task(poll(), name="poll"), loop.call_later(60, HELD.append, 1))
            )
            await asyncio.sleep(0)
            leaks = watch.leaks()
        task.cancel()
        timer.cancel()
        return leaks

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        leaks = runner.run(main())
    handle, task = sorted(leaks, key=lambda leak: leak.kind)
    assert (handle.kind, task.kind) == ("handle", "task")
    assert "TimerHandle of list.append" in handle.holder
    assert task.holder.startswith("Task 'poll' of poll, made at ")


def test_task_of_trio_is_named() -> None:
    trio, testing = pytest.importorskip("trio"), pytest.importorskip("trio.testing")

    async def main() -> list[Leak]:
        async with trio.open_nursery() as nursery:
            with LeakWatch() as watch:
                in_request(lambda: nursery.start_soon(trio.sleep, 3600))
                await testing.wait_all_tasks_blocked()
                leaks = watch.leaks()
            nursery.cancel_scope.cancel()
        return leaks

    leak = only(trio.run(main))
    assert leak.kind == "task"
    assert leak.holder.startswith("trio Task ")


class Connected(asyncio.Protocol):
    """What a client of some database keeps in a pool."""


def test_pooled_connection_is_named_with_its_protocol() -> None:
    async def main() -> Leak:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()

        async def connect() -> None:
            with ctxkit.bind(tenant="acme"):
                HELD.append(await loop.create_connection(Connected, sock=ours))

        with LeakWatch() as watch:
            await connect()
            await asyncio.sleep(0)
            [leak] = watch.leaks()
        HELD[0][0].close()
        theirs.close()
        await asyncio.sleep(0)
        return leak

    leak = asyncio.run(main())
    assert leak.kind == "connection"
    assert f"of a connection of {__name__}.Connected" in leak.holder
    assert "contextvars.Context().run" in leak.advice


def test_connection_that_a_server_accepted_passes() -> None:
    """What asyncio does where a request resumes reading: python/cpython#140947."""

    async def main() -> list[Leak]:
        transports: list[Any] = []

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transports.append(transport)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Accepted, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(30):
            while not transports:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)
        [transport] = transports
        transport.pause_reading()
        with LeakWatch() as watch:
            frame = in_request(lambda: (transport.resume_reading(), ctxkit.current())[1])
            assert watch.leaks() == []
            leaks = find_leaks(frame)
        writer.close()
        transport.abort()
        server.close()
        await server.wait_closed()
        return leaks

    # Later versions resume reading in the context in which the connection was made.
    mended = "context" in inspect.signature(BaseSelectorEventLoop._add_reader).parameters
    assert [leak.passing for leak in asyncio.run(main())] == ([] if mended else ["server"])


def serve(ready: threading.Event, stop: threading.Event) -> None:
    ready.set()
    stop.wait(30)


def running(start: Callable[[threading.Event, threading.Event], Any]) -> list[Leak]:
    """Return the leaks while a job runs that ``start`` has started in a request."""
    ready, stop = threading.Event(), threading.Event()
    try:
        with LeakWatch() as watch:
            in_request(lambda: start(ready, stop))
            assert ready.wait(30)
            return watch.leaks()
    finally:
        stop.set()


def test_thread_in_a_copied_context_is_named_with_what_it_runs() -> None:
    def start(ready: Any, stop: Any) -> None:
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(serve, ready, stop), name="server").start()

    leak = only(running(start))
    assert leak.kind == "thread"
    assert leak.holder.startswith("Thread 'server', which runs serve (")


def test_thread_whose_current_context_alone_holds_the_frame_is_named() -> None:
    def start(ready: Any, stop: Any) -> None:
        ctxkit.Thread(target=serve, args=(ready, stop), name="server").start()

    leak = only(running(start))
    assert leak.kind == "thread"
    assert "Thread 'server', which runs serve (" in leak.holder
    assert leak.holder.endswith("as its current context") or "a thread, as its" in leak.holder


def test_thread_with_the_frame_in_a_variable_is_named_with_the_variable() -> None:
    def keep(frame: list[Any], ready: Any, stop: Any) -> None:
        mine = frame.pop()
        serve(ready, stop)
        del mine

    def start(ready: Any, stop: Any) -> None:
        frame = [ctxkit.current()]
        thread = threading.Thread(target=keep, args=(frame, ready, stop), name="keeper")
        contextvars.Context().run(thread.start)

    leak = only(running(start))
    assert leak.kind == "thread"
    assert leak.holder.startswith("Thread 'keeper'")


def test_thread_that_has_finished_is_a_holder_if_it_is_kept() -> None:
    class Keeping(threading.Thread):
        def run(self) -> None:
            self.frame = frames.pop()

    frames: list[Any] = []
    with LeakWatch() as watch:
        in_request(lambda: frames.append(ctxkit.current()))
        thread = Keeping(name="done")
        thread.start()
        thread.join(30)
        leak = only(watch.leaks())
    assert leak.kind == "thread"
    assert leak.holder == "Thread 'done', which has finished"


def test_job_that_waits_in_a_pool_is_named() -> None:
    stop = threading.Event()
    with ctxkit.ThreadPoolExecutor(1) as pool:
        contextvars.Context().run(pool.submit, stop.wait, 30)
        with LeakWatch() as watch:
            in_request(lambda: pool.submit(serve, stop, stop))
            leak = only(watch.leaks())
        stop.set()
    assert leak.kind == "job"
    assert f"{__name__}.serve (" in leak.holder


@pytest.mark.parametrize("kind", [futures.ThreadPoolExecutor, ctxkit.ThreadPoolExecutor])
@pytest.mark.skipif(
    bool(getattr(sys.flags, "thread_inherit_context", 0)), reason="threads inherit context"
)
def test_idle_worker_is_no_leak(kind: type[futures.ThreadPoolExecutor]) -> None:
    with kind(1) as pool, LeakWatch() as watch:
        in_request(lambda: pool.submit(int).result(30))
        assert watch.leaks() == []


INHERITED = """
import ctxkit
from concurrent import futures
with ctxkit.LeakWatch() as watch:
    pool, ours = futures.ThreadPoolExecutor(1), ctxkit.ThreadPoolExecutor(1)
    with ctxkit.bind(tenant="acme"):
        pool.submit(int).result(30)
        ours.submit(int).result(30)
    [leak] = watch.leaks()
print(leak.kind, leak.holder.split(",")[0], "Use ctxkit.ThreadPoolExecutor" in leak.advice)
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the flag came with Python 3.14")
def test_idle_worker_that_inherited_its_context_is_named() -> None:
    told = run_script(INHERITED, options=("-X", "thread_inherit_context=1"))
    assert told == "thread Thread 'ThreadPoolExecutor-0_0' True\n"


BESIDE = """
import ctxkit
from concurrent import futures
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
ThreadingInstrumentor().instrument()
with ctxkit.LeakWatch() as watch:
    pool = futures.ThreadPoolExecutor(1)
    with ctxkit.bind(tenant="acme"):
        pool.submit(int).result(30)
    print(watch.leaks())
"""


def test_idle_worker_that_opentelemetry_started_holds_no_frame() -> None:
    pytest.importorskip("opentelemetry.instrumentation.threading")
    assert run_script(BESIDE) == "[]\n"


def suspended() -> Iterator[None]:
    with ctxkit.bind(row=1):
        yield


async def asuspended() -> AsyncIterator[None]:
    with ctxkit.bind(row=1):
        yield


def test_suspended_generator_is_named_with_where_it_is() -> None:
    with LeakWatch() as watch:
        rows = contextvars.Context().run(suspended)
        contextvars.Context().run(next, rows)
        HELD.append(rows)
    [leak] = watch.leaks()
    assert leak.keys == ("row",)
    assert leak.kind == "generator"
    assert leak.holder.startswith("generator suspended, suspended at ")
    assert leak.holder.endswith(f"in the global {__name__}.HELD")
    rows.close()
    assert watch.leaks() == []


def test_suspended_async_generator_is_named() -> None:
    async def main() -> list[Leak]:
        with LeakWatch() as watch:
            rows: Any = asuspended()
            await asyncio.get_running_loop().create_task(rows.__anext__())
            HELD.append(rows)
        found = watch.leaks()
        await rows.aclose()
        return found

    [leak] = asyncio.run(main())
    assert (leak.kind, leak.keys) == ("generator", ("row",))
    assert "async generator asuspended, suspended at " in leak.holder


def test_snapshot_is_named_with_the_global_that_has_it() -> None:
    global SNAPSHOT  # noqa: PLW0603 - that is the leak
    with LeakWatch() as watch:
        SNAPSHOT = in_request(ctxkit.capture)
    leak = only(watch.leaks())
    assert (leak.kind, leak.holder) == ("snapshot", f"Snapshot, in the global {__name__}.SNAPSHOT")


def test_propagated_callable_is_named_with_the_attribute_that_has_it() -> None:
    class Registry:
        def __init__(self) -> None:
            self.hook = ctxkit.propagate(poll)

    class Slotted:
        __slots__ = ("hook",)

        def __init__(self) -> None:
            self.hook = ctxkit.propagate(poll)

    for kind in (Registry, Slotted):
        with LeakWatch() as watch:
            HELD.append(in_request(kind))
        leak = only(watch.leaks())
        assert leak.kind == "snapshot"
        assert leak.holder.startswith(f"propagated callable {__name__}.poll (")
        assert f"in 'hook' of a {__name__}." in leak.holder
        assert leak.holder.endswith(f"{kind.__name__}, in the global {__name__}.HELD")
        HELD.clear()


def closing_over_a_snapshot() -> Callable[[], object]:
    snapshot = ctxkit.capture()
    return lambda: snapshot


def test_snapshot_in_a_closure_is_named_with_the_function() -> None:
    global CALLBACK  # noqa: PLW0603 - that is the leak
    with LeakWatch() as watch:
        CALLBACK = in_request(closing_over_a_snapshot)
    leak = only(watch.leaks())
    assert leak.holder == f"Snapshot, in the global {__name__}.CALLBACK"


def test_each_holder_is_a_leak_of_its_own() -> None:
    global SNAPSHOT, CALLBACK
    with LeakWatch() as watch:
        SNAPSHOT, CALLBACK = in_request(lambda: (ctxkit.capture(), ctxkit.propagate(poll)))
    assert sorted(leak.holder.rpartition(".")[2] for leak in watch.leaks()) == [
        "CALLBACK",
        "SNAPSHOT",
    ]


def test_exception_that_is_kept_is_named_with_where_it_was_raised() -> None:
    global ERROR  # noqa: PLW0603 - that is the leak

    def fail() -> None:
        frame = ctxkit.current()
        raise LookupError(frame)

    with LeakWatch() as watch:
        try:
            in_request(fail)
        except LookupError as error:
            ERROR = error.with_traceback(error.__traceback__)
            error.args = ()
    leak = only(watch.leaks())
    assert leak.kind == "exception"
    assert leak.holder.startswith("exception LookupError, raised at ")
    assert leak.holder.endswith(f"in the global {__name__}.ERROR")


def test_copied_context_that_is_kept_is_told_with_where_it_is() -> None:
    with LeakWatch() as watch:
        HELD.append(in_request(contextvars.copy_context))
    leak = only(watch.leaks())
    assert (leak.kind, leak.holder) == ("object", f"the global {__name__}.HELD")


def test_log_record_with_the_frame_passes() -> None:
    record = logging.LogRecord("shop", 20, __file__, 7, "ordered", (), None)
    record.frame = in_request(ctxkit.current)
    HELD.append(record)
    [leak] = find_leaks(record.frame)
    assert leak.passing == "record"


def test_further_frame_over_a_held_one_tells_the_names_of_both_and_who_set_which() -> None:
    with LeakWatch() as watch, ctxkit.bind(tenant="other", user=1):
        in_request(lambda: HELD.append(ctxkit.capture()))
        [leak] = watch.leaks()
        assert leak.keys == ("tenant", "user")
        outer, inner = leak.set_at
    assert (outer.function[:13], outer.names) == ("test_further_", ("user",))
    assert (inner.function, inner.names) == ("in_request", ("tenant",))


def test_variables_of_the_caller_are_no_leak() -> None:
    frame = in_request(ctxkit.current)
    frames = [frame]
    for each in frames:
        assert find_leaks(each) == []
    assert find_leaks(*frames) == []
    snapshot = in_request(ctxkit.capture)
    [leak] = find_leaks(snapshot.run(ctxkit.current))
    assert "in the variable 'snapshot' of test_variables_of_the_caller" in leak.holder


def test_frame_that_is_current_is_held_by_the_context_of_its_thread() -> None:
    context = contextvars.copy_context()

    def enter() -> list[Leak]:
        ctxkit.bind(tenant="acme").__enter__()
        gc.collect()
        return find_leaks(weakref.ref(ctxkit.current()))

    [leak] = context.run(enter)
    assert leak.holder.startswith(("the current context of Thread", "a variable", "Context"))


def test_values_are_never_touched() -> None:
    class Untouchable:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]  # nor hash it

    with LeakWatch() as watch:
        with ctxkit.bind(secret=Untouchable(), lazy=ctxkit.context.Lazy(lambda _: 1 / 0)):
            HELD.append((Untouchable(), ctxkit.capture()))
        [leak] = watch.leaks()
    assert leak.keys == ("secret", "lazy")
    assert "secret" in str(leak)


def test_dead_references_are_fine_and_other_things_are_refused() -> None:
    assert find_leaks(weakref.ref(in_request(ctxkit.current))) == []
    with pytest.raises(ConfigurationError, match="was given a Snapshot"):
        find_leaks(ctxkit.capture())  # type: ignore[arg-type]  # that is the point
