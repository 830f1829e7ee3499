"""Keys: the typed names of a frame's values."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final, overload

from ctxkit.context import _hops
from ctxkit.context._current import CURRENT
from ctxkit.exceptions import ConfigurationError, KeyNotBoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ctxkit.context._hops import Hop

T = TypeVar("T")
D = TypeVar("D")


@final
class Missing:
    """The type of :data:`MISSING`, the mark for "no value", since None is a value."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        # There is one, also where a key was pickled or copied.
        return "MISSING"


MISSING: Final = Missing()


@final
class Key(Generic[T]):
    """Name a value of a frame and give it a type.

    A key is declared once, at the top of a module, and may be read anywhere::

        TENANT = ctxkit.Key[str]("tenant", default="public")

        with ctxkit.bind({TENANT: "acme"}):
            assert TENANT.get() == "acme"
        assert TENANT.get() == "public"

    Keys are compared by name, so ``bind(tenant="acme")`` binds the same value. What a key
    declares about hops holds for its name, whichever way the value was bound.

    Args:
        name: A Python identifier, unique in the process by convention.
        default: What :meth:`get` returns while nothing is bound. Without it, reading an
            unbound key raises.
        hops: The hops that the value makes: ``"thread"`` (to threads and pools of threads),
            ``"process"`` (to pools of processes or interpreters), ``"wire"`` (into headers
            and messages), ``"log"`` (onto log records, as an
            attribute of that name). By default it goes to threads alone. Tasks are no hop
            of this kind: asyncio itself copies the whole context to them.
        copy: Called with the value for each thread, pool job, snapshot and
            :func:`ctxkit.create_task` that it is carried into; what it returns is bound
            there. For values that are changed in place. It is called at the capture, by
            whoever captures, and for a snapshot once more at each run, by whoever runs it;
            None carries the value itself.
        dump: Makes a ``str`` of the value, for hops to processes and wires. Without it,
            processes get the value pickled, and wires take ``str``, ``int``, ``float``,
            ``bool`` and None only.
        load: Makes the value out of that ``str``. What comes from a wire is not to be
            trusted: raise ``ValueError`` for what cannot be, and the value is left out.

    Raises:
        ConfigurationError: ``name`` is not an identifier, a hop is unknown, a function
            cannot be called, ``dump`` comes without ``load``, or a key of that name was
            declared otherwise.
    """

    __slots__ = ("copy", "default", "dump", "hops", "load", "module", "name")

    def __init__(  # noqa: PLR0913 - each has a default, and none is positional
        self,
        name: str,
        *,
        default: T | Missing = MISSING,
        hops: Collection[Hop] = _hops.USUAL,
        copy: Callable[[T], T] | None = None,
        dump: Callable[[T], str] | None = None,
        load: Callable[[str], T] | None = None,
    ) -> None:
        self.name: str = checked_name(name)
        self.default: T | Missing = default
        self.hops: frozenset[Hop] = _hops.checked_hops(name, hops)
        self.copy: Callable[[T], T] | None = copy
        self.dump: Callable[[T], str] | None = dump
        self.load: Callable[[str], T] | None = load
        self.module: str = _declaring_module()
        _check_functions(cast("Key[object]", self))
        _hops.declare(self)

    @overload
    def get(self, /) -> T: ...
    @overload
    def get(self, default: D, /) -> T | D: ...
    def get(self, default: object = MISSING, /) -> object:
        """Return the value that the current frame holds under this key.

        Args:
            default: What to return if nothing is bound; it goes before the key's own.

        Raises:
            KeyNotBoundError: Nothing is bound and there is no default.
        """
        frame = CURRENT.get(None)
        if frame is not None:
            value = frame.get(self.name, MISSING)
            if value is not MISSING:
                return value
        if default is not MISSING:
            return default
        if self.default is not MISSING:
            return self.default
        raise KeyNotBoundError(self.name)

    def set(self, value: T, /) -> None:
        """Bind ``value`` from here on.

        For code that has no block to put it into; :func:`ctxkit.bind` is better wherever
        there is one.

        Context:
            Until the enclosing ``bind`` block, request, task or thread ends, in the current
            context and in what is started from it later; never in the context that this
            one is a copy of.
        """
        from ctxkit.context.frame import NO_FRAME  # noqa: PLC0415 - frames know keys

        CURRENT.set(CURRENT.get(NO_FRAME).extended({self.name: value}))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        default = "" if self.default is MISSING else f", default={self.default!r}"
        return f"Key({self.name!r}{default})"


def checked_name(name: object) -> str:
    """Return ``name`` if it can name a value, or say why it cannot.

    Raises:
        ConfigurationError: ``name`` is not a string that is a Python identifier.
    """
    if isinstance(name, str) and name.isidentifier():
        return name
    raise ConfigurationError(
        "A key's name", f"must be a Python identifier, not {name!r}", 'Write it like "tenant_id".'
    )


def name_of(key: str | Key[Any]) -> str:
    """Return the name of a key that may be given by its name."""
    return key.name if isinstance(key, Key) else checked_name(key)


def _declaring_module() -> str:
    """Return the name of the module that makes a key: there another process finds it."""
    frame = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    # Key[str](...) is called by way of typing.
    while frame.f_globals.get("__name__") == "typing" and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "?"))


def _check_functions(key: Key[object]) -> None:
    for what, function in (("copy", key.copy), ("dump", key.dump), ("load", key.load)):
        if function is not None and not callable(function):
            raise ConfigurationError(
                f"Key({key.name!r}, {what}=)",
                f"must be callable, not {function!r}",
                f"Give it a function of one argument, or leave {what}= out.",
            )
    if (key.dump is None) != (key.load is None):
        given, missing = ("dump", "load") if key.load is None else ("load", "dump")
        raise ConfigurationError(
            f"Key({key.name!r})",
            f"has {given}= without {missing}=",
            f"Give both: what one side writes, the other has to read. Add {missing}=.",
        )
