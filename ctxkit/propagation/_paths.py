"""What a path from a frame up to its last holder says to a person. Private."""

from __future__ import annotations

import gc
import threading
from contextvars import Context, copy_context
from types import (
    BuiltinFunctionType,
    CoroutineType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

from ctxkit.context import Frame, Snapshot
from ctxkit.context._carriers import Carrier
from ctxkit.propagation._holders import ends, global_module, is_done, recognised
from ctxkit.propagation._referrers import gil_enabled, is_plain
from ctxkit.propagation._words import Holder, code_place, kind_name, thread_text, type_name

if TYPE_CHECKING:
    from ctxkit.propagation._referrers import Node, Running

#: The most threads that are named where one of them is meant.
_THREADS = 5


def holder_at(end: Node, running: Running) -> Holder | None:
    """Return who holds the frame at the other end of the path that has ``end`` as its last.

    The holder is the first on the way up that a person recognises, and what comes after
    says where it is. None if that is only a function that is running in this thread.
    """
    upwards = [*end.way_down()][::-1]
    coroutine = 0  # what matters is the task that it belongs to, if there is one
    for position, node in enumerate(upwards[1:], 1):
        if type(node.obj) is CoroutineType:
            coroutine = coroutine or position
        elif not _gives_way(node, upwards[position:]):
            holder = recognised(node.obj, running)
            if holder is not None:
                return _placed(holder, upwards[position - 1 :], running)
    holder = recognised(upwards[coroutine].obj, running) if coroutine else None
    if holder is not None:
        return _placed(holder, upwards[coroutine - 1 :], running)
    return _unrecognised(upwards, running)


def _gives_way(node: Node, upwards: list[Node]) -> bool:
    """Return whether it is the callable that a snapshot was made for that one wants to hear of."""
    above = upwards[1].obj if len(upwards) > 1 else None
    return type(node.obj) is Snapshot and issubclass(type(above), Carrier)


def _placed(holder: Holder, upwards: list[Node], running: Running) -> Holder | None:
    """Return ``holder``, which is the second of ``upwards``, with where it is."""
    below, node = upwards[0].obj, upwards[1]
    end = upwards[-1].obj
    if is_done(node.obj) and _unrecognised(upwards[1:], running) is None:
        return None  # only the loop, which has just woken whoever waited for it
    if holder.kind == "thread" and type(below) is Context and _is_ours(below):
        return _current()  # since Python 3.14 a thread keeps the context that it began with
    last = recognised(end, running)
    place = "" if ends()(node.obj) else _place(upwards[1:], running)
    return holder._replace(
        text=f"{holder.text}, {place}" if place else holder.text,
        passing=holder.passing or ("" if last is None else last.passing),
        real=node.obj if holder.real is None else holder.real,
    )


def thread_name() -> str:
    """Return what the current thread is called."""
    return f"Thread {threading.current_thread().name!r}"


def _unrecognised(upwards: list[Node], running: Running) -> Holder | None:
    end = upwards[-1]
    context: Any = end.obj
    if type(end.obj) is BuiltinFunctionType:  # Context.run, while it runs
        context = end.obj.__self__
    if type(context) is Context:
        return _of_context(context, running)
    if is_plain(end.obj) and not _names_itself(end.obj):
        variable = running.variable(end.obj)
        if variable is None:
            return None
        place = f"in the variable {variable.name!r}"
        return Holder("thread", f"{thread_text(variable.thread, running)}, {place}")
    instances = [node for node in upwards if not is_plain(node.obj)]
    if not instances:
        place = _place(upwards, running).removeprefix("in ")
        return Holder("object", place, real=upwards[-2].obj)
    nearest = upwards.index(instances[0])
    kind = type_name(instances[0].obj)
    attribute = _attribute(instances[0])
    text = f"{kind}, as {attribute!r}" if attribute else kind
    place = _place(upwards[nearest:], running)
    return Holder("object", f"{text}, {place}" if place else text, real=instances[0].obj)


def _names_itself(obj: object) -> bool:
    return issubclass(type(obj), (ModuleType, type)) or global_module(obj) is not None


def _place(upwards: list[Node], running: Running) -> str:
    """Return where the first of ``upwards`` is, as the others say."""
    first, end = upwards[0], upwards[-1]
    words: list[str] = []
    for node in upwards[1:-1]:
        if not is_plain(node.obj):
            attribute = _attribute(node)
            kind = type_name(node.obj)
            words.append(f"in {attribute!r} of a {kind}" if attribute else f"in a {kind}")
            break
    module = global_module(end.obj)
    if module is not None:
        words.append(f"in the global {module}.{_key(end)}")
    elif issubclass(type(end.obj), ModuleType):
        words.append(f"in the module {end.obj.__name__}")  # type: ignore[attr-defined]
    elif issubclass(type(end.obj), type):
        words.append(f"in the class {kind_name(end.obj)}")  # type: ignore[arg-type]
    elif end is not first:
        holder = recognised(end.obj, running)
        if holder is not None:
            words.append(f"held by {holder.text}")
    else:
        variable = running.variable(end.obj) or running.variable(end.obj, here=True)
        if variable is not None:
            function = f"{variable.code.co_qualname} ({code_place(variable.code, variable.line)})"
            words.append(f"in the variable {variable.name!r} of {function}")
    return ", ".join(words)


def _key(node: Node) -> str:
    """Return the name under which a dict of names holds what is below it."""
    below = None if node.below is None else node.below.obj
    names: Any = node.obj
    for name, value in [*names.items()]:
        if value is below and isinstance(name, str) and name.isidentifier():
            return name
    return "?"


def _attribute(node: Node) -> str:
    """Return the attribute that holds what is below an instance; empty if it is not known.

    Only by way of what the class itself stores attributes in: nothing of the class runs.
    """
    below = node.below
    if below is None:
        return ""
    for base in type(node.obj).__mro__:
        for name, descriptor in [*vars(base).items()]:
            if name == "__dict__" and type(descriptor) is GetSetDescriptorType:
                names = descriptor.__get__(node.obj)
                if names is below.obj:
                    return _key(below)
                for key, value in [*names.items()]:
                    if value is below.obj:
                        return str(key)
            elif type(descriptor) is MemberDescriptorType and _has(descriptor, node.obj, below.obj):
                return name
    return ""


def _has(descriptor: Any, obj: object, value: object) -> bool:
    try:
        return descriptor.__get__(obj) is value
    except AttributeError:  # an empty slot
        return False


def _of_context(context: Context, running: Running) -> Holder | None:
    """Return whose current context it is that no object holds.

    A thread's current context is held by the thread alone, out of sight. What can be told:
    whether it is ours, and whether somebody has entered it or it is what a thread began
    with.
    """
    if _is_ours(context):
        return _current()
    threads = [ident for ident in running.stacks if ident != threading.get_ident()]
    if _is_entered(context):
        threads = [each for each in threads if _enters(running, each)] or threads
    if not threads:
        return None
    texts = [thread_text(ident, running) for ident in threads[:_THREADS]]
    if len(threads) == 1:
        return Holder("thread", f"{texts[0]}, as its current context")
    more = "; or another" if len(threads) > _THREADS else ""
    return Holder("thread", f"a thread, as its current context: {'; or '.join(texts)}{more}")


def _is_ours(context: Context) -> bool:
    # Copies share the mapping; the context itself is not to be had.
    ours = {id(each) for each in gc.get_referents(copy_context())}
    return any(id(each) in ours for each in gc.get_referents(context))


def _current() -> Holder:
    return Holder("context", f"the current context of {thread_name()}")


def _is_entered(context: Context) -> bool:
    if not gil_enabled():
        return True  # to try would be a race with who wants to enter it
    try:
        context.run(int)
    except RuntimeError:
        return True
    return False


def _enters(running: Running, thread: int) -> bool:
    """Return whether a function on the thread's stack may have called ``Context.run``."""
    starters = (threading.__file__, "concurrent/futures/thread.py")
    return any(
        ("run" in code.co_names and not code.co_filename.endswith(starters))
        or "/ctxkit/context/" in code.co_filename
        for code, _ in running.stacks[thread]
    )


def frames_below(end: Node) -> list[Frame]:
    """Return the frames that ``end`` holds, by whatever way."""
    frames, seen, waiting = list[Frame](), {end}, [end]
    while waiting:
        node = waiting.pop()
        held: Any = node.obj
        if issubclass(type(held), Frame):
            frames.append(held)
        for each in node.held:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return frames
