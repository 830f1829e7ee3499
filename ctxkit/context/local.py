"""Local: an attribute namespace per context, in the place of ``threading.local``."""

from __future__ import annotations

from typing import Any

from ctxkit.context._table import Column, Namespace, Table


class Local:
    """Hold attributes whose values belong to the context that set them.

    Takes the place of :class:`threading.local`, subclasses included, where one thread
    serves many requests at once::

        state = ctxkit.Local()
        state.user = "alice"

    Args:
        args: Only for subclasses with an ``__init__`` of their own. It is called with them
            again in each context that has no value yet, at the first use there.
        kwargs: Likewise.

    Raises:
        TypeError: Arguments were given to a class without an ``__init__``.

    Context:
        A value is visible where it was set, to the code called from there, and to every
        copy of that context: asyncio tasks, and threads and pools started through ctxkit.
        Setting or deleting is never visible to the context that was copied nor to other
        copies; mutating a value in place is, as the value is one object: a container that
        an ``__init__`` makes at the import is shared by every request whose context is a
        copy of the importing one. A plain ``threading.Thread`` starts without values, as
        with ``threading.local``, unless Python itself copies the context to it
        (``-X thread_inherit_context``).

    Safety:
        For any number of threads and tasks, without locks of the caller's. Values die with
        the last context that holds them and with the ``Local``, whichever is first.
        ``__slots__`` of a subclass are shared by all contexts, as with ``threading.local``.
        Unlike there, ``__dict__`` is a live view and no ``dict``, and ``type(local)`` is a
        subclass made for the instance; ``local.__class__`` is the class you wrote.
    """

    __slots__ = ("__weakref__", "_ctxkit_table")

    _ctxkit_table: Table

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Any:
        """Make a namespace without values."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        declared = cls.__dict__.get("_ctxkit_declared")
        if declared is not None:  # called as type(local)()
            return declared(*args, **kwargs)
        table = Table(cls, args, kwargs)
        self = object.__new__(_private_class(cls, table))
        object.__setattr__(self, "_ctxkit_table", table)
        if table.initialises:
            table.open_row()  # __init__ is about to be called, by type.__call__
        return self

    def __setattr__(self, name: str, value: object) -> None:
        table = self._ctxkit_table
        column = table.columns.get(name)
        if column is None:
            column = table.declare(name)
        if column is None:
            object.__setattr__(self, name, value)
        else:
            table.write(self, column, value)

    def __delattr__(self, name: str) -> None:
        table = self._ctxkit_table
        column = table.columns.get(name)
        if column is None:
            object.__delattr__(self, name)
        elif not table.erase(self, column):
            raise _no_attribute(self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self._ctxkit_table.declared.__name__!r} object")


def _private_class(declared: type[Local], table: Table) -> Any:
    """Return a subclass for one instance, to which properties are added.

    A property of the class is the fastest attribute that Python code can answer: since
    3.12 the interpreter inlines it, unless the class has a ``__getattr__``.
    """

    def finalise(self: Local) -> None:
        own = getattr(declared, "__del__", None)
        if own is not None:
            own(self)
        table.close()

    def retry(self: Local, name: str) -> Any:
        # An __init__ that was not run here yet might set it.
        if table.ensure_row(self):
            return getattr(self, name)
        own = getattr(declared, "__getattr__", None)
        if own is not None:
            return own(self, name)
        raise _no_attribute(self, name)

    body: dict[str, Any] = {
        "__slots__": (),
        "__module__": declared.__module__,
        "__qualname__": declared.__qualname__,
        "__doc__": declared.__doc__,
        "__class__": property(lambda _: declared),
        "__dict__": property(lambda self: Namespace(self, table)),
        "__del__": finalise,
        "_ctxkit_declared": declared,
    }
    if table.initialises:
        body["__getattr__"] = retry
    metaclass: Any = type(declared)
    private: Any = metaclass(declared.__name__, (declared,), body)
    table.on_declare = lambda name, column: type.__setattr__(
        private, name, _attribute(table, name, column)
    )
    return private


def _attribute(table: Table, name: str, column: Column) -> property:
    get = table.get

    def read(self: Local) -> Any:
        try:
            return column[get().row]
        except LookupError:
            pass
        return absent(self)

    def absent(self: Local) -> Any:
        if table.ensure_row(self):
            value = table.read(column)
            if value is not table.missing:
                return value
        for base in table.declared.__mro__:
            if name in base.__dict__:
                found: object = base.__dict__[name]
                bind = getattr(type(found), "__get__", None)
                return found if bind is None else bind(found, self, table.declared)
        raise _no_attribute(self, name)

    return property(read)


def _no_attribute(local: Local, name: str) -> AttributeError:
    sentence = f"{local.__class__.__name__!r} object has no attribute {name!r}"
    return AttributeError(sentence, name=name, obj=local)
