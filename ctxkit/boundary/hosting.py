"""Where the room of a host takes part in every boundary of the process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAMBDA_MODE_VARIABLE: Final = "CTXKIT_LAMBDA_MODE"
LAMBDA_CONTEXT_VARIABLE: Final = "CTXKIT_TRUST_LAMBDA_CONTEXT"

# What a process has that AWS Lambda runs, or that is to be told that a variable is wrong.
_MARKS: Final = ("AWS_LAMBDA_RUNTIME_API", LAMBDA_MODE_VARIABLE, LAMBDA_CONTEXT_VARIABLE)


def _as_it_is(function: Any) -> Any:
    return function


@final
class Host:
    """Hold what a room puts in here. There is one, :data:`HOST`.

    Rooms of hosts are above this one, so it cannot call them; they leave word here.

    Attributes:
        met: Whether somebody has looked for the host's room.
        background: Whether functions need not flush before they return: the process goes on.
        takes_over: Asked at the end of a crossing, with the timeout that was chosen for its
            flush: True if somebody else has its telemetry land, so that nothing is to be
            waited for here. Where an exception is on its way, it is the one being handled.
            None where nobody does.
        remaining: Told a carrier, returns the seconds that the host leaves it, or None. None
            for hosts that do not tell.
        adapt: Given a decorated coroutine function, returns what a host can call that knows
            none, or the same.
    """

    __slots__ = ("adapt", "background", "met", "remaining", "takes_over")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget who took part."""
        self.met: bool = False
        self.background: bool = False
        self.takes_over: Callable[[float | None], bool] | None = None
        self.remaining: Callable[[Mapping[str, object]], float | None] | None = None
        self.adapt: Callable[[Any], Any] = _as_it_is


HOST: Final = Host()


def meet_host() -> None:
    """Have the room of the host take part, if there is one for it. Cheap to repeat.

    Called where a boundary is made, which is while the function's modules are imported: on
    AWS Lambda it is too late for an extension to register after that.

    Raises:
        ConfigurationError: A variable of that room cannot be used.
    """
    if HOST.met:
        return
    HOST.met = True
    if any(os.environ.get(mark) for mark in _MARKS):
        # By its name, as from an entry point: the storeys above are not ours to import.
        __import__("ctxkit.aws_lambda.installing").aws_lambda.installing.join()
