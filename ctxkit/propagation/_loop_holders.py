"""Holders that belong to an event loop: tasks, timers, futures, connections. Private."""

from __future__ import annotations

import gc
from contextvars import Context
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from ctxkit.context._places import short
from ctxkit.propagation._words import (
    EMPTY,
    Holder,
    call_text,
    callable_text,
    code_place,
    loaded,
    type_name,
)

if TYPE_CHECKING:
    from ctxkit.propagation._referrers import Running

#: Packages whose own timers and tasks serve a connection, not a request.
_SERVERS: Final = frozenset(
    ("daphne", "granian", "gunicorn", "hypercorn", "twisted", "uvicorn", "waitress")
)


def task_holder(task: Any, _: Running) -> Holder:
    """Return what a task of asyncio is called, and where it was made and is."""
    coroutine: Any = task.get_coro()
    text = f"{'finished ' if task.done() else ''}Task {task.get_name()!r}"
    return Holder("task", text + _of_coroutine(coroutine, _made(task)), "", _owner(coroutine))


def trio_holder(task: Any, _: Running) -> Holder:
    """Return the same of a task of trio."""
    return Holder("task", f"trio Task {task.name!r}{_of_coroutine(task.coro, '')}")


def _of_coroutine(coroutine: Any, made: str) -> str:
    name = getattr(coroutine, "__qualname__", None)
    text = f" of {name}" if name else ""
    for file, line, _ in getattr(coroutine, "cr_origin", None) or ():
        made = made or f"{short(file)}:{line}"
    frame = getattr(coroutine, "cr_frame", None)
    if made:
        text += f", made at {made}"
    if frame is not None:
        text += f", now at {code_place(frame.f_code, frame.f_lineno)}"
    return text


def _made(obj: Any) -> str:
    """Return where a task, handle or future was made, which asyncio knows in debug mode."""
    for entry in reversed(getattr(obj, "_source_traceback", None) or ()):
        if "asyncio" not in entry.filename:
            return f"{short(entry.filename)}:{entry.lineno}"
    return ""


def _owner(coroutine: Any) -> str:
    frame = getattr(coroutine, "cr_frame", None)
    return "" if frame is None else _server_if(str(frame.f_globals.get("__name__", "")))


def handle_holder(handle: Any, _: Running) -> Holder:
    """Return what a callback is called, which a loop will call; or the task that it wakes."""
    kind = type_name(handle).removeprefix("asyncio.events.")
    callback, arguments = _call_of(handle)
    due = ""
    if hasattr(handle, "when") and getattr(handle, "_loop", None) is not None:
        due = f", due in {max(0, handle.when() - handle._loop.time()):.0f} s"  # noqa: SLF001
    if handle.cancelled():
        text = f"cancelled {kind}, which its loop keeps until it was due{due}"
        return Holder("handle", text, f"Schedule it {EMPTY}.", "cancelled")
    task = _task_behind(callback, *arguments)
    if task is not None:
        return task_holder(task, _)._replace(real=task)
    owner = getattr(callback, "__self__", None) if _is_method(callback) else None
    if _is_connection(owner):
        return connection_holder(owner, _)._replace(real=owner)
    made = _made(handle)
    text = f"{kind} of {call_text(callback, arguments)}{due}{f', made at {made}' if made else ''}"
    return Holder("handle", text, "", _server_if(_module_of(callback)))


def _call_of(handle: Any) -> tuple[Any, tuple[object, ...]]:
    """Return the callback of a handle and its arguments."""
    if hasattr(handle, "_callback"):
        return handle._callback, handle._args or ()  # noqa: SLF001 - asyncio's own, public nowhere
    # uvloop shows these to the collector alone.
    held = gc.get_referents(handle)
    arguments: list[tuple[object, ...]] = [each for each in held if type(each) is tuple]
    kinds = (tuple, type, Context)
    calls = [each for each in held if type(each) not in kinds and callable(each)]
    return (*calls, None)[0], (*arguments, ())[0]


def future_holder(future: Any, _: Running) -> Holder | None:
    """Return what a future is called by its callbacks; or the task that it wakes."""
    callbacks = [callback for callback, _context in getattr(future, "_callbacks", None) or ()]
    task = _task_behind(*callbacks)
    if task is not None:
        return task_holder(task, _)._replace(real=task)
    if future.done() and not callbacks:
        return None
    state = "finished" if future.done() else "pending"
    names = " and ".join(dict.fromkeys(map(callable_text, callbacks)))
    if "asyncio.futures._chain_future." in names:
        return Holder("future", f"{state} Future of a job in an executor")
    return Holder("future", f"{state} Future{f' with the callback {names}' if names else ''}")


def _task_behind(*parts: object) -> object | None:
    """Return the task for which a future or a timer of asyncio's own wakes."""
    for part in parts:
        bound: Any = getattr(part, "__self__", None) if _is_method(part) else part
        if type_name(bound) == "_asyncio.TaskStepMethWrapper":
            tasks = [each for each in gc.get_referents(bound) if is_task(each)]
            bound = tasks[0] if tasks else None
        if not type_name(bound).startswith(("asyncio.", "_asyncio")):
            continue
        if is_task(bound):
            return bound  # type: ignore[no-any-return]
        if issubclass(type(bound), loaded("asyncio", "Future")):
            callbacks = [each for each, _ in getattr(bound, "_callbacks", None) or ()]
            task = _task_behind(*(each for each in callbacks if _is_method(each)))
        else:  # asyncio.timeout()
            task = getattr(bound, "_task", None)
        if task is not None:
            return task
    return None


def is_task(obj: object) -> bool:
    """Return whether ``obj`` is a task of asyncio."""
    return issubclass(type(obj), loaded("asyncio", "Task"))


def _is_method(obj: object) -> bool:
    return type(obj) in (MethodType, BuiltinFunctionType) or (
        type(obj).__module__ == "builtins" and hasattr(type(obj), "__self__")
    )


def connection_holder(obj: Any, _: Running) -> Holder:
    """Return what a transport or a protocol is called."""
    protocol = getattr(obj, "_protocol", None) if type_name(obj).startswith("asyncio.") else None
    of = "a connection" if protocol is None else f"a connection of {type_name(protocol)}"
    text = f"{type_name(obj).rpartition('.')[2]} of {of}"
    return Holder("connection", text, "", "server" if _is_a_servers(obj) else "")


def _is_a_servers(obj: Any) -> bool:
    """Return whether a transport or protocol is that of a connection which a server accepted."""
    if _server_if(type(obj).__module__):
        return True
    if not type_name(obj).startswith("asyncio."):
        return False
    other = getattr(obj, "_protocol", None) or getattr(obj, "_transport", None)
    if other is not None and _server_if(type(other).__module__):
        return True
    asyncios = [each for each in (obj, other) if type_name(each).startswith("asyncio.")]
    return any(getattr(each, "_server", None) is not None for each in asyncios)


def _is_connection(obj: object) -> bool:
    kinds = (loaded("asyncio", "BaseTransport"), loaded("asyncio", "BaseProtocol"))
    return issubclass(type(obj), kinds)


def _module_of(callback: Any) -> str:
    return str(callback.__module__) if type(callback) in (FunctionType, MethodType) else ""


def _server_if(module: str) -> str:
    return "server" if module.partition(".")[0] in _SERVERS else ""
