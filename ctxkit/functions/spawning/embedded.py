"""The embedded engine: threads of this process, for servers that live long."""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, wait
from contextvars import Context
from os import getpid
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.boundary.options import BoundaryOptions
from ctxkit.boundary.receiving import received
from ctxkit.context import Deadline
from ctxkit.exceptions import ConfigurationError, EngineUnavailable
from ctxkit.functions.calling import call
from ctxkit.functions.pools import Pool
from ctxkit.functions.spawning import _sentry
from ctxkit.functions.spawning.engines import EMBEDDED
from ctxkit.lifecycle import environment, on_shutdown

if TYPE_CHECKING:
    from ctxkit.functions.spawning.engines import Work

_log = logging.getLogger("ctxkit")

#: The longest that the end of the process waits for what was accepted, in seconds: less than
#: supervisors usually leave, which is 10 to 30.
DRAIN_TIMEOUT: Final = 8.0


@final
class EmbeddedEngine:
    """Run what is spawned on threads of this process; the engine by default.

    It lives and dies with the process: the interpreter waits at its end for what was accepted,
    a server that announces its own end for ``drain_timeout``, and what is not done when the
    process is killed is lost. For what must not be lost take an engine with a broker.

    Args:
        workers: How many run at once.
        buffer: How many may wait; the next one gets :class:`ctxkit.PoolFull`.
        drain_timeout: The longest that the hooks at the end of the process wait, in seconds.

    Raises:
        ConfigurationError: A number makes no sense.

    Context:
        Each piece of work is an invocation of its own, in an empty context with what goes on
        wires, as with any other engine. Arguments go through JSON for the same reason. Where
        Sentry is in use, it is a transaction in the trace of whoever has sent it.

    Safety:
        Any thread may send; nothing blocks. In a forked child it begins anew.
    """

    def __init__(
        self, workers: int = 4, buffer: int = 1000, *, drain_timeout: float = DRAIN_TIMEOUT
    ) -> None:
        self.name: str = EMBEDDED
        self._pool = Pool.static(workers, buffer)
        self._drain_timeout = drain_timeout
        self._unfinished: dict[Future[Any], str] = {}
        self._pid = getpid()
        # The trusted carrier is our own: it has not left this process.
        self._options = BoundaryOptions.resolve(trust_context=True)
        self._drained = on_shutdown(self.drain)

    def send(self, work: Work) -> Future[Any]:
        """Take the work.

        Returns:
            A future of its result. Cancelling it keeps it from beginning.

        Raises:
            EngineUnavailable: This host stops the process between requests, and
                ``CTXKIT_FLUSH_MODE`` does not say ``never``.
            PoolFull: Too much is waiting.
            ConfigurationError: An argument is nothing that JSON knows.
        """
        # What the host needs, unless somebody knows better: a CPU that is always allocated.
        if BoundaryOptions.resolve().holds:
            raise EngineUnavailable(work.name, self.name, environment().name)
        try:
            packed = json.dumps((work.args, work.kwargs))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                "spawn()",
                f"got an argument for {work.name} that JSON does not know: {error}",
                "Hand over ids and plain values, and look the rest up on the other side.",
            ) from None
        # In an empty context: nothing of the request may go along but the carrier.
        trace = _sentry.trace_here()
        future: Future[Any] = Context().run(self._pool.submit, self._run, work, packed, trace)
        unfinished = self._own()
        unfinished[future] = work.name
        future.add_done_callback(unfinished.pop)
        return future

    async def asend(self, work: Work) -> Future[Any]:
        """Do the same: nothing blocks."""
        return self.send(work)

    def drain(self) -> None:
        """Wait for what was accepted; say what could not be run."""
        limit = Deadline.after(self._drain_timeout)
        unfinished = self._own()
        while unfinished and not limit.passed():
            wait([*unfinished], timeout=limit.remaining())
        lost = [name for future, name in [*unfinished.items()] if not future.done()]
        if lost:
            _log.error(
                "ctxkit.spawn.unfinished: the process ends after %g s, and with it %d spawned "
                "calls: %s. Choose an engine with a broker for what must not be lost.",
                self._drain_timeout,
                len(lost),
                ", ".join(sorted(set(lost))),
            )

    def close(self) -> None:
        """Take no more work, and let go of the threads when what was accepted is done."""
        self._drained.remove()
        self._pool.close()

    def _own(self) -> dict[Future[Any], str]:
        """Return what this process has accepted: in a child, what its parent has never ends."""
        if self._pid != getpid():
            self._pid, self._unfinished = getpid(), {}
        return self._unfinished

    def _run(self, work: Work, packed: str, trace: dict[str, str]) -> Any:
        args, kwargs = json.loads(packed)
        with received(work.name, work.carrier, self._options), _sentry.goes_on(trace, work.name):
            try:
                return call(work.name, *args, **kwargs)
            except Exception:
                # Here, where it has the id of the request; few ask the future.
                _log.exception("ctxkit.spawn.failed: %s, spawned, has failed", work.name)
                raise
