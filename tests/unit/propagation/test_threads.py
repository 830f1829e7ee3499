from __future__ import annotations

import gc
import sys
import threading
import weakref
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import run_script

from ctxkit import Thread, Timer, bind, get

if TYPE_CHECKING:
    from collections.abc import Callable

VAR: ContextVar[str] = ContextVar("var", default="unset")


class Overriding(Thread):
    """A subclass with a run of its own, that does not call the one it overrides."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def run(self) -> None:
        self.seen.append(get("tenant"))
        VAR.set("child")


def _finished(thread: threading.Thread) -> None:
    thread.join(10)
    assert not thread.is_alive()


def test_thread_runs_in_the_context_of_its_start() -> None:
    seen: list[Any] = []
    with bind(tenant="made"):
        thread = Thread(
            target=lambda *args, **named: seen.append((get("tenant"), args, named)),
            args=(1,),
            kwargs={"a": 2},
        )
    with bind(tenant="started"):
        thread.start()
    _finished(thread)
    assert seen == [("started", (1,), {"a": 2})]


def test_thread_subclass_that_overrides_run_runs_in_the_context_of_its_start() -> None:
    thread = Overriding()
    with bind(tenant="acme"):
        thread.start()
    _finished(thread)
    assert thread.seen == ["acme"]
    assert VAR.get() == "unset"


def test_thread_run_without_start_runs_where_it_is_called() -> None:
    thread = Overriding()
    with bind(tenant="here"):
        Context().run(thread.run)
        thread.run()
    assert thread.seen == [None, "here"]
    VAR.set("unset")


def test_thread_started_twice_is_refused_and_ran_once() -> None:
    thread = Overriding()
    thread.start()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()
    _finished(thread)
    assert thread.seen == [None]


def test_thread_that_could_not_start_keeps_nothing_and_starts_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    thread = Overriding()
    with monkeypatch.context() as patched, bind(tenant="first"):
        for name in ("_start_new_thread", "_start_joinable_thread"):  # from Python 3.13
            if hasattr(threading, name):
                patched.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            thread.start()
    assert "run" not in vars(thread)
    with bind(tenant="second"):
        thread.start()
    _finished(thread)
    assert thread.seen == ["second"]


def test_finished_thread_keeps_nothing_of_its_context() -> None:
    class Request: ...

    request = Request()
    gone = weakref.ref(request)
    thread = Thread(target=print, args=("",))
    with bind(request=request):
        thread.start()
    _finished(thread)
    del request
    gc.collect()
    assert gone() is None


def test_finished_thread_is_not_left_to_the_garbage_collector() -> None:
    thread = Overriding()
    thread.start()
    _finished(thread)
    gone = weakref.ref(thread)
    gc.disable()
    try:
        del thread
        assert gone() is None
    finally:
        gc.enable()


def test_error_in_a_thread_reaches_the_excepthook(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    error = LookupError()

    def fail() -> None:
        raise error

    thread = Thread(target=fail)
    thread.start()
    _finished(thread)
    assert [(each.exc_value, each.thread) for each in caught] == [(error, thread)]
    caught.clear()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="Thread(context=) came with Python 3.14")
def test_context_that_is_given_goes_before_the_current_one() -> None:
    seen: list[Any] = []
    context = Context()
    context.run(VAR.set, "given")
    thread = Thread(target=lambda: seen.append((VAR.get(), get("tenant"))), context=context)
    with bind(tenant="acme"):
        thread.start()
    _finished(thread)
    assert seen == [("given", None)]


def test_timer_runs_in_the_context_of_its_start() -> None:
    seen: list[Any] = []
    timer = Timer(0, lambda *args: seen.append((get("tenant"), args)), args=(1,))
    assert isinstance(timer, threading.Timer)
    with bind(tenant="acme"):
        timer.start()
    _finished(timer)
    assert seen == [("acme", (1,))]


def test_timer_cancelled_does_not_run_and_lets_go() -> None:
    class Request: ...

    request = Request()
    gone = weakref.ref(request)
    timer = Timer(60, pytest.fail)
    with bind(request=request):
        timer.start()
    timer.cancel()
    _finished(timer)
    del request
    gc.collect()
    assert gone() is None


def test_importing_threads_does_not_import_asyncio() -> None:
    script = "import sys, ctxkit; ctxkit.Thread; print('asyncio' in sys.modules)"
    assert run_script(script).strip() == "False"


class Failing(Thread):
    def run(self) -> None:
        raise LookupError


def _fail() -> None:
    raise LookupError


@pytest.mark.parametrize(
    "make",
    [Failing, lambda: Thread(target=_fail), lambda: Timer(0, _fail)],
    ids=["subclass", "Thread", "Timer"],
)
def test_excepthook_is_called_in_the_context_of_the_thread(
    make: Callable[[], Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, object, object]] = []

    def hook(args: threading.ExceptHookArgs) -> None:
        seen.append((args.exc_type, args.thread, get("tenant")))

    monkeypatch.setattr(threading, "excepthook", hook)
    thread = make()
    with bind(tenant="acme"):
        thread.start()
    _finished(thread)
    assert seen == [(LookupError, thread, "acme")]


def test_run_that_is_called_in_the_thread_of_the_caller_only_raises() -> None:
    thread = Thread(target=_fail)
    with pytest.raises(LookupError):
        thread.run()
