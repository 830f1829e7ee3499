"""The WSGI application that tells what its requests see of each other.

Served as it is, it shows what the server leaves behind.
"""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

from helpers.served_client import PARTS
from helpers.served_values import (
    LARGE,
    LARGE_PARTS,
    carried,
    leave,
    meet,
    note,
    noted,
    outlive,
    released,
    seen_by,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def app(environ: Any, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"].rpartition("/")[2]
    key, _, argument = environ["QUERY_STRING"].partition("&")
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = [("Content-Type", "text/plain")]
    if path in BODIES:
        first = seen_by(key, 0)
        start_response("200 OK", headers)
        return BODIES[path](key, first)
    if path == "file":
        first = seen_by(key, 0)
        start_response("200 OK", headers)
        wrapper = environ.get("wsgi.file_wrapper")
        return wrapper(File(key, first), 8192) if wrapper else Parts(key, first)
    if path == "kernel":
        seen_by(key, 0)
        start_response("200 OK", [*headers, ("Content-Length", str(Path(__file__).stat().st_size))])
        file = KernelFile(key)
        return environ.get("wsgi.file_wrapper", FileWrapper)(file, 8192)
    content = json.dumps(answer(path, key, argument)).encode()
    start_response("200 OK", [*headers, ("Content-Length", str(len(content)))])
    return [content]


def answer(path: str, key: str, argument: str) -> object:
    if path == "notes":
        return wait_until(lambda: noted(key, int(argument)))
    seen = seen_by(key, 0)
    if path == "carriers":
        meet(argument)
        return carried()
    if path == "outlive":
        outlive(key)
    return seen


class Parts:
    """A body in parts, each of which sees what the one before left."""

    def __init__(self, key: str, first: Any) -> None:
        self.key = key
        self.first = first
        self.turn = 0

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> bytes:
        if not self.turn:
            self.turn = 1
            return json.dumps(self.first).encode() + b"\n"
        if self.turn > PARTS:
            raise StopIteration
        seen = seen_by(self.key, self.turn)
        self.turn += 1
        return json.dumps(seen).encode() + b"\n"

    def close(self) -> None:
        note(self.key, "close")


def generated(key: str, first: Any) -> Iterator[bytes]:
    try:
        yield json.dumps(first).encode() + b"\n"
        for turn in range(1, PARTS + 1):
            yield json.dumps(seen_by(key, turn)).encode() + b"\n"
    finally:
        note(key, "close")


def abandoned(key: str, first: Any) -> Iterator[bytes]:
    """Go on when the client has gone, until the server notices."""
    try:
        yield json.dumps(first).encode() + b"\n"
        leave(f"{key}.1")
        wait_until(lambda: released(key))
        for _ in range(LARGE_PARTS):
            yield LARGE
    finally:
        note(key, "close")


class File:
    """A file of the application's making, which has to be read in Python."""

    def __init__(self, key: str, first: Any) -> None:
        self._parts = Parts(key, first)

    def read(self, size: int = -1) -> bytes:
        return next(self._parts, b"")

    def close(self) -> None:
        self._parts.close()


class KernelFile(FileIO):
    """A file that a server may leave to the kernel."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(__file__)

    def close(self) -> None:
        if not self.closed:
            note(self.key, "close")
        super().close()


BODIES = {"iterable": Parts, "generator": generated, "abandoned": abandoned}
