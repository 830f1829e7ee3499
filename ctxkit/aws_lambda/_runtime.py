"""The one place that every answer of awslambdaric passes last: its C module.

``awslambdaric.lambda_runtime_client`` looks its global ``runtime_client`` up at each call,
inside of whatever Sentry, OpenTelemetry or Powertools put around the handler or around the
methods of the client. So an object in the place of that global sees an event first and its
answer last, marshalled and all. Checked with awslambdaric 3.0 to 4.2; where it looks
different, nothing is touched.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULE: Final = "awslambdaric.lambda_runtime_client"
_CALLS: Final = ("next", "post_invocation_result", "post_error")
# What waits for an event in the thread that runs the handler: of these, in this method.
_CLIENTS: Final = ("LambdaRuntimeClient", "LambdaMultiConcurrentRuntimeClient")
_WAIT: Final = "wait_next_invocation"


class Attendant(Protocol):
    """Be told of what passes. Nothing that it raises gets any further."""

    def before_next(self) -> None:
        """Learn that the runtime is about to wait for an event, and may be frozen."""

    def arrived(self, headers: Any) -> None:
        """Learn that there is an event, with these headers of the Runtime API."""

    def before_answer(self) -> None:
        """Learn that the answer is about to be posted."""

    def after_answer(self) -> None:
        """Learn that the answer was posted, or could not be."""


@final
class Runtime:
    """Stand in for the C module, and tell an attendant of what passes.

    Args:
        real: The C module.
        attendant: Whom to tell.
    """

    def __init__(self, real: Any, attendant: Attendant) -> None:
        self.real = real
        self._attendant = attendant

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def next(self) -> Any:
        """Wait for the next event."""
        _tell(self._attendant.before_next)
        answer = self.real.next()
        _tell(self._attendant.arrived, answer[1])
        return answer

    def post_invocation_result(self, *args: Any, **kwargs: Any) -> Any:
        """Post what the function returned."""
        return self._post(self.real.post_invocation_result, args, kwargs)

    def post_error(self, *args: Any, **kwargs: Any) -> Any:
        """Post what the function raised."""
        return self._post(self.real.post_error, args, kwargs)

    def _post(self, post: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        _tell(self._attendant.before_answer)
        try:
            return post(*args, **kwargs)
        finally:
            _tell(self._attendant.after_answer)


def problem() -> str | None:
    """Return why nobody can attend to the runtime of this process; None if that is possible."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return "awslambdaric does not run in this process"
    real = getattr(module, "runtime_client", None)
    missing = [name for name in _CALLS if not callable(getattr(real, name, None))]
    return f"{_MODULE}.runtime_client has no {', '.join(missing)}" if missing else None


def put_in(attendant: Attendant) -> None:
    """Put ``attendant`` in charge of the runtime, in the place of who was before."""
    take_out()
    names = vars(sys.modules[_MODULE])
    names["runtime_client"] = Runtime(names["runtime_client"], attendant)


def take_out() -> None:
    """Put the C module back where it was."""
    module = sys.modules.get(_MODULE)
    ours = getattr(module, "runtime_client", None)
    if module is not None and isinstance(ours, Runtime):
        vars(module)["runtime_client"] = ours.real


def at_first_wait(call: Callable[[], object]) -> None:
    """Have ``call`` called when the initialisation is over, before the first event is asked for.

    In the thread that runs the handler: from Python 3.12 on awslambdaric asks in another one.
    """
    for name in _CLIENTS:
        client = getattr(sys.modules.get(_MODULE), name, None)
        if callable(getattr(client, _WAIT, None)):
            _call_first(client, call)


def _call_first(client: Any, call: Callable[[], object]) -> None:
    own: Any = client.__dict__
    inherited, wait = _WAIT not in own, getattr(client, _WAIT)

    def waiting(*args: Any, **kwargs: Any) -> Any:
        if own.get(_WAIT) is waiting:  # nobody has wrapped it since
            if inherited:
                delattr(client, _WAIT)
            else:
                setattr(client, _WAIT, wait)
        _tell(call)
        return wait(*args, **kwargs)

    setattr(client, _WAIT, waiting)


def _tell(what: Callable[..., object], *args: object) -> None:
    try:
        what(*args)
    except Exception:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit").exception("ctxkit.lambda.failed")
