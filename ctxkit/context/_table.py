"""The storage of a :class:`ctxkit.Local`. Private.

A table has a row for each state of the namespace that some context still sees, and a
column for each attribute name. What a context holds is a :class:`_Cell`, which knows its
row's number and nothing else: so a context keeps no value alive that the ``Local`` does
not, and the table, which sees each cell die, keeps none that no context can see (an
ephemeron). A row is written before any context holds it, and never again; to set an
attribute is to write a new row. So a copied context never sees what is set in the other.
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import MutableMapping
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token


class _Cell:
    """Mark a row in a context."""

    __slots__ = ("__weakref__", "row")

    row: int


Column = dict[int, Any]

#: No row has the number of another, in whichever table.
_numbers = count()
#: A context never lets go of a ContextVar, so those of dead tables serve again.
_spare: list[ContextVar[_Cell]] = []
_MISSING: Final = object()
#: The row of a context without a cell; no column has it.
_NONE: Final = -1


def _variable() -> ContextVar[_Cell]:
    try:
        return _spare.pop()
    except IndexError:
        return ContextVar("ctxkit.local")


class Table:
    """Keep the values of one ``Local``."""

    missing: Final = _MISSING

    def __init__(self, declared: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.declared = declared
        self.initialises = declared.__init__ is not object.__init__
        self.columns: dict[str, Column] = {}
        self.on_declare: Callable[[str, Column], None]
        self._variable = _variable()
        # A cell from before was left by a dead table under the same variable.
        self._born = next(_numbers)
        self.get = self._variable.get
        self._set = self._variable.set
        self._arguments = (args, kwargs)
        self._rows: dict[ref[_Cell], int] = {}
        self._on_death = self._release
        # Replaced, never changed: iterating it needs no lock.
        self._all: tuple[Column, ...] = ()
        # Reentrant: the collector may run a finaliser that sets an attribute, anywhere.
        self._lock = RLock()

    def declare(self, name: str) -> Column | None:
        """Return the column of ``name``, or None if the class has a say in setting it."""
        for base in self.declared.__mro__:
            found: object = base.__dict__.get(name)
            if hasattr(type(found), "__set__") or hasattr(type(found), "__delete__"):
                return None
        with self._lock:
            if name not in self.columns:
                column: Column = {}
                self._all = (*self._all, column)
                self.on_declare(name, column)
                self.columns[name] = column
            return self.columns[name]

    def ensure_row(self, owner: Any) -> bool:
        """Run ``__init__`` if the current context has no row yet; tell whether it was run."""
        if not self.initialises or self._row() != _NONE:
            return False
        token = self.open_row()
        args, kwargs = self._arguments
        try:
            type(owner).__init__(owner, *args, **kwargs)
        except BaseException:
            self._variable.reset(token)
            raise
        return True

    def open_row(self) -> Token[_Cell]:
        """Give the current context a row without values."""
        cell = _Cell()
        self._rows[ref(cell, self._on_death)] = cell.row = next(_numbers)
        return self._set(cell)

    def read(self, column: Column) -> Any:
        """Return the value in ``column`` for the current context, or :attr:`missing`."""
        return column.get(self._row(), _MISSING)

    def write(self, owner: Any, column: Column, value: object) -> None:
        """Set the value in ``column`` for the current context."""
        if self.initialises:
            self.ensure_row(owner)
        before = self.get(None)
        cell = _Cell()
        self._rows[ref(cell, self._on_death)] = cell.row = row = next(_numbers)
        if before is not None:
            old = before.row
            for other in self._all:
                if old in other:
                    other[row] = other[old]
        column[row] = value
        self._set(cell)

    def erase(self, owner: Any, column: Column) -> bool:
        """Unset the value in ``column`` for the current context, if there is one."""
        self.ensure_row(owner)
        before = self.get(None)
        if before is None or before.row not in column:
            return False
        cell = _Cell()
        self._rows[ref(cell, self._on_death)] = cell.row = row = next(_numbers)
        for other in self._all:
            if before.row in other and other is not column:
                other[row] = other[before.row]
        self._set(cell)
        return True

    def close(self) -> None:
        """Let go of all values; the ``Local`` is gone."""
        self._rows.clear()
        for column in self._all:
            column.clear()
        _spare.append(self._variable)

    def _row(self) -> int:
        cell = self.get(None)
        return _NONE if cell is None or cell.row < self._born else cell.row

    def _release(self, weak: ref[_Cell]) -> None:
        # The last context that held the cell is gone, or holds a later one.
        row = self._rows.pop(weak, _NONE)
        for column in self._all:
            column.pop(row, None)


class Namespace(MutableMapping[str, Any]):
    """Show a ``Local`` as its ``__dict__``: live, for whatever context is current."""

    __slots__ = ("_owner", "_table")

    def __init__(self, owner: Any, table: Table) -> None:
        table.ensure_row(owner)
        self._owner = owner
        self._table = table

    def __getitem__(self, name: str) -> Any:
        value = self._table.read(self._table.columns[name])
        if value is _MISSING:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        if not self._table.erase(self._owner, self._table.columns[name]):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        read = self._table.read
        return (
            name for name, column in [*self._table.columns.items()] if read(column) is not _MISSING
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))
