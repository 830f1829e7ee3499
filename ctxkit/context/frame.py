"""Frames: what is known, one immutable layer each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final, overload

from ctxkit.context._current import CURRENT
from ctxkit.context.key import MISSING, Key, checked_name
from ctxkit.exceptions import KeyNotBoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import TracebackType

    from ctxkit.context._children import Children
    from ctxkit.context.deadline import Deadline
    from ctxkit.context.lifetime import Lifetime

T = TypeVar("T")
D = TypeVar("D")


@final
class Lazy(Generic[T]):
    """Hold a value that is computed anew each time a frame is asked for it.

    A frame is immutable, but some of what it stands for is known only later: the route of
    a request, before the URL was resolved. The frame holds the ``Lazy``; readers get the
    result of ``resolve(frame)``.

    Args:
        resolve: Called with the frame that is read; cheap, never blocking.
    """

    __slots__ = ("resolve",)

    def __init__(self, resolve: Callable[[Frame], T]) -> None:
        self.resolve: Callable[[Frame], T] = resolve


class Frame(Mapping[str, object]):
    """Hold what is known about the work at hand; a read-only mapping of names to values.

    Frames are not made by hand: a boundary opens one for each request, :func:`bind` lays
    a further one over it for the length of a with-block, :func:`current` returns the
    topmost.

    Context:
        The frame is visible to everything the current context is visible to: the code
        called from here, tasks created here (asyncio copies the context), and threads
        and pools started through ctxkit. A frame bound by a callee is never visible to
        its caller.

    Safety:
        Immutable, so safe to share between threads and tasks. Frames compare by
        identity: libraries that compare whole contexts (asgiref does) must not evaluate
        the lazy objects in them.

    Attributes:
        deadline: When the work has to be over, or None where nobody said.
    """

    __slots__ = ("__weakref__", "_root", "_values", "children", "deadline", "lifetime")

    deadline: Deadline | None
    #: What was started inside, where somebody asks for it. Private, of outermost frames alone.
    children: Children | None
    #: What ends with it, made when it is asked for. Private, of crossings' frames alone.
    lifetime: Lifetime | None

    def __init__(
        self,
        values: dict[str, object],
        *,
        root: Frame | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._values = values
        # None for itself: a frame that held itself would wait for the garbage collector.
        self._root = root
        self.deadline = deadline
        self.children = self.lifetime = None

    @property
    def root(self) -> Frame:
        """The frame that the innermost boundary or call opened, or :data:`NO_FRAME`."""
        return self if self._root is None else self._root

    @root.setter
    def root(self, frame: Frame) -> None:
        self._root = None if frame is self else frame

    def extended(self, values: Mapping[str, object]) -> Frame:
        """Return a new frame with ``values`` laid over the ones of this frame."""
        return Frame({**self._values, **values}, root=self.root, deadline=self.deadline)

    def __getitem__(self, key: str | Key[Any]) -> object:
        name = key if isinstance(key, str) else key.name
        try:
            value = self._values[name]
        except KeyError:
            raise KeyNotBoundError(name) from None
        return cast("Lazy[object]", value).resolve(self) if type(value) is Lazy else value

    @overload
    def get(self, key: Key[T], /) -> T | None: ...
    @overload
    def get(self, key: Key[T], default: D, /) -> T | D: ...
    @overload
    def get(self, key: str, default: object = ..., /) -> Any: ...
    def get(  # pyright: ignore[reportIncompatibleMethodOverride] - wider: it takes keys too
        self, key: str | Key[Any], default: object = None, /
    ) -> object:
        """Return the value under ``key``, or ``default`` (None) where none is bound."""
        name = key if isinstance(key, str) else key.name
        if name not in self._values:
            return default
        value = self._values[name]
        return cast("Lazy[object]", value).resolve(self) if type(value) is Lazy else value

    def __contains__(self, key: object) -> bool:
        return (key.name if isinstance(key, Key) else key) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    if TYPE_CHECKING:

        def __eq__(self, other: object, /) -> bool: ...

    else:
        __eq__ = object.__eq__
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType] - Mapping has none

    def __repr__(self) -> str:
        # Names only: values may be secrets, or lazy objects that a repr would evaluate.
        return f"<Frame {', '.join(self._values) or 'empty'}>"


@final
class CallFrame(Frame):
    """Be the frame of one call of a function, over that of its caller.

    Whoever makes one sets its attributes: a constructor would cost as much again.

    Attributes:
        outer: The frame of the caller.
    """

    __slots__ = ("outer",)

    outer: Frame

    if TYPE_CHECKING:

        def __init__(self) -> None: ...

    else:
        __init__ = object.__init__

    @property
    def children(self) -> Children | None:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        """What the request, or what else is outermost, was asked to remember."""
        return outermost(self).children  # no recursion: calls can be nested deeply

    @classmethod
    def over(cls, outer: Frame, values: dict[str, object], deadline: Deadline | None) -> CallFrame:
        """Return the frame of a call that is made in ``outer``."""
        frame = cls()
        frame.outer, frame._values, frame.deadline = outer, values, deadline
        frame._root = frame.lifetime = None
        return frame


def outermost(frame: Frame) -> Frame:
    """Return the root beneath all calls: what a boundary opened, or :data:`NO_FRAME`."""
    root = frame.root
    while type(root) is CallFrame:
        root = root.outer.root
    return root


#: The frame outside of every boundary and bind: it holds nothing.
NO_FRAME = Frame({})


def current() -> Frame:
    """Return the frame of the work at hand; an empty one outside of everything."""
    return CURRENT.get(NO_FRAME)


@overload
def get(key: Key[T], /) -> T | None: ...
@overload
def get(key: Key[T], default: D, /) -> T | D: ...
@overload
def get(key: str, default: object = ..., /) -> Any: ...
def get(key: str | Key[Any], default: object = None, /) -> object:
    """Return what the current frame holds under ``key``, or ``default``.

    Like :meth:`dict.get` this never raises for an absent key; read a :class:`Key` with
    :meth:`Key.get` where absence is an error.

    Args:
        key: A name, or a :class:`Key` (whose own default goes before ``None``).
        default: What to return where nothing is bound.
    """
    value = CURRENT.get(NO_FRAME).get(key, MISSING)
    if value is not MISSING:
        return value
    if default is None and isinstance(key, Key) and key.default is not MISSING:
        return key.default
    return default


_NO_VALUES: Mapping[str | Key[Any], object] = {}
_LEFT: Final = object()
_get, _set, _reset = CURRENT.get, CURRENT.set, CURRENT.reset


def bind(
    values: Mapping[str | Key[Any], object] = _NO_VALUES, /, **named: object
) -> AbstractContextManager[Frame, None]:
    """Lay values over the current frame for the length of a with-block.

    ::

        with ctxkit.bind(tenant="acme", user_id=7):
            assert ctxkit.get("tenant") == "acme"

    Args:
        values: A mapping of names or :class:`Key` objects to values.
        named: Further values by name.

    Raises:
        ConfigurationError: A name in ``values`` is not a Python identifier.
        RuntimeError: What was returned is entered a second time.

    Context:
        Values are visible inside the block, to what it calls and to what it starts
        through ctxkit or asyncio. Leaving the block restores the frame from before, also
        when the block is left in another context than it was entered in (a generator
        closed elsewhere); leaving never raises.
    """
    if values is not _NO_VALUES:
        for key, value in values.items():
            named[key.name if isinstance(key, Key) else checked_name(key)] = value
    bound = _Bound()
    # A constructor would cost a further call.
    bound._values = named  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    bound.token = None
    return bound


@final
class _Bound(Frame):
    """Be the frame of a with-block, and its context manager: one object costs less than two."""

    __slots__ = ("token",)

    token: Token[Frame] | object | None  # None before the block, _LEFT after it

    if TYPE_CHECKING:

        def __init__(self) -> None: ...

    else:
        __init__ = object.__init__  # that of Frame would be called for nothing

    def __enter__(self) -> Frame:
        if self.token is not None:
            msg = "This bind() was entered before. Make a new one for each with-block."
            raise RuntimeError(msg)
        outer = _get(NO_FRAME)
        beneath, root = outer._values, outer._root  # noqa: SLF001 - frames know each other
        if beneath:
            self._values = {**beneath, **self._values}
        self._root = outer if root is None else root
        self.deadline = outer.deadline
        self.token = _set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            _reset(self.token)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError):
            if self.token is None:
                return
            if self.token is not _LEFT:
                restore_elsewhere(cast("Token[Frame]", self.token), self)
        self.token = _LEFT  # it holds the context, which may hold this frame


def restore_elsewhere(token: Token[Frame], frame: Frame) -> None:
    """Restore what was before ``frame`` in another context than the one it was set in.

    The token is of no use there, and what to restore is known only if ``frame`` is on top.
    """
    if _get(NO_FRAME) is frame:
        before = token.old_value
        _set(before if isinstance(before, Frame) else NO_FRAME)
