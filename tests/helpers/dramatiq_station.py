"""A dramatiq worker in this process: one thread for all messages, and what its actors saw."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, GroupCallbacks

with warnings.catch_warnings():  # dramatiq 1 tells of clients that are not installed
    warnings.simplefilter("ignore", ImportWarning)
    from dramatiq.rate_limits.backends import StubBackend

import ctxkit
from ctxkit.contrib.dramatiq import ContextMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

TENANT = ctxkit.Key[str]("dramatiq_tenant", hops={"thread", "wire"})
HERE = ctxkit.Key[str]("dramatiq_here")
#: A variable of somebody else's, which nobody resets.
FOREIGN: ContextVar[str | None] = ContextVar("foreign", default=None)

Seen = tuple[str | None, str | None, str | None]


def seen() -> Seen:
    return TENANT.get(None), HERE.get(None), FOREIGN.get()


class Noting(dramatiq.Middleware):
    """Write down what becomes of a message; raise ``skipping`` before the next one."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.skipping: Exception | None = None

    def before_process_message(self, broker: Any, message: Any) -> None:
        error, self.skipping = self.skipping, None
        if error is not None:
            raise error

    def after_process_message(self, *_: Any, **__: Any) -> None:
        self.log.append("processed")

    def after_skip_message(self, *_: Any) -> None:
        self.log.append("skipped")

    def after_ack(self, *_: Any) -> None:
        self.log.append("acknowledged")

    def after_nack(self, *_: Any) -> None:
        self.log.append("rejected")


class Station:
    """A broker and its worker.

    Args:
        loop: Whether it brings the event loop; dramatiq has one for all workers of a process.
        options: Those of the middleware.
    """

    def __init__(self, *, loop: bool = False, **options: Any) -> None:
        self.log: list[Any] = []
        self.noting = Noting(self.log)
        self.broker = StubBroker()
        self.broker.add_middleware(GroupCallbacks(StubBackend()))
        if loop:
            self.broker.add_middleware(AsyncIO())
        self.broker.add_middleware(ContextMiddleware(**options))
        self.broker.add_middleware(self.noting)  # whoever comes last acts first at the end
        self.broker.emit_after("process_boot")
        self._worker = dramatiq.Worker(self.broker, worker_threads=1, worker_timeout=10)
        self._worker.start()

    def actor(self, function: Callable[..., Any], **options: Any) -> Any:
        """Return ``function`` as an actor that is not retried, unless it says so."""
        options = {"max_retries": 0, "min_backoff": 1, "max_backoff": 1, **options}
        name = f"actor_{len(self.broker.actors)}"
        return dramatiq.actor(function, actor_name=name, broker=self.broker, **options)

    def finish(self) -> None:
        """Return when all messages were processed."""
        self.broker.join("default", fail_fast=False, timeout=20_000)
        self._worker.join()

    def close(self) -> None:
        self._worker.stop()
        self.broker.close()
