from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
from concurrent.futures import ThreadPoolExecutor as PlainExecutor
from contextvars import Context, ContextVar
from typing import Any

import pytest

import ctxkit
from ctxkit import bind, create_task, get, run_in_executor, to_thread

VAR: ContextVar[str] = ContextVar("var", default="unset")


def _swap(value: str) -> str:
    before = VAR.get()
    VAR.set(value)
    return before


async def _aswap(value: str) -> tuple[str, str]:
    before = _swap(value)
    await asyncio.sleep(0)
    return before, VAR.get()


def test_to_thread_runs_in_the_context_of_the_call_in_another_thread() -> None:
    async def main() -> None:
        with bind(tenant="acme"):
            called = to_thread(lambda *args, **named: (get("tenant"), args, named), 1, a=2)
        assert await called == ("acme", (1,), {"a": 2})
        assert await to_thread(threading.get_ident) != threading.get_ident()
        assert await to_thread(_swap, "thread") == "unset"
        assert VAR.get() == "unset"

    asyncio.run(main())


def test_to_thread_raises_the_very_error() -> None:
    error = LookupError()

    def fail() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(LookupError) as caught:
            await to_thread(fail)
        assert caught.value is error

    asyncio.run(main())


@pytest.mark.parametrize("own", [False, True])
def test_run_in_executor_runs_in_the_context_of_the_call(own: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def main() -> None:
        with PlainExecutor(1) as pool:
            for tenant in ("alice", "bob"):
                with bind(tenant=tenant):
                    future = run_in_executor(pool if own else None, get, "tenant")
                assert await future == tenant
            assert await run_in_executor(pool, _swap, "job") == "unset"
            assert await run_in_executor(pool, _swap, "job") == "unset"

    asyncio.run(main())


def test_workers_of_the_loops_own_pool_start_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the flag of 3.14, OpenTelemetry and Sentry keep is the context of Thread.start().
    contexts: list[Context] = []
    start = threading.Thread.start

    def watched(self: threading.Thread) -> None:
        contexts.append(contextvars.copy_context())
        start(self)

    monkeypatch.setattr(threading.Thread, "start", watched)

    async def main() -> None:
        VAR.set("request")
        await to_thread(print, end="")
        with PlainExecutor(1) as pool:
            await run_in_executor(pool, print)

    asyncio.run(main())
    assert [VAR in context for context in contexts] == [False] * len(contexts)
    assert len(contexts) >= 2


def test_run_in_executor_leaves_it_to_a_pool_that_carries_by_itself() -> None:
    async def main() -> None:
        with ctxkit.ThreadPoolExecutor(1) as pool:
            with bind(tenant="acme"):
                future = run_in_executor(pool, get, "tenant")
            assert await future == "acme"

    asyncio.run(main())


def test_create_task_runs_in_a_copy_of_the_context_of_the_call() -> None:
    async def main() -> None:
        VAR.set("parent")
        task = create_task(_aswap("child"), name="named")
        VAR.set("later")
        assert (task.get_name(), await task, VAR.get()) == ("named", ("parent", "child"), "later")

    asyncio.run(main())


def test_create_task_takes_a_context() -> None:
    async def main() -> None:
        context = Context()
        context.run(VAR.set, "given")
        assert await create_task(_aswap("child"), context=context) == ("given", "child")
        assert context[VAR] == "child"

    asyncio.run(main())


def test_create_task_works_with_a_factory_that_knows_no_context() -> None:
    def factory(loop: Any, coro: Any) -> Any:
        return asyncio.Task(coro, loop=loop)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        VAR.set("parent")
        task = create_task(_aswap("child"))
        VAR.set("later")
        assert await task == ("parent", "child")

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_create_task_that_starts_at_once_keeps_to_its_copy() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        VAR.set("parent")
        task = create_task(_aswap("child"))
        assert VAR.get() == "parent"
        assert await task == ("parent", "child")

    asyncio.run(main())


def test_overlapping_tasks_threads_and_jobs_keep_apart() -> None:
    async def request(tenant: str) -> list[Any]:
        with bind(tenant=tenant):
            seen: list[Any] = []
            for _ in range(20):
                seen += await asyncio.gather(
                    to_thread(get, "tenant"),
                    run_in_executor(None, get, "tenant"),
                    create_task(to_thread(get, "tenant")),
                )
            return seen

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(create_task(request(f"t{number}")) for number in range(5)))

    assert [set(seen) for seen in asyncio.run(main())] == [{f"t{number}"} for number in range(5)]


def test_propagate_captures_now_and_keeps_the_kind() -> None:
    with bind(tenant="acme"):
        wrapped = ctxkit.propagate(get)
        awrapped = ctxkit.propagate(_aswap)
    with bind(tenant="other"):
        assert wrapped("tenant") == "acme"
    assert ctxkit.propagate(wrapped) is wrapped
    assert inspect.iscoroutinefunction(awrapped)
    assert asyncio.run(awrapped("x")) == ("unset", "x")
