"""Keys: the typed names of a frame's values."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, final, overload

from ctxkit.context._current import CURRENT
from ctxkit.exceptions import ConfigurationError, KeyNotBoundError

T = TypeVar("T")
D = TypeVar("D")


@final
class Missing:
    """The type of :data:`MISSING`, the mark for "no value", since None is a value."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


@final
class Key(Generic[T]):
    """Name a value of a frame and give it a type.

    A key is declared once, at the top of a module, and may be read anywhere::

        TENANT = ctxkit.Key[str]("tenant", default="public")

        with ctxkit.bind({TENANT: "acme"}):
            assert TENANT.get() == "acme"
        assert TENANT.get() == "public"

    Keys are compared by name, so ``bind(tenant="acme")`` binds the same value.

    Args:
        name: A Python identifier, unique in the process by convention.
        default: What :meth:`get` returns while nothing is bound. Without it, reading an
            unbound key raises.

    Raises:
        ConfigurationError: ``name`` is not an identifier.
    """

    __slots__ = ("default", "name")

    def __init__(self, name: str, *, default: T | Missing = MISSING) -> None:
        self.name: str = checked_name(name)
        self.default: T | Missing = default

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
