"""What a person recognises as a holder, and how it is called. Private."""

from __future__ import annotations

import logging
import threading
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, Final

from ctxkit.context import Snapshot
from ctxkit.context._carriers import Carrier
from ctxkit.context._places import short
from ctxkit.propagation import _loop_holders as of_loop
from ctxkit.propagation._referrers import STEPPED
from ctxkit.propagation._words import (
    Holder,
    call_text,
    callable_text,
    code_place,
    loaded,
    thread_text,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.propagation._referrers import Running

_POOLS: Final = ("concurrent.futures.thread", "multiprocessing.pool")
_WORKER: Final = "Use ctxkit.ThreadPoolExecutor, whose workers start with an empty context."


def ends() -> Callable[[object], bool]:
    """Return what tells of an object whether it need not be asked who holds it in turn."""
    known = tuple(kind for kind, describe in _describers() if describe in _LAST)
    by_itself = (ModuleType, type, logging.Logger)

    def is_end(obj: object) -> bool:
        kind = type(obj)
        if issubclass(kind, known):
            return not is_done(obj)  # it does nothing any more: who keeps it does
        return issubclass(kind, by_itself) or global_module(obj) is not None

    return is_end


def is_done(obj: object) -> bool:
    """Return whether ``obj`` is a task, a future or a job that has come to its end."""
    if issubclass(type(obj), loaded("concurrent.futures.thread", "_WorkItem")):
        obj = getattr(obj, "future", None)
    asyncio_future = loaded("asyncio", "Future")
    if issubclass(type(obj), (asyncio_future, loaded("concurrent.futures", "Future"))):
        future: Any = obj
        return bool(future.done())
    return False


def recognised(obj: object, running: Running) -> Holder | None:
    """Return what ``obj`` is as a holder; None if it is none by itself."""
    kind = type(obj)
    for known, describe in _describers():
        if issubclass(kind, known):
            return describe(obj, running)
    return None


def global_module(obj: object) -> str | None:
    """Return the name of the module whose globals ``obj`` is, or None."""
    if type(obj) is not dict or "__name__" not in obj or "__spec__" not in obj:
        return None
    name: object = obj["__name__"]  # pyright: ignore[reportUnknownVariableType]
    return name if isinstance(name, str) else None


def _describers() -> list[tuple[type, Callable[[Any, Running], Holder | None]]]:
    """Return the classes that are known, of those modules that are loaded."""
    found: list[tuple[type, Callable[[Any, Running], Holder | None]]] = [
        (threading.Thread, _thread),
        (Snapshot, _snapshot),
        (Carrier, _carrier),
        (GeneratorType, _generator),
        (AsyncGeneratorType, _generator),
        (CoroutineType, _generator),
        (BaseException, _exception),
        (logging.LogRecord, _record),
    ]
    found += [(loaded(module, name), describe) for module, name, describe in _BY_NAME]
    return found


def _job(item: Any, _: Running) -> Holder | None:
    if is_done(item):
        return None
    task = getattr(item, "task", None)  # Python 3.14
    f, arguments = (item.fn, item.args) if task is None else (task[0], task[1])
    state = "is running" if item.future.running() else "has not begun"
    return Holder("job", f"job of a ThreadPoolExecutor that {state}: {call_text(f, arguments)}")


def _pool_future(future: Any, _: Running) -> Holder | None:
    if future.done():
        return None
    callbacks = getattr(future, "_done_callbacks", None) or ()
    names = " and ".join(dict.fromkeys(map(callable_text, callbacks)))
    text = "concurrent.futures.Future" + (f" with the callback {names}" if names else "")
    return Holder("future", text)


def _thread(thread: Any, running: Running) -> Holder:
    target = getattr(thread, "_target", None)
    pooled = type(target) is FunctionType and target.__module__ in _POOLS
    advice = _WORKER if pooled else ""
    if thread.is_alive():
        return Holder("thread", thread_text(thread.ident, running), advice)
    state = "was not started" if thread.ident is None else "has finished"
    return Holder("thread", f"Thread {thread.name!r}, which {state}", advice)


def _snapshot(_: Any, __: Running) -> Holder:
    return Holder("snapshot", "Snapshot")


def _carrier(carrier: Any, _: Running) -> Holder:
    return Holder("snapshot", f"propagated callable {callable_text(carrier)}")


def _generator(generator: Any, _: Running) -> Holder | None:
    frame = getattr(generator, STEPPED[type(generator)])
    if frame is None:
        return None
    kind = type(generator).__name__.replace("_", " ")
    place = code_place(frame.f_code, frame.f_lineno)
    return Holder("generator", f"{kind} {generator.__qualname__}, suspended at {place}")


def _exception(error: Any, _: Running) -> Holder:
    text = f"exception {type_name(error)}"
    traceback: Any = vars(BaseException)["__traceback__"].__get__(error)
    if traceback is not None:
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        text += f", raised at {code_place(traceback.tb_frame.f_code, traceback.tb_lineno)}"
    return Holder("exception", text)


def _record(record: Any, _: Running) -> Holder:
    place = f"{short(record.pathname)}:{record.lineno}"
    return Holder("object", f"LogRecord that was logged at {place}", "", "record")


def _sent_file(_: Any, __: Running) -> Holder:
    return Holder("object", "file that the server is sending", "", "server")


_BY_NAME: Final[tuple[tuple[str, str, Callable[[Any, Running], Holder | None]], ...]] = (
    ("asyncio", "Task", of_loop.task_holder),
    ("trio.lowlevel", "Task", of_loop.trio_holder),
    ("asyncio", "Handle", of_loop.handle_holder),
    ("uvloop.loop", "Handle", of_loop.handle_holder),
    ("uvloop.loop", "TimerHandle", of_loop.handle_holder),
    ("asyncio", "Future", of_loop.future_holder),
    ("concurrent.futures.thread", "_WorkItem", _job),
    ("concurrent.futures", "Future", _pool_future),
    ("asyncio", "BaseTransport", of_loop.connection_holder),
    ("asyncio", "BaseProtocol", of_loop.connection_holder),
    ("ctxkit.boundary._wsgi_file", "_ConfinedFile", _sent_file),
)
#: Those that are the last on a path.
_LAST: Final = frozenset(
    (
        _job,
        _pool_future,
        _record,
        _thread,
        of_loop.connection_holder,
        of_loop.future_holder,
        of_loop.handle_holder,
        of_loop.task_holder,
        of_loop.trio_holder,
    )
)
