"""Slots: who is in, and who may share what its caller has. Private."""

from __future__ import annotations

from _thread import _local  # pyright: ignore[reportPrivateUsage] - threading is heavy
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections import OrderedDict
    from contextvars import Context, Token
    from types import TracebackType

    from ctxkit.functions.pools._ledger import Ledger
    from ctxkit.functions.pools._waiters import Waiter


@final
class Slot:
    """Be one place in a pool, until it is released.

    As the context manager of a with-block it is released at the end of the block, and calls
    inside that go to the same pool share it.

    Safety:
        May be released by any thread, any number of times: the first one counts.

    Attributes:
        waited: How long was waited for it, in seconds.
    """

    __slots__ = (
        "_token",
        "begun",
        "borrowers",
        "gate",
        "lender",
        "lent",
        "outer",
        "released",
        "term",
        "waited",
    )

    def __init__(self, gate: Ledger, term: object, lender: Slot | None = None) -> None:
        # What is not documented is the gate's, and changed within its lock.
        self.gate: Ledger = gate
        self.term: object = term
        self.lender: Slot | None = lender
        self.lent: bool = False
        self.released: bool = False
        self.borrowers: OrderedDict[Waiter, None] | None = None
        self.outer: Slot | None = None
        self.begun: float = 0.0
        self.waited: float = 0.0

    def release(self, error: BaseException | None = None) -> None:
        """Give the place to whoever waits the longest.

        Args:
            error: What the work has raised: an adaptive pool wants to know.
        """
        self.gate.release(self, error)

    def hold_in(self, context: Context) -> None:
        """Have calls made in ``context`` that go to the same pool share this place."""
        # Left out are those that are over, or a chain of tasks would hold them all.
        outer = HELD.get(None)
        while outer is not None and outer.released:
            outer = outer.outer
        self.outer = outer
        context.run(HELD.set, self)

    def __enter__(self) -> Slot:
        self.outer = HELD.get(None)
        self._token: Token[Slot | None] = HELD.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            HELD.reset(self._token)
        except ValueError:  # a generator that is closed in another context, which has it not
            pass
        finally:
            del self._token  # it holds that context
            self.release(error)


#: The innermost slot of the chain of calls at hand.
HELD: Final[ContextVar[Slot | None]] = ContextVar("ctxkit_slot")
#: ``slot``: that of the job which this thread of a pool is at. Jobs may bring a context in
#: which there is none: what asyncio.to_thread() has copied before.
AT_WORK: Final[Any] = _local()


@final
class Alone:
    """Leave the slots of the chain of calls at hand behind; a with-block around a start."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = HELD.set(None) if HELD.get(None) is not None else None

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            HELD.reset(self._token)


def held_slot(gate: Ledger) -> Slot | None:
    """Return the slot of ``gate`` that the chain of calls at hand has, the innermost one."""
    slot = HELD.get(None)
    while slot is not None and not _is_open(slot, gate):  # a context may outlive its slots
        slot = slot.outer
    if slot is None:
        slot = getattr(AT_WORK, "slot", None)
    return slot if slot is not None and _is_open(slot, gate) else None


def _is_open(slot: Slot, gate: Ledger) -> bool:
    return slot.gate is gate and not slot.released and slot.term is gate.term


@final
class NoSlot:
    """Be the place in a pool that has no limit: there is one for all."""

    __slots__ = ()

    waited: float = 0.0

    def release(self, error: BaseException | None = None) -> None:
        """Do nothing."""

    def hold_in(self, context: Context) -> None:
        """Do nothing."""

    def __enter__(self) -> NoSlot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


#: The one.
NO_SLOT: Final = NoSlot()
