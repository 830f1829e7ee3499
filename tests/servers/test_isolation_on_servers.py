"""What requests see of each other on real servers, whatever these do with contexts."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.servers import Connection, Response, Server

pytestmark = pytest.mark.parametrize("mode", ["never", "always"], indirect=True, scope="module")

numbers = count()


def new_id() -> str:
    return f"request-{next(numbers)}"


def ask(connection: Connection, path: str, request_id: str) -> Connection:
    return connection.send(path, headers={"X-Request-ID": request_id})


def told(response: Response) -> list[str]:
    seen: list[str] = json.loads(response.body)
    return seen


def test_kept_connection_carries_nothing_from_request_to_request(server: Server) -> None:
    """A body of more than 64 KiB makes asyncio read on in the context of that request."""
    if not server.kind.keeps_connections:
        pytest.skip("the server keeps no connection")
    with server.connect() as connection:
        for body in (b"", b"x" * 300_000, b"", b"y" * 300_000, b""):
            request_id = new_id()
            connection.send(
                f"/who?{request_id}", "POST" if body else "GET", {"X-Request-ID": request_id}, body
            )
            response = connection.receive()
            assert told(response) == [request_id, "None", "nothing"]


def test_pipelined_requests_see_nothing_of_each_other(server: Server) -> None:
    if not server.kind.keeps_connections:
        pytest.skip("the server keeps no connection")
    ids = [new_id() for _ in range(4)]
    with server.connect() as connection:
        for request_id in ids:
            ask(connection, f"/who?{request_id}", request_id)
        for request_id in ids:
            response = connection.receive()
            assert told(response) == [request_id, "None", "nothing"]


def test_new_connections_see_nothing_of_each_other(server: Server) -> None:
    for _ in range(6):
        request_id = new_id()
        with server.connect() as connection:
            response = ask(connection, f"/who?{request_id}", request_id).receive()
        assert told(response) == [request_id, "None", "nothing"]


def test_overlapping_requests_see_only_their_own_through_every_carrier(server: Server) -> None:
    if not server.kind.overlapping:
        pytest.skip("the server runs one request at a time")
    for _ in range(3):
        room = new_id()
        users = [new_id(), new_id()]
        with server.connect() as first, server.connect() as second:
            for connection, user in zip((first, second), users, strict=True):
                ask(connection, f"/carriers?{room}:{user}", user)
            for connection, user in zip((first, second), users, strict=True):
                response = connection.receive()
                assert response.status == 200, server.output()
                seen = json.loads(response.body)
                carriers = {"here", "Thread", "Timer", "ThreadPoolExecutor"}
                if server.kind.protocol == "asgi":
                    carriers |= {"to_thread", "run_in_executor", "create_task"}
                assert seen == {carrier: [user, user, f"{room}:{user}"] for carrier in carriers}
