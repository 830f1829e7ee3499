"""How a sink learns what an SDK does not tell: by watching the SDK's own objects."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Keep the reasons why something was lost, until somebody asks.

    Attributes:
        losses: The reasons since :meth:`settle` was called last.
    """

    __slots__ = ("losses",)

    def __init__(self) -> None:
        # Bounded: nobody may ask for days. Appending is atomic, and done by any thread.
        self.losses: deque[str] = deque(maxlen=100)

    def lose(self, reason: str) -> None:
        """Note a loss."""
        self.losses.append(reason)

    def settle(self) -> str:
        """Return the reasons noted since the last call, each once; empty if none."""
        reasons: dict[str, None] = {}
        for _ in range(len(self.losses)):
            reasons[self.losses.popleft()] = None
        return ", ".join(reasons)
