"""What further in adds up for those further out: how long a call waited, how often it was tried.

It goes along with the call, among its options: what is called from the body has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary.intercepting import Call

    #: Told the number of an attempt that has failed, its error, and the pause that follows, in
    #: seconds; None if it was the last one.
    Listener = Callable[[int, BaseException, float | None], object]

#: No identifier, so that no option of a user's has this name.
_ACCOUNT: Final = "ctxkit.account"


@final
class Account:
    """Add up what becomes of one call.

    Attributes:
        waited: Seconds in the queue of its pool; None where it has none.
        paused: Seconds between attempts.
        attempts: How often it has failed and was tried again, or given up.
    """

    __slots__ = ("_listeners", "attempts", "paused", "waited")

    def __init__(self) -> None:
        self.waited: float | None = None
        self.paused: float = 0.0
        self.attempts: int = 0
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` told of each attempt that fails."""
        self._listeners.append(listener)

    def wait(self, seconds: float) -> None:
        """Note a wait for the pool."""
        self.waited = seconds + (self.waited or 0.0)

    def fail(self, number: int, error: BaseException, pause: float | None) -> None:
        """Note an attempt that has failed. Errors are told, never kept: they hold frames."""
        self.attempts = number
        self.paused += pause or 0.0
        for listener in self._listeners:
            listener(number, error, pause)

    def served(self, seconds: float) -> float:
        """Return how many of the seconds of a call were its body's."""
        return max(0.0, seconds - self.paused - (self.waited or 0.0))


def open_account(call: Call) -> tuple[Call, Account]:
    """Return a call that has an account, and that: what somebody further out has opened, or new."""
    account = account_of(call)
    if account is None:
        account = Account()
        call = call.replace(options={**call.options, _ACCOUNT: account})
    return call, account


def account_of(call: Call) -> Account | None:
    """Return the account that somebody further out has opened, if anybody has."""
    return call.options.get(_ACCOUNT)
