"""The words for holders, and for places in the code. Private.

Nothing is evaluated, compared or printed but types, names and places in the code. Types
are asked for their bases, never objects for their class, which a lazy one would answer by
loading itself; and only functions are asked for their names.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxkit.context._carriers import Carrier
from ctxkit.context._places import short
from ctxkit.context.errand import Errand, carried_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from ctxkit.propagation._referrers import Running

_LIBRARY: Final = threading.__file__.rpartition("/")[0]
_STARTERS: Final = (
    threading.__file__,
    f"{_LIBRARY}/concurrent/futures/thread.py",
    __file__.rpartition("/propagation/")[0] + "/",
)

_DETACH: Final = "Start it with ctxkit.detached"
EMPTY: Final = "with context=contextvars.Context()"
ADVICE: Final = {
    "task": f"{_DETACH}, or await or cancel it before the work ends.",
    "handle": f"Schedule it {EMPTY}, or cancel it before the work ends.",
    "job": "Wait for it before the work ends, or submit it with ctxkit.detached.",
    "future": f"Complete it before the work ends, or add its callback {EMPTY}.",
    "connection": "Open it in an empty context: contextvars.Context().run or ctxkit.detached.",
    "thread": f"{_DETACH}, or join it before the work ends, and let go of it.",
    "generator": "Exhaust or close it before the work ends.",
    "snapshot": "Let go of it when the work ends.",
    "exception": "Keep what it says, or the exception without its __traceback__.",
    "context": "Leave the bind() block, or reset the variable, in the context it was set in.",
    "object": "Have it let go when the work ends.",
}


class Holder(NamedTuple):
    """Say who holds something.

    Attributes:
        kind: One of the keys of :data:`ADVICE`.
        text: What it is called.
        advice: What to do about it.
        passing: Why it is nobody's mistake: "cancelled", "server", "record" or empty.
        real: The object that is meant, where the holder only works for that.
    """

    kind: str
    text: str
    advice: str = ""
    passing: str = ""
    real: object = None


def kind_name(kind: type[Any]) -> str:
    """Return the name of a class, with its module if that is not Python's own."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def type_name(obj: object) -> str:
    """Return the name of the class of ``obj``."""
    return kind_name(type(obj))


def code_place(code: CodeType, line: int | None = None) -> str:
    """Return a place in the code, as it is written everywhere here."""
    return f"{short(code.co_filename)}:{line or code.co_firstlineno}"


def thread_text(ident: int, running: Running) -> str:
    """Return what the running thread ``ident`` is called, and what it runs."""
    name = next((t.name for t in threading.enumerate() if t.ident == ident), str(ident))
    stack = running.stacks.get(ident, [])
    # The outermost function that is not there to start others.
    for code, line in reversed(stack):
        if not code.co_filename.startswith(_STARTERS) or (code, line) == stack[0]:
            return f"Thread {name!r}, which runs {code.co_qualname} ({code_place(code, line)})"
    return f"Thread {name!r}"


def call_text(f: Any, arguments: Sequence[Any]) -> str:
    """Return the name of what a call runs: beyond ``Context.run`` and what pools put there."""
    if type(f) is BuiltinFunctionType and type(f.__self__) is Context and arguments:
        f, *arguments = arguments
    return callable_text(carried_in(f, arguments[0]) if arguments else f)


def callable_text(f: Any) -> str:
    """Return the name of a callable, and where it is written."""
    while True:
        inner: object = None
        if issubclass(type(f), Carrier):
            inner = f.__wrapped__
        elif issubclass(type(f), Errand):
            inner = f._f  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        elif type_name(f) == "functools.partial":
            inner = f.func
        if inner is None:
            break
        f = inner
    if type(f) is MethodType:
        f = f.__func__
    if issubclass(type(f), type):
        return kind_name(f)
    if type(f) is FunctionType:
        return f"{f.__module__}.{f.__qualname__} ({code_place(f.__code__)})"
    if type(f) is BuiltinFunctionType:
        return f"{f.__module__}.{f.__qualname__}" if f.__module__ else f.__qualname__
    return f"a {type_name(f)}"


def loaded(module: str, name: str) -> type[Any]:
    """Return a class, or one without instances if its module is not loaded."""
    found: Any = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else Nothing


class Nothing:
    """What nothing is an instance of."""
