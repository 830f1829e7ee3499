"""Build on :class:`ctxkit.Local` anew what was built on ``threading.local``. Private."""

from __future__ import annotations

import _thread
import gc
import sys
import threading
from contextvars import copy_context
from copy import copy
from functools import update_wrapper
from types import CellType, CodeType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from ctxkit.context import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What threading.local was before anybody patched it.
_C_LOCAL: type[Any] = vars(_thread)["_local"]
#: What took the place of what, by the id of the old one; which is kept, or else another
#: object might get its id.
_made: dict[int, tuple[object, Any]] = {}


def roots() -> tuple[type[Any], ...]:
    """Return the classes that are ``threading.local``: what it is now, C's, and Python's."""
    twin: Any = sys.modules.get("_threading_local")
    return (threading.local, _C_LOCAL, *([twin.local] if twin else []))


def is_class(old: object) -> bool:
    """Tell whether ``old`` is a class, without asking it: a local would run its ``__init__``."""
    return issubclass(type(old), type)


def replacement(old: Any) -> Any:
    """Return what takes the place of ``old``: the same for the same object, in any thread.

    ``old`` is a class below one of :func:`roots` or an instance of one. It stays as it is.
    """
    # Without a lock, as to build may import, and an import may wait for the lock's holder.
    # Of two that are built at once, the first that is noted is the one.
    made = _made.get(id(old))
    if made is None:
        new = _class(old) if is_class(old) else _instance(old)
        made = _made.setdefault(id(old), (old, new))
    return made[1]


def is_named_by_its_methods(kind: type[Any]) -> bool:
    """Tell whether a method of ``kind`` looks it up by its name, as ``super(Kind, self)``."""
    return any(
        kind.__name__ in _names(function.__code__)
        and function.__globals__.get(kind.__name__) is kind
        for value in vars(kind).values()
        for function in _functions(value)
    )


def _class(old: type[Any]) -> type[Any]:
    """Return a class like ``old`` that has ``Local`` where ``old`` has ``threading.local``.

    Functions that name the class by a closure, as ``super()`` without arguments and
    ``__class__`` do, are copied for the new one.
    """
    if old in roots():
        return Local
    cell = CellType()
    body = {
        name: _moved(value, old, cell)
        for name, value in vars(old).items()
        if name not in {"__dict__", "__weakref__"} and not isinstance(value, MemberDescriptorType)
    }
    body["__qualname__"] = old.__qualname__
    bases = (replacement(each) if issubclass(each, roots()) else each for each in old.__bases__)
    metaclass: Any = type(old)
    new: Any = metaclass(old.__name__, tuple(bases), body)
    cell.cell_contents = new
    return new  # type: ignore[no-any-return]


def _instance(old: Any) -> Any:
    """Return an instance made with the arguments of ``old``, without values anywhere."""
    kind = replacement(type(old))
    args, kwargs = ((), {}) if kind is Local else _arguments(old)
    # Without __init__, which each context runs at the first use, when its class has taken
    # its place. In a copy, so that no context inherits that it was made.
    new = copy_context().run(kind.__new__, kind, *args, **kwargs)
    for name, value in _slots(old):  # those belong to no thread
        object.__setattr__(new, name, value)
    return new


def _arguments(old: Any) -> tuple[tuple[object, ...], dict[str, object]]:
    twin: Any = sys.modules.get("_threading_local")
    if twin and issubclass(type(old), twin.local):
        found: Any = object.__getattribute__(old, "_local__impl").localargs
        return found  # type: ignore[no-any-return]
    # threading.local keeps the arguments for __init__ where only the collector sees them.
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = {}
    slots = {id(value) for _, value in _slots(old)}
    for held in gc.get_referents(old):
        if id(held) in slots:
            continue
        if isinstance(held, tuple):
            args = cast("tuple[object, ...]", held)
        # Its list of threads is a dict besides, empty when they are gone.
        elif isinstance(held, dict) and held and all(isinstance(key, str) for key in held):  # pyright: ignore[reportUnknownVariableType] - asked of each
            kwargs = cast("dict[str, object]", held)
    return args, kwargs


def _slots(old: Any) -> Iterator[tuple[str, object]]:
    for kind in type(old).__mro__:
        if kind in roots():
            continue
        for name, slot in vars(kind).items():
            if isinstance(slot, MemberDescriptorType):
                try:
                    yield name, slot.__get__(old)
                except AttributeError:  # never set
                    continue


def _moved(value: Any, old: type[Any], cell: CellType) -> Any:
    kind = cast("Callable[..., Any]", type(value))
    if isinstance(value, (staticmethod, classmethod)):
        return kind(_moved(value.__func__, old, cell))  # pyright: ignore[reportUnknownMemberType]
    if isinstance(value, property):
        parts = (_moved(part, old, cell) for part in (value.fget, value.fset, value.fdel))
        return kind(*parts, value.__doc__)
    if not isinstance(value, FunctionType):
        return _moved_descriptor(value, old, cell)
    if not value.__closure__:
        return value
    closure = tuple(_moved_cell(each, old, cell) for each in value.__closure__)
    if all(map(_is, closure, value.__closure__)):
        return value
    twin: Any = FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, closure
    )
    twin.__kwdefaults__ = value.__kwdefaults__
    update_wrapper(twin, value)
    del twin.__wrapped__
    return twin


def _moved_descriptor(value: Any, old: type[Any], cell: CellType) -> Any:
    """Return a copy of a ``cached_property`` and its like, if a function in it was moved."""
    held = dict(_held(value))
    moved = {name: _moved(each, old, cell) for name, each in held.items()}
    twin: Any = value if moved == held else copy(value)
    if twin is not value:  # as that of a functools.lru_cache is
        twin.__dict__.update(moved)
    return twin


def _held(value: Any) -> Iterator[tuple[str, FunctionType]]:
    if hasattr(cast("object", type(value)), "__get__") and not isinstance(value, type):
        for name, each in [*getattr(value, "__dict__", {}).items()]:
            if isinstance(each, FunctionType):
                yield name, each


def _moved_cell(each: CellType, old: type[Any], cell: CellType) -> CellType:
    try:
        content: Any = each.cell_contents
    except ValueError:  # still empty
        return each
    if content is old:
        return cell
    # A decorator's wrapper holds the function that it wraps in a cell.
    moved = _moved(content, old, cell) if isinstance(content, FunctionType) else content
    return each if moved is content else CellType(moved)


def _functions(value: Any) -> Iterator[FunctionType]:
    """Yield the functions that a value in a class's body calls."""
    if isinstance(value, (staticmethod, classmethod)):
        yield from _functions(value.__func__)  # pyright: ignore[reportUnknownMemberType]
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _functions(part)
    elif not isinstance(value, FunctionType):
        yield from (each for _, each in _held(value))
    else:
        yield value
        for each in value.__closure__ or ():
            try:
                content: Any = each.cell_contents
            except ValueError:  # still empty
                continue
            if isinstance(content, FunctionType):
                yield from _functions(content)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is(one: object, other: object) -> bool:
    return one is other
