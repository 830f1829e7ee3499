"""What a client has of a response, and what had landed by then, on real servers."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.servers import Connection, Server

numbers = count()


def new_id() -> str:
    return f"request-{next(numbers)}"


def landed(server: Server) -> list[str]:
    return (server.folder / "landed.txt").read_text().split()


def ask(connection: Connection, path: str, request_id: str, method: str = "GET") -> Connection:
    return connection.send(path, method, {"X-Request-ID": request_id})


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/list", 200, b"abcd"),
        ("HEAD", "/framed", 200, b""),
        ("HEAD", "/chunked", 200, b""),
        ("GET", "/empty", 204, b""),
    ],
)
def test_everything_has_landed_when_the_response_is_complete(
    server: Server, method: str, path: str, status: int, body: bytes
) -> None:
    request_id = new_id()
    with server.connect() as connection:
        response = ask(connection, path, request_id, method).receive(method)
        assert request_id in landed(server)
    assert (response.status, response.body) == (status, body)
    assert response.headers["x-request-id"] == request_id


@pytest.mark.parametrize("path", ["/framed", "/chunked"])
def test_only_the_part_that_completes_the_response_waits(server: Server, path: str) -> None:
    request_id = new_id()
    with server.connect() as connection:
        response = ask(connection, path, request_id).headers()
        assert connection.content(response, 2) == b"ab"
        assert request_id not in landed(server)
        (server.folder / f"{request_id}.ack").touch()
        connection.finish(response)
        assert request_id in landed(server)
    assert response.body == b"abcd"
