from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextvars import Context, copy_context
from typing import Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit import ConfigurationError, Local


class Value: ...


class ThreadBound(Local, scope="thread"): ...


def test_thread_scope_keeps_a_value_from_other_threads_wherever_the_context_goes() -> None:
    local = Local(scope="thread")
    local.x = "mine"
    carried = copy_context()
    assert in_plain_thread(carried.run, hasattr, local, "x") is False
    assert in_plain_thread(carried.run, lambda: dict(vars(local))) == {}
    assert carried.run(getattr, local, "x") == "mine"


def test_thread_scope_loses_nothing_where_a_context_comes_back_from_another_thread() -> None:
    local = Local(scope="thread")
    local.x = "mine"
    carried = copy_context()
    in_plain_thread(carried.run, setattr, local, "x", "theirs")
    assert carried.run(getattr, local, "x") == "mine"
    in_plain_thread(carried.run, hasattr, local, "x")
    carried.run(delattr, local, "x")
    assert local.x == "mine"


def test_thread_scope_is_not_deceived_by_a_thread_with_the_ident_of_another() -> None:
    local = Local(scope="thread")
    context = Context()

    def write() -> int:
        context.run(setattr, local, "x", 1)
        return threading.get_ident()

    def read() -> tuple[int, bool]:
        return threading.get_ident(), context.run(hasattr, local, "x")

    for _ in range(100):
        wrote = in_plain_thread(write)
        ident, seen = in_plain_thread(read)
        assert seen is False
        if ident == wrote:
            return
    pytest.skip("no ident was used twice")


def test_thread_scope_keeps_the_tasks_and_contexts_of_a_thread_apart() -> None:
    local = Local(scope="thread")

    async def task(name: str) -> str:
        before = local.x
        local.x = name
        await asyncio.sleep(0)
        return f"{before} {local.x}"

    async def main() -> list[str]:
        local.x = "main"
        seen = await asyncio.gather(task("a"), task("b"))
        return [*seen, local.x]

    assert Context().run(asyncio.run, main()) == ["main a", "main b", "main"]
    assert not hasattr(local, "x")


def test_thread_scope_runs_init_in_each_thread_and_context() -> None:
    class Connection(Local, scope="thread"):
        def __init__(self, name: str) -> None:
            self.name = f"{name} of {threading.get_ident()}"

    local = Connection("db")
    mine = local.name
    assert mine == f"db of {threading.get_ident()}"
    carried = copy_context()
    assert in_plain_thread(lambda: carried.run(getattr, local, "name") != mine)
    local.name = "changed"
    assert copy_context().run(getattr, local, "name") == "changed"
    assert Context().run(getattr, local, "name") == mine


def test_thread_scope_lets_values_die_with_the_thread() -> None:
    local = Local(scope="thread")
    kept = Context()

    def work() -> weakref.ref[Value]:
        value = Value()
        kept.run(setattr, local, "x", value)
        return weakref.ref(value)

    assert in_plain_thread(work)() is None
    assert len(kept) == 1, "the context would have kept it"


def test_thread_scope_lets_values_die_with_the_local_on_threads_that_go_on() -> None:
    local = ThreadBound()
    mine = Value()
    local.x = mine
    refs = [weakref.ref(mine)]
    wrote, leave = threading.Event(), threading.Event()

    def work(local: Any) -> None:
        value = Value()
        local.x = value
        refs.append(weakref.ref(value))
        del local, value
        wrote.set()
        leave.wait(30)

    box = [local]
    thread = threading.Thread(target=lambda: work(box.pop()))
    thread.start()
    assert wrote.wait(30)
    del mine, local
    try:
        assert [ref() for ref in refs] == [None, None]
    finally:
        leave.set()
        thread.join(30)


def test_thread_scope_lets_values_die_with_the_context_and_when_replaced() -> None:
    local = Local(scope="thread")
    first, second = Value(), Value()
    refs = [weakref.ref(first), weakref.ref(second)]
    context = Context()
    context.run(setattr, local, "x", first)
    del first
    context.run(setattr, local, "x", second)
    del second
    assert refs[0]() is None
    assert refs[1]() is not None
    del context
    assert refs[1]() is None


def test_thread_scope_lets_a_value_die_that_holds_the_local() -> None:
    value: Any = Value()
    gone = weakref.ref(value)
    value.local = Local(scope="thread")
    value.local.x = value
    del value
    gc.collect()
    assert gone() is None


def test_scope_of_a_class_is_inherited_and_may_be_given_otherwise() -> None:
    class Heir(ThreadBound): ...

    class Back(ThreadBound, scope="context"): ...

    def seen_elsewhere(local: Any) -> bool:
        local.x = 1
        return bool(in_plain_thread(copy_context().run, hasattr, local, "x"))

    assert [seen_elsewhere(kind()) for kind in (Local, Back)] == [True, True]
    assert [seen_elsewhere(kind()) for kind in (ThreadBound, Heir)] == [False, False]
    assert seen_elsewhere(ThreadBound(scope="context")) is True
    assert seen_elsewhere(Local(scope="context")) is True


def test_scope_belongs_to_an_init_where_there_is_one() -> None:
    class Telescope(Local):
        def __init__(self, scope: str) -> None:
            self.kind = scope

    local = Telescope(scope="thread")
    assert local.kind == "thread"
    assert in_plain_thread(copy_context().run, vars(local).get, "kind") == "thread"


@pytest.mark.parametrize("scope", ["request", "", None, 7, ["thread"]])
def test_scope_that_is_none_is_refused(scope: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'Write "context" or "thread"'):
        Local(scope=scope)
    if scope is not None:
        with pytest.raises(ConfigurationError, match="scope="):
            type("Wrong", (Local,), {}, scope=scope)


def test_scope_beside_other_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="arguments are not supported"):
        Local(1, scope="thread")
