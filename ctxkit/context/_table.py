"""The storage of a :class:`ctxkit.Local`: a column for each attribute. Private."""

from __future__ import annotations

from _thread import RLock
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Self

from ctxkit.context._column import MISSING, Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Store:
    """Keep the columns of one ``Local``, or of one ``Local`` on one thread."""

    __slots__ = ("_lock", "columns", "started")

    def __init__(self, *, initialises: bool) -> None:
        self.columns: dict[str, Column] = {}
        #: Holds a value in each context in which ``__init__`` was run.
        self.started = Column() if initialises else None
        # Reentrant: the collector may run a finaliser that sets an attribute, anywhere.
        self._lock = RLock()

    def column(self, name: str) -> Column:
        """Return the column of ``name``; there is one from now on."""
        column = self.columns.get(name)
        if column is None:
            with self._lock:
                if name not in self.columns:
                    self.columns[name] = Column()
                column = self.columns[name]
        return column

    def read(self, name: str) -> Any:
        """Return the value of ``name`` for the current context, or :data:`MISSING`."""
        column = self.columns.get(name)
        return MISSING if column is None else column.read()

    def erase(self, name: str) -> bool:
        """Unset ``name`` for the current context; tell whether it had a value."""
        if self.read(name) is MISSING:
            return False
        self.columns[name].erase()
        return True

    def detach(self) -> None:
        """Keep all values until :meth:`close`."""
        for column in self.columns.values():
            column.detach()

    def close(self) -> None:
        """Let go of all values."""
        for column in self.columns.values():
            column.close()
        if self.started is not None:
            self.started.close()


class Table:
    """Know one ``Local``: its class, its arguments, its names and where its values are.

    Attributes:
        declared: The class that the user wrote.
        initialises: Whether that class has an ``__init__``.
        names: What was set in some context, once.
        on_declare: Called with each name when it is set for the first time.
    """

    __slots__ = ("_arguments", "_store", "declared", "initialises", "names", "on_declare")

    def __init__(self, declared: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.declared = declared
        self.initialises: bool = declared.__init__ is not object.__init__
        self.on_declare: Callable[[str], None]
        self._arguments = (args, kwargs)
        self.names: set[str] = set()
        self._store: Store
        self.open()

    def open(self) -> None:
        """Make room for values."""
        self._store = Store(initialises=self.initialises)

    def here(self) -> Store:
        """Return the store for the current scope."""
        return self._store

    def close(self) -> None:
        """Let go of all values; the ``Local`` is gone."""
        self._store.close()

    def declare(self, name: str) -> bool:
        """Tell whether contexts have values of their own under ``name``.

        They have not where the class has a say in setting it.
        """
        if name in self.names:
            return True
        for base in self.declared.__mro__:
            found: object = base.__dict__.get(name)
            if hasattr(type(found), "__set__") or hasattr(type(found), "__delete__"):
                return False
        self.on_declare(name)
        self.names.add(name)
        return True

    def start(self) -> bool:
        """Note that ``__init__`` is run in the current context; tell whether it has to be."""
        started = self.here().started
        if started is None or started.read() is not MISSING:
            return False
        started.write(True)  # noqa: FBT003 - any value will do
        return True

    def ensure(self, owner: Any) -> bool:
        """Run ``__init__`` if it was not run in the current context; tell whether it was now."""
        if not self.start():
            return False
        args, kwargs = self._arguments
        try:
            type(owner).__init__(owner, *args, **kwargs)
        except BaseException:
            store = self.here()
            for name in [*store.columns]:
                store.erase(name)
            if store.started is not None:
                store.started.erase()
            raise
        return True

    def absent(self, owner: Any, name: str) -> Any:
        """Return what ``name`` is where the current context has no value, or raise."""
        self.ensure(owner)
        value = self.here().read(name)
        if value is not MISSING:
            return value
        for base in self.declared.__mro__:
            if name in base.__dict__:
                found: object = base.__dict__[name]
                bind = getattr(type(found), "__get__", None)
                return found if bind is None else bind(found, owner, self.declared)
        raise no_attribute(owner, name)

    def write(self, owner: Any, name: str, value: object) -> None:
        """Set the value of a declared name for the current context."""
        self.ensure(owner)
        self.here().column(name).write(value)

    def erase(self, owner: Any, name: str) -> bool:
        """Unset ``name`` for the current context; tell whether it had a value."""
        self.ensure(owner)
        return self.here().erase(name)


class Namespace(MutableMapping[str, Any]):
    """Show a ``Local`` as its ``__dict__``: live, for whatever context is current."""

    __slots__ = ("_owner", "_table")

    def __init__(self, owner: Any, table: Table) -> None:
        table.ensure(owner)
        self._owner = owner
        self._table = table

    def __getitem__(self, name: str) -> Any:
        value = self._table.here().read(name)
        if value is MISSING:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        if not self._table.erase(self._owner, name):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        store = self._table.here()
        return (name for name in [*store.columns] if store.read(name) is not MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # What packages do with the __dict__ of a threading.local, beyond what every mapping can.
    def copy(self) -> dict[str, Any]:
        """Return what is set in the current context."""
        return dict(self)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __ior__(self, other: Mapping[str, Any]) -> Self:
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(dict(self))


def no_attribute(local: Any, name: str) -> AttributeError:
    """Return the error that says so."""
    sentence = f"{local.__class__.__name__!r} object has no attribute {name!r}"
    return AttributeError(sentence, name=name, obj=local)
