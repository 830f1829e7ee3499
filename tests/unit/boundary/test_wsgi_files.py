"""What a WSGI server reads and closes by itself: wsgi.file_wrapper."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from io import BytesIO
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

import pytest
from helpers.follow import in_plain_thread
from helpers.wsgi import Exchange

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MODES = pytest.mark.parametrize("mode", ["never", "always"])

colour: ContextVar[str] = ContextVar("colour", default="none")


class File:
    """A file that says what it sees, with no more than PEP 3333 asks for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object, str]] = []
        self.left = 2

    def tell_and_leave(self, step: str) -> None:
        self.seen.append((step, ctxkit.get("path"), colour.get()))
        colour.set(step)

    def read(self, size: int = -1) -> bytes:
        self.tell_and_leave("read")
        self.left -= 1
        return b"ab" if self.left else b""

    def close(self) -> None:
        self.tell_and_leave("close")

    def fileno(self) -> int:
        return 77


class Waitresses:
    """A wrapper like waitress's: other names, and a close() of its own."""

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.file.read, b"")

    def close(self) -> None:
        if hasattr(self.file, "close"):
            self.file.close()


class Foreign:
    """A wrapper that hides its file."""

    __slots__ = ("_hidden",)

    def __init__(self, file: Any) -> None:
        self._hidden = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._hidden.read, b"")

    def close(self) -> None:
        self._hidden.close()


def uwsgis(file: Any) -> Any:
    return file


def sending(file: Any) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        colour.set("app")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]

    return app


@MODES
@pytest.mark.parametrize("wrapper", [FileWrapper, Waitresses, Foreign, uwsgis])
def test_file_is_read_and_closed_in_its_request(mode: str, wrapper: Any) -> None:
    file = File()
    exchange = Exchange(strict=False, environ={"wsgi.file_wrapper": wrapper})
    exchange(ctxkit.WSGIMiddleware(sending(file), mode=mode))
    assert exchange.body == b"ab"
    assert file.seen == [("read", "/", "app"), ("read", "/", "read"), ("close", "/", "read")]
    assert colour.get() == "none"
    assert ctxkit.get("path") is None


@MODES
@pytest.mark.parametrize("wrapper", [FileWrapper, Waitresses])
def test_servers_own_wrapper_reaches_it_with_the_descriptor_of_the_file(
    mode: str, wrapper: Any
) -> None:
    exchange = Exchange(strict=False, environ={"wsgi.file_wrapper": wrapper})
    exchange(ctxkit.WSGIMiddleware(sending(File()), mode=mode))
    assert type(exchange.result) is wrapper
    file = getattr(exchange.result, "filelike", None) or exchange.result.file
    assert file.fileno() == 77


@MODES
def test_file_without_a_close_is_not_closed(mode: str) -> None:
    class Closeless:
        read = BytesIO(b"ab").read

    for wrapper in (FileWrapper, Waitresses, uwsgis):
        Closeless.read = BytesIO(b"ab").read
        exchange = Exchange(strict=False, environ={"wsgi.file_wrapper": wrapper})
        exchange(ctxkit.WSGIMiddleware(sending(Closeless()), mode=mode))
        assert exchange.body == b"ab"


@MODES
def test_django_locals_are_there_in_whichever_thread_the_file_is_closed(mode: str) -> None:
    local_module = pytest.importorskip("asgiref.local")
    language = local_module.Local()
    seen: list[object] = []

    class Closing(BytesIO):
        def close(self) -> None:
            if not self.closed:
                seen.append((getattr(language, "value", None), threading.get_ident()))
            super().close()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        language.value = "fr"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return FileWrapper(Closing(b"ab"))

    environ: dict[str, Any] = Exchange(environ={"wsgi.file_wrapper": FileWrapper}).environ
    body: Any = ctxkit.WSGIMiddleware(app, mode=mode)(environ, lambda *_: bytearray().extend)
    in_plain_thread(body.close)
    [(value, thread)] = seen
    assert value == "fr"
    assert thread != threading.get_ident()
