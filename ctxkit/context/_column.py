"""The storage of one attribute of a :class:`ctxkit.Local`. Private.

Each attribute name has a :class:`Column`, and each column a ``ContextVar``. A write makes a
new cell, which goes into the context. The cell has a key, a weak reference to itself, under
which the column holds the value. So the value dies with the last context that holds the
cell, and with the ``Local``, even if it refers to the ``Local`` itself (an ephemeron, as far
as Python has one: a value that leads to its own cell keeps both). The callback of the key is
``dict.pop``: no line of Python runs when a cell dies. It is behind a proxy, or else it would
lead from the context to the values. Nothing tells that a context was copied, therefore a
write never changes a cell: a copy does not see what is set in the other.

A context never lets go of a ContextVar, so the variables of a dead ``Local`` serve again;
the cells that contexts still hold in them have no key. There is a variable for each
attribute, not for each ``Local``: a write has nothing to copy but what it sets.

Reading takes ``ContextVar.get``, a dictionary lookup, and no lock. Writing takes a cell, a
key, an entry in the dictionary and ``ContextVar.set``, unless the very object is there
already. Cheaper ones were measured and fall short. A cell that holds its value: a value that
refers to its ``Local`` never dies. A cell that refers to its value weakly: reading is faster,
writing slower, and the garbage collector clears it before finalisers that still ask. Holding
numbers and texts in the cell, which refer to nothing: each read has to tell them apart.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from weakref import proxy, ref

if TYPE_CHECKING:
    from collections.abc import Callable


class Cell:
    """Stand in a context for a value of one attribute."""

    __slots__ = ("__weakref__", "key")

    key: ref[Cell] | None


MISSING: Final = object()

#: What a context holds where nothing is set: no column has its key.
_UNSET: Final = Cell()
_UNSET.key = None

_spare: Final[list[ContextVar[Cell]]] = []


def _variable() -> ContextVar[Cell]:
    try:
        return _spare.pop()
    except IndexError:
        return ContextVar("ctxkit.local", default=_UNSET)


class Column:
    """Keep the values of one attribute.

    Attributes:
        get: Returns the cell of the current context.
        values: The values by the keys of the cells.
        write: Sets the value for the current context.
    """

    __slots__ = ("_forget", "_variable", "get", "values", "write")

    def __init__(self) -> None:
        self._variable = _variable()
        self.get: Callable[[], Cell] = self._variable.get
        self.values: dict[ref[Cell] | None, Any] = {}
        self._forget: object = self.values.pop  # lives as long as its proxy is needed
        self.write = _writer(self._variable, self.values, proxy(self._forget))

    def read(self) -> Any:
        """Return the value for the current context, or :data:`MISSING`."""
        return self.values.get(self.get().key, MISSING)

    def erase(self) -> None:
        """Unset the value for the current context."""
        self._variable.set(_UNSET)

    def detach(self) -> None:
        """Keep all values until :meth:`close`, for a finaliser.

        Where the garbage collector found the ``Local``, the proxy is dead already, and would
        complain about each value that the finaliser replaces.
        """
        self.write = _writer(self._variable, self.values, None)
        keys = [*self.values]
        while keys:
            key: Any = keys.pop()
            cell = key()
            if cell is not None:
                cell.key = ref(cell)
                self.values[cell.key] = self.values.pop(key)
            del key  # before the cell, which would call back
        self._forget = None

    def close(self) -> None:
        """Let go of all values; nobody reads or writes any more."""
        keys = [*self.values]
        while keys:
            key: Any = keys.pop()
            cell = key()
            if cell is not None:
                cell.key = None
            if cell is not None or self._forget is None:  # or else the callback is at work
                self.values.pop(key, None)
            del key  # before the cell, which would call back
        _spare.append(self._variable)


def _writer(
    variable: ContextVar[Cell],
    values: dict[ref[Cell] | None, Any],
    forget: Callable[[ref[Cell]], object] | None,
) -> Callable[[Any], None]:
    get, put, find, missing = variable.get, variable.set, values.get, MISSING

    def write(value: Any) -> None:
        if find(get().key, missing) is value:
            return
        cell = Cell()
        cell.key = key = ref(cell, forget)
        values[key] = value
        put(cell)

    return write
