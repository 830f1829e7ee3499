"""Build a subclass of ``threading.local`` anew on :class:`ctxkit.Local`. Private."""

from __future__ import annotations

import threading
from functools import update_wrapper
from types import CellType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from ctxkit.context import Local

if TYPE_CHECKING:
    from collections.abc import Callable


def transplanted(old: type[Any]) -> type[Any]:
    """Return a class like ``old`` that has ``Local`` where ``old`` has ``threading.local``.

    ``old`` and its instances stay as they are. Functions that name the class by a closure,
    as ``super()`` without arguments and ``__class__`` do, are copied for the new one.
    """
    if old is threading.local:
        return Local
    if not issubclass(old, threading.local):
        return old
    cell = CellType()
    body = {
        name: _moved(value, old, cell)
        for name, value in vars(old).items()
        if name not in {"__dict__", "__weakref__"} and not isinstance(value, MemberDescriptorType)
    }
    metaclass: Any = type(old)
    new: Any = metaclass(old.__name__, tuple(map(transplanted, old.__bases__)), body)
    cell.cell_contents = new
    return new  # type: ignore[no-any-return]


def _moved(value: Any, old: type[Any], cell: CellType) -> Any:
    if isinstance(value, (staticmethod, classmethod, property)):
        return _moved_descriptor(value, old, cell)
    if not isinstance(value, FunctionType) or not value.__closure__:
        return value
    closure = tuple(_moved_cell(each, old, cell) for each in value.__closure__)
    if all(map(_is, closure, value.__closure__)):
        return value
    copy: Any = FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, closure
    )
    copy.__kwdefaults__ = value.__kwdefaults__
    update_wrapper(copy, value)
    del copy.__wrapped__
    return copy


def _moved_descriptor(value: Any, old: type[Any], cell: CellType) -> Any:
    kind = cast("Callable[..., Any]", type(value))
    if not isinstance(value, property):
        return kind(_moved(value.__func__, old, cell))
    parts = (_moved(part, old, cell) for part in (value.fget, value.fset, value.fdel))
    return kind(*parts, value.__doc__)


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


def _is(one: object, other: object) -> bool:
    return one is other
