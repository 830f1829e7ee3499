"""Database connections across freezes and snapshots: real ones, of SQLite files."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.core.signals import request_started
from django.db import transaction
from django.db.backends.signals import connection_created
from django.db.utils import ConnectionHandler

from ctxkit.django import connections as room
from ctxkit.django.connections import Connections
from ctxkit.lifecycle import run_before_snapshot
from ctxkit.lifecycle._occasions import SNAPSHOT, THAW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionHandler]:
    databases = ConnectionHandler(
        {
            name: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": tmp_path / name,
                "CONN_MAX_AGE": None,
            }
            for name in ("default", "other")
        }
    )
    monkeypatch.setattr(room, "connections", databases)
    yield databases
    databases.close_all()


@pytest.fixture
def minder(databases: ConnectionHandler, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    """One that is told of freezes, snapshots and requests, alone."""
    for occasion in (THAW, SNAPSHOT):
        monkeypatch.setattr(occasion, "hooks", ())
    disconnect()
    minder = Connections()
    minder.connect()
    yield minder
    disconnect()


def disconnect() -> None:
    for signal in (request_started, connection_created):
        signal.disconnect(dispatch_uid="ctxkit.connections")


def freeze(seconds: float) -> None:
    hooks = tuple(hook for hook in THAW.hooks if seconds >= hook.after)
    THAW.run_some(hooks, seconds)


def request() -> None:
    request_started.send(sender=None)


def opened(databases: ConnectionHandler, *, usable: bool = True) -> Any:
    """Open a connection that the other end has closed, or has not."""
    connection: Any = databases["default"]
    connection.ensure_connection()
    connection.asked = 0

    def is_usable() -> bool:
        connection.asked += 1
        return usable

    connection.is_usable = is_usable
    return connection


@pytest.mark.usefixtures("minder")
def test_connection_that_died_in_a_freeze_is_closed_before_the_request(
    databases: ConnectionHandler,
) -> None:
    connection = opened(databases, usable=False)
    freeze(60)

    request()

    assert connection.connection is None
    with connection.cursor() as cursor:  # Django opens another one
        assert cursor.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.usefixtures("minder")
def test_connection_that_survived_a_freeze_is_asked_once_and_kept(
    databases: ConnectionHandler,
) -> None:
    connection = opened(databases)
    kept = connection.connection
    freeze(60)

    request()
    request()

    assert connection.asked == 1
    assert connection.connection is kept


@pytest.mark.usefixtures("minder")
def test_connection_after_a_long_freeze_is_not_even_asked(databases: ConnectionHandler) -> None:
    connection = opened(databases)
    freeze(300)

    request()

    assert connection.asked == 0
    assert connection.connection is None


@pytest.mark.usefixtures("minder")
def test_connection_whose_thread_missed_a_freeze_is_not_asked(
    databases: ConnectionHandler,
) -> None:
    connection = opened(databases)
    freeze(300)
    freeze(20)

    request()

    assert connection.connection is None


@pytest.mark.usefixtures("minder")
def test_connection_after_a_short_freeze_is_left_alone(databases: ConnectionHandler) -> None:
    connection = opened(databases, usable=False)
    freeze(9)

    request()

    assert connection.asked == 0


@pytest.mark.usefixtures("minder")
def test_connection_in_a_transaction_is_left_alone(
    databases: ConnectionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "connections", databases)
    connection = opened(databases, usable=False)
    with transaction.atomic():
        freeze(60)
        request()
        assert connection.connection is not None
    request()
    assert connection.connection is None


@pytest.mark.usefixtures("minder")
def test_connections_are_closed_before_a_snapshot_with_their_pools(
    databases: ConnectionHandler,
) -> None:
    connection = opened(databases)
    pools: list[str] = []
    connection.close_pool = lambda: pools.append("closed")

    run_before_snapshot()

    assert connection.connection is None
    assert pools == ["closed"]


@pytest.mark.usefixtures("minder")
def test_connection_of_another_thread_is_closed_in_that_thread(
    databases: ConnectionHandler,
) -> None:
    ready, go_on = threading.Event(), threading.Event()
    told: list[object] = []

    def serve() -> None:
        connection = opened(databases)
        ready.set()
        assert go_on.wait(10)
        told.append(connection.connection is None)
        request()
        told.append(connection.connection is None)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    run_before_snapshot()
    go_on.set()
    thread.join(10)

    assert told == [False, True]


@pytest.mark.usefixtures("minder")
def test_connection_that_was_opened_after_the_freezes_is_kept_unasked(
    databases: ConnectionHandler,
) -> None:
    freeze(60)
    freeze(60)
    connection = opened(databases)

    request()

    assert connection.connection is not None
    assert connection.asked == 0


def test_connections_are_minded_once_however_often_they_are_connected(
    minder: Connections,
) -> None:
    minder.connect()

    assert len(THAW.hooks) == len(SNAPSHOT.hooks) == 1


def test_app_minds_the_connections() -> None:
    from django.apps import AppConfig  # noqa: PLC0415 - only here

    config = AppConfig.create("ctxkit.django")
    try:
        config.ready()
        assert any(hook.function == room.CONNECTIONS.thawed for hook in THAW.hooks)
        assert any(hook.function == room.CONNECTIONS.leave for hook in SNAPSHOT.hooks)
    finally:
        for occasion in (THAW, SNAPSHOT):
            occasion.hooks = tuple(
                hook
                for hook in occasion.hooks
                if getattr(hook.function, "__self__", None) is not room.CONNECTIONS
            )
        disconnect()
