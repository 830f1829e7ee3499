"""Asking the applications of served_wsgi.py and served_asgi.py what they see."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.servers import Connection, Response, Server

HOLDERS = ("ContextVar", "bind", "Local", "asgiref")
PARTS = 3  # of a body, after the first
_numbers = count()


def new_key() -> str:
    return f"request-{next(_numbers)}"


def own(key: str, left: str | int | None = None) -> dict[str, str | None]:
    """Return what a request sees, with what of its own was left last."""
    return {
        "request_id": key,
        **dict.fromkeys(HOLDERS, None if left is None else f"{key}.{left}"),
    }


class Asker:
    """Ask one server, in one mode.

    Args:
        server: Which.
        prefix: What the paths begin with.
    """

    def __init__(self, server: Server, prefix: str = "") -> None:
        self.server = server
        self.kind = server.kind
        self.prefix = prefix

    def send(self, connection: Connection, path: str, key: str, argument: str = "") -> Connection:
        return connection.send(
            f"{self.prefix}/{path}?{key}&{argument}", headers={"X-Request-ID": key}
        )

    def ask(self, connection: Connection, path: str, key: str, argument: str = "") -> Any:
        return self.told(self.send(connection, path, key, argument).receive())

    def told(self, response: Response) -> Any:
        assert response.status == 200, self.server.output()
        return json.loads(response.body)

    def who(self, key: str) -> Any:
        """Return what a request sees that comes on a new connection."""
        with self.server.connect() as connection:
            return self.ask(connection, "who", key)

    def post_large(self, connection: Connection, key: str) -> Any:
        """Send a body that its application begins to read when all of it was sent."""
        headers = {"X-Request-ID": key}
        connection.send(f"{self.prefix}/late?{key}", "POST", headers, b"x" * 300_000)
        self.release(key)
        return self.told(connection.receive())

    def pipeline(self, connection: Connection, keys: list[str]) -> list[Any]:
        """Send all requests at once; return what each sees."""
        connection.hold()
        for key in keys:
            self.send(connection, "who", key)
        connection.let_go()
        return [self.told(connection.receive()) for _ in keys]

    def release(self, key: str) -> None:
        """Have what waits in a request go on."""
        (self.server.folder / f"{key}.go").touch()

    def notes(self, key: str, wanted: int) -> Any:
        """Return what was noted for a request where its client could not see it."""
        with self.server.connect() as connection:
            return self.ask(connection, "notes", key, str(wanted))

    def assert_nothing_is_found(self, connection: Connection | None = None) -> None:
        """Look on the kept connection, and on new ones, to meet a thread again."""
        if connection is not None and self.kind.keeps_connections:
            key = new_key()
            assert self.ask(connection, "who", key) == own(key)
        for _ in range(6):
            key = new_key()
            assert self.who(key) == own(key)
