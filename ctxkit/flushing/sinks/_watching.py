"""How a sink learns what an SDK does not tell: by watching the SDK's own objects."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a connection that was idle, or frozen, may be dead without anybody knowing:
#: load balancers and servers close or forget them after this time or a little more.
LONG_GAP: Final = 60.0

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


class Ledger:
    """Keep the reasons why something was lost, until everybody concerned was told.

    Attributes:
        losses: The reasons since :meth:`settle` was called last.
    """

    __slots__ = ("_numbers", "_recent", "losses")

    def __init__(self) -> None:
        # Bounded: nobody may ask for days. Appending is atomic, and done by any thread.
        self.losses: deque[str] = deque(maxlen=100)
        self._recent: deque[tuple[int, str]] = deque(maxlen=100)
        self._numbers = count(1)

    def lose(self, reason: str) -> None:
        """Note a loss."""
        self._recent.append((next(self._numbers), reason))
        self.losses.append(reason)

    def begin(self) -> int:
        """Return what :meth:`settle` is to be given at the end of a flush that begins now."""
        recent = self._recent
        return recent[-1][0] if recent else 0

    def settle(self, begun: int | None = None) -> str:
        """Return the reasons of which nobody was told yet, each once; empty if none.

        Args:
            begun: What :meth:`begin` said when the flush began. What was lost since then
                concerns it too, if another flush was told of it already.
        """
        reasons: dict[str, None] = {}
        for _ in range(len(self.losses)):
            try:
                reasons[self.losses.popleft()] = None
            except IndexError:  # another flush ends at the same time, and tells of them
                break
        if begun is not None:
            for number, reason in self._recent.copy():
                if number > begun:
                    reasons[reason] = None
        return ", ".join(reasons)
