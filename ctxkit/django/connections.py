"""Django's database connections, which a freeze may have killed and a snapshot would clone."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, final

from django.core.signals import request_started
from django.db import connections
from django.db.backends.signals import connection_created

from ctxkit.lifecycle import before_snapshot, on_thaw

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds of a freeze after which a connection is asked whether it still is one.
DOUBTED: Final = 10.0
#: Seconds after which it is not even asked: who stands between may have dropped it without a
#: word, and the question would wait for an answer. AWS forgets a connection after 350 s.
#: https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
GIVEN_UP: Final = 300.0


@final
class Connections:
    """Look after the connections of each thread, at its first request after a freeze.

    Django closes a connection that has failed (or, with ``CONN_HEALTH_CHECKS``, asks it in
    each request). A persistent one (``CONN_MAX_AGE``) that died in a freeze fails first, in
    the request that comes after it.

    Safety:
        A connection is only touched in its own thread, and not within a transaction.
    """

    def __init__(self) -> None:
        self._thaws = 0
        self._gap = 0.0

    def connect(self) -> None:
        """Be told of freezes, snapshots and requests. Idempotent."""
        on_thaw(after=DOUBTED)(self.thawed)
        before_snapshot(self.leave)
        request_started.connect(self.look, dispatch_uid="ctxkit.connections")
        connection_created.connect(self.note, dispatch_uid="ctxkit.connections")

    def thawed(self, gap: float) -> None:
        """Note that the process stood still."""
        self._thaws += 1
        self._gap = gap

    def leave(self) -> None:
        """Close the connections of this thread now, of others at their next request."""
        self.thawed(inf)
        for connection in connections.all(initialized_only=True):
            connection.close()
            close_pool: Any = getattr(connection, "close_pool", None)
            if close_pool is not None:
                close_pool()

    def look(self, **_: object) -> None:
        """Close what has not survived; for the signal ``request_started``."""
        if self._thaws:
            for connection in connections.all(initialized_only=True):
                self._look_at(connection)

    def note(self, connection: BaseDatabaseWrapper, **_: object) -> None:
        """Note that it is younger than all freezes; for the signal ``connection_created``."""
        vars(connection)["ctxkit_thaws"] = self._thaws

    def _look_at(self, connection: BaseDatabaseWrapper) -> None:
        own = vars(connection)
        seen = own.get("ctxkit_thaws", 0)
        if seen == self._thaws or connection.in_atomic_block:
            return
        own["ctxkit_thaws"] = self._thaws
        if connection.connection is None:
            return
        gap = self._gap if seen == self._thaws - 1 else inf
        if gap >= GIVEN_UP or not connection.is_usable():
            connection.close()


#: The connections of this process.
CONNECTIONS: Final = Connections()
