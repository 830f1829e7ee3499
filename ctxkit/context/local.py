"""Local: an attribute namespace per context, in the place of ``threading.local``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.context._column import MISSING
from ctxkit.context._table import Namespace, Table, no_attribute
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.context._column import Column


class Local:
    """Hold attributes whose values belong to the context that set them.

    Takes the place of :class:`threading.local`, subclasses included, where one thread
    serves many requests at once::

        state = ctxkit.Local()
        state.user = "alice"

    Args:
        args: Only for subclasses with an ``__init__`` of their own. It is called with them
            again in each context that has no value yet, at the first use there.
        kwargs: Likewise. Without an ``__init__``, ``scope`` may be given: ``"context"``, or
            ``"thread"`` for what must stay on the thread that made it, such as a database
            handle. A class has it as a keyword, and its subclasses inherit it:
            ``class State(ctxkit.Local, scope="thread")``.

    Raises:
        TypeError: Arguments were given to a class without an ``__init__``.
        ConfigurationError: The scope is neither ``"context"`` nor ``"thread"``.

    Context:
        A value is visible where it was set, to the code called from there, and to every
        copy of that context: asyncio tasks, and threads and pools started through ctxkit.
        Setting or deleting is never visible to the context that was copied nor to other
        copies; mutating a value in place is, as the value is one object: a container that
        an ``__init__`` makes at the import is shared by every request whose context is a
        copy of the importing one. A plain ``threading.Thread`` starts without values, as
        with ``threading.local``, unless Python itself copies the context to it
        (``-X thread_inherit_context``). In the scope of a thread the same holds, except
        that no other thread sees the value, even where the context is carried there; it
        has values of its own, and ``__init__`` is run there.

    Safety:
        For any number of threads and tasks, without locks of the caller's. Values die with
        the last context that holds them and with the ``Local``, whichever is first; in the
        scope of a thread, with the thread too. A value that itself leads to a context in
        which it is set, as the current task does, stays until it is replaced there.
        ``__slots__`` of a subclass are shared by all contexts, as with ``threading.local``.
        Unlike there, ``__dict__`` is a live view and no ``dict``, and ``type(local)`` is a
        subclass made for the instance; ``local.__class__`` is the class you wrote.
    """

    __slots__ = ("__weakref__", "_ctxkit_table")

    _ctxkit_scope = "context"
    _ctxkit_table: Table

    def __init_subclass__(cls, /, *, scope: str | None = None, **kwargs: Any) -> None:
        """Take the scope that instances have; without one, that of the base."""
        super().__init_subclass__(**kwargs)
        if scope is not None:
            cls._ctxkit_scope = _checked(scope)

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Any:
        """Make a namespace without values."""
        declared = cls.__dict__.get("_ctxkit_declared")
        if declared is not None:  # called as type(local)()
            return declared(*args, **kwargs)
        scope = cls._ctxkit_scope
        if cls.__init__ is object.__init__:
            scope = _checked(kwargs.pop("scope", scope))
            if args or kwargs:
                raise TypeError("Initialization arguments are not supported")
        table = _table(scope)(cls, args, kwargs)
        self = object.__new__(_private_class(cls, table, scope))
        object.__setattr__(self, "_ctxkit_table", table)
        table.start()  # __init__ is about to be called, by type.__call__
        return self

    def __setattr__(self, name: str, value: object) -> None:
        _check_name(self, name)
        table = self._ctxkit_table
        if table.declare(name):
            table.write(self, name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _check_name(self, name)
        table = self._ctxkit_table
        if name not in table.names:
            object.__delattr__(self, name)
        elif not table.erase(self, name):
            raise no_attribute(self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self._ctxkit_table.declared.__name__!r} object")


def _check_name(local: Local, name: str) -> None:
    if name == "__dict__":
        sentence = f"{local.__class__.__name__!r} object attribute '__dict__' is read-only"
        raise AttributeError(sentence, name="__dict__", obj=local)


def _checked(scope: object) -> str:
    if scope in ("context", "thread"):
        return str(scope)
    raise ConfigurationError("scope=", f"is {scope!r}", 'Write "context" or "thread".')


def _table(scope: str) -> type[Table]:
    if scope == "context":
        return Table
    from ctxkit.context._threads import ThreadTable  # noqa: PLC0415 - brings threading

    return ThreadTable


def _private_class(declared: type[Local], table: Table, scope: str) -> Any:
    """Return a subclass for one instance, to which properties are added.

    A property of the class is the fastest attribute that Python code can answer: since
    3.12 the interpreter inlines it, unless the class has a ``__getattr__``.
    """

    def finalise(self: Local) -> None:
        own = getattr(declared, "__del__", None)
        try:
            if own is not None:
                table.here().detach()
                own(self)
        finally:
            table.close()

    def retry(self: Local, name: str) -> Any:
        # An __init__ that was not run here yet might set it.
        if table.ensure(self):
            return getattr(self, name)
        own = getattr(declared, "__getattr__", None)
        if own is not None:
            return own(self, name)
        raise no_attribute(self, name)

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
    columns: dict[str, Column] = {}
    in_context = scope == "context"
    if in_context and declared.__setattr__ is Local.__setattr__:
        body["__setattr__"] = _setattr(table, columns)
    metaclass: Any = type(declared)
    private: Any = metaclass(declared.__name__, (declared,), body)

    def declare(name: str) -> None:
        getter = _in_context if in_context else _on_thread
        type.__setattr__(private, name, property(getter(table, name)))
        if in_context:
            columns[name] = table.here().column(name)

    table.on_declare = declare
    return private


def _in_context(table: Table, name: str) -> Callable[[Local], Any]:
    column = table.here().column(name)
    get, values = column.get, column.values

    def absent(self: Local) -> Any:
        return table.absent(self, name)

    def read(self: Local) -> Any:  # the fewer variables of this function, the faster
        try:
            return values[get().key]
        except KeyError:
            pass
        return absent(self)

    return read


def _on_thread(table: Table, name: str) -> Callable[[Local], Any]:
    def read(self: Local) -> Any:
        value = table.here().read(name)
        return table.absent(self, name) if value is MISSING else value

    return read


def _setattr(table: Table, columns: dict[str, Column]) -> Callable[[Local, str, Any], None]:
    initialises, ensure, first = table.initialises, table.ensure, Local.__setattr__

    def set_attribute(self: Local, name: str, value: Any) -> None:
        try:
            column = columns[name]
        except (KeyError, TypeError):  # TypeError: an unhashable name
            first(self, name, value)
        else:
            if initialises:
                ensure(self)
            column.write(value)

    return set_attribute
