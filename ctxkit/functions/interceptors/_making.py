"""What the factories of this room share. Private."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ctxkit.boundary.intercepting import KINDS, Interceptor, interceptor
from ctxkit.context.deadline import earlier
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ctxkit.boundary.intercepting import Call, Plan
    from ctxkit.context import Deadline

#: What is run again, or flushed by itself, cannot be a request: that has a response of its own.
NO_REQUESTS: Final = KINDS - {"http"}


def made(
    name: str,
    order: float,
    at: Collection[str],
    plan: Callable[[Call], Plan],
    *,
    possible: frozenset[str] = KINDS,
) -> Interceptor:
    """Return the interceptor that a factory of this name makes.

    Raises:
        ConfigurationError: ``at`` holds what it cannot be put around.
    """
    chosen = interceptor(order=order, name=f"ctxkit.{name}", at=at)(plan)
    if chosen.at <= possible:
        return chosen
    raise ConfigurationError(
        f"{name}(at=)",
        f"has {', '.join(sorted(chosen.at - possible))}, which it cannot be put around",
        f"Choose out of {', '.join(sorted(possible))}.",
    )


def deadline_of(call: Call) -> Deadline | None:
    """Return when the call has to be over: as was chosen for it, or sooner, with its caller."""
    return earlier(call.frame.deadline, call.deadline)


def title_of(error: BaseException) -> str:
    """Return the class of an error, as telemetry names it."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def nothing() -> Any:
    """Do nothing: the synchronous half of a step that only coroutines take."""
