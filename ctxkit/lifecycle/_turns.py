"""Taking turns at making resources, which may need each other. Private."""

from __future__ import annotations

from threading import Lock, RLock, get_ident
from typing import Final, final


class CircleError(Exception):
    """Report threads that would wait for each other for ever. Private: never comes out."""


@final
class Turn:
    """Let one thread at a time in, as often as it likes; refuse to wait in a circle.

    Two resources that need each other, asked for by two threads, would have both wait for
    ever. Whoever comes last to the circle sees all of it, and is refused.

    Attributes:
        owner: The thread that is in; 0 for none.
    """

    __slots__ = ("_depth", "_lock", "owner")

    def __init__(self) -> None:
        self._lock = RLock()
        self.owner = 0
        self._depth = 0

    def take(self, patience: float = -1.0) -> bool:
        """Wait to be let in.

        Args:
            patience: The seconds to wait at most; -1.0 for ever.

        Returns:
            Whether we are in, and have to :meth:`leave`.

        Raises:
            CircleError: Who is in waits, itself or by others, for this thread.
        """
        me = get_ident()
        if not self._lock.acquire(blocking=False):
            with _guard:
                self._refuse_circle(me)
                _waiting[me] = self
            try:
                if not self._lock.acquire(timeout=patience):
                    return False
            finally:
                _waiting.pop(me, None)
        self.owner = me
        self._depth += 1
        return True

    def leave(self) -> None:
        """Let in the next."""
        self._depth -= 1
        if not self._depth:
            self.owner = 0
        self._lock.release()

    def _refuse_circle(self, me: int) -> None:
        turn: Turn | None = self
        while turn is not None:
            if turn.owner == me:
                raise CircleError
            turn = _waiting.get(turn.owner)


#: What each thread waits for.
_waiting: Final[dict[int, Turn]] = {}
_guard = Lock()


def begin_anew() -> None:
    """Forget, in a forked child, the parent's threads."""
    global _guard  # noqa: PLW0603 - one for the process
    _waiting.clear()
    _guard = Lock()
