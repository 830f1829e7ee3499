"""How a sink learns what an SDK does not tell: by watching the SDK's own objects."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.spooling._keeper import Keeper

#: Seconds after which a connection that was idle, or frozen, may be dead without anybody knowing:
#: load balancers and servers close or forget them after this time or a little more.
LONG_GAP: Final = 60.0

_LOST: Final = "lost"
_KEPT: Final = "kept for later"

_ORIGINAL = "_ctxkit_original"


def tap(owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
    """Lay a wrapper over the method ``name`` of this one object.

    Args:
        owner: The object; its class stays as it is.
        name: The method. A wrapper of an earlier tap is replaced, not wrapped again.
        around: Takes the method and returns what to call in its place, a plain function.

    Returns:
        False if there is no such method or it cannot be replaced.
    """
    method = getattr(owner, name, None)
    if not callable(method):
        return False
    method = getattr(method, _ORIGINAL, method)
    wrapper = around(method)
    setattr(wrapper, _ORIGINAL, method)
    try:
        setattr(owner, name, wrapper)
    except (AttributeError, TypeError):
        return False
    return True


class Connected:
    """Trust no connection that another end, or another process, may have a different view of."""

    def drop_connections(self) -> None:
        """Close what is kept open to the backend."""
        raise NotImplementedError

    def on_thaw(self, gap: float) -> None:
        """Drop connections that the other side, or something between, has forgotten."""
        if gap >= LONG_GAP:
            self.drop_connections()

    def before_snapshot(self) -> None:
        """Leave no connection in the snapshot, which is restored many times over."""
        self.drop_connections()

    def after_restore(self) -> None:
        """Share no connection with another restored from the same snapshot."""
        self.drop_connections()


class Stir:
    """Tell whoever looked and found nothing pending that there may be something now.

    Attributes:
        mark: Another object each time that something was recorded, lost or begun.
    """

    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark = object()


#: One for all, so that it is told whichever sink's wrapper lies over a method.
STIR: Final = Stir()


def stirring(method: Callable[..., Any]) -> Callable[..., Any]:
    """Be laid over a method by which something comes in; see :func:`tap`."""

    def stirred(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        finally:
            STIR.mark = object()  # afterwards: who looked just before has not seen it

    return stirred


class Ledger:
    """Keep the reasons why something was lost, until everybody concerned was told.

    Attributes:
        keeper: Keeps what could not be sent, where that is wanted.
        losses: What became of what was not sent, and why, since :meth:`settle` was called last.
    """

    __slots__ = ("_numbers", "_recent", "keeper", "losses")

    def __init__(self) -> None:
        # Bounded: nobody may ask for days. Appending is atomic, and done by any thread.
        self.losses: deque[tuple[str, str]] = deque(maxlen=100)
        self._recent: deque[tuple[int, tuple[str, str]]] = deque(maxlen=100)
        self._numbers = count(1)
        self.keeper: Keeper | None = None

    def lose(self, reason: str) -> None:
        """Note a loss, unless it can still be made good."""
        keeper = self.keeper
        if keeper is None or not keeper.note(reason):
            self._note(_LOST, reason)

    def keep(self, reason: str) -> None:
        """Note that something was not sent, and is kept for later."""
        self._note(_KEPT, reason)

    @property
    def lossy(self) -> bool:
        """Whether something is lost, not only kept."""
        return any(what is _LOST for what, _ in self.losses.copy())

    def forget(self) -> None:
        """Begin anew, in a forked child: what was lost is the parent's to tell."""
        self.losses.clear()
        self._recent.clear()

    def begin(self) -> int:
        """Return what :meth:`settle` is to be given at the end of a flush that begins now."""
        recent = self._recent
        return recent[-1][0] if recent else 0

    def settle(self, begun: int | None = None) -> str:
        """Tell what nobody was told of yet, each reason once; empty if nothing.

        Args:
            begun: What :meth:`begin` said when the flush began. What was lost since then
                concerns it too, if another flush was told of it already.
        """
        reasons: dict[tuple[str, str], None] = {}
        for _ in range(len(self.losses)):
            try:
                reasons[self.losses.popleft()] = None
            except IndexError:  # another flush ends at the same time, and tells of them
                break
        if begun is not None:
            for number, reason in self._recent.copy():
                if number > begun:
                    reasons[reason] = None
        told = {kind: [why for what, why in reasons if what is kind] for kind in (_LOST, _KEPT)}
        return "; ".join(f"{kind}: {', '.join(whys)}" for kind, whys in told.items() if whys)

    def _note(self, what: str, reason: str) -> None:
        self._recent.append((next(self._numbers), (what, reason)))
        self.losses.append((what, reason))
        STIR.mark = object()


def keeping(
    ledger: Ledger, owner: Any, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have the ledger's keeper, if any, keep what the method could not send.

    Args:
        ledger: The ledger, which is told by the wrapper of ``around``.
        owner: The object whose method it is.
        around: As for :func:`tap`.
    """

    def around_all(method: Callable[..., Any]) -> Callable[..., Any]:
        told = around(method)

        def send(*args: Any, **named: Any) -> Any:
            keeper = ledger.keeper
            if keeper is None:
                return told(*args, **named)
            return keeper.attempt(owner, told, args, named)

        return send

    return around_all
