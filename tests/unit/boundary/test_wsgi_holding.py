"""What the WSGI boundary holds, until when, and what it never does."""

from __future__ import annotations

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from helpers.wsgi import Exchange

import ctxkit

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from helpers.timeline import RecordingSink

TEXT = ("Content-Type", "text/plain")


def streaming(
    timeline: list[object],
    *chunks: bytes,
    length: int | None = None,
    status: str = "200 OK",
    lazy: bool = False,
    tail: Callable[[], object] = lambda: None,
) -> WSGIApplication:
    """Return an application with a body in parts, that tells when it is over and closed."""
    headers = [] if status[:3] in {"204", "304"} else [TEXT]
    if length is not None:
        headers.append(("Content-Length", str(length)))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def body() -> Iterator[bytes]:
            if lazy:
                start_response(status, headers)
            try:
                yield from chunks
                timeline.append("tail")
                tail()
            finally:
                timeline.append("closed")

        if not lazy:
            start_response(status, headers)
        return body()

    return app


def crossed(
    app: WSGIApplication, mode: str = "always", *, strict: bool = True
) -> ctxkit.WSGIMiddleware:
    return ctxkit.WSGIMiddleware(validator(app) if strict else app, mode=mode)


@pytest.mark.parametrize("lazy", [False, True])
def test_only_the_chunk_that_fills_the_length_is_held(
    sink: RecordingSink, timeline: list[object], *, lazy: bool
) -> None:
    app = streaming(timeline, b"ab", b"cd", b"ef", length=6, lazy=lazy)
    Exchange(timeline)(crossed(app, strict=not lazy))
    assert timeline == ["start", b"ab", b"cd", "tail", "closed", "flush", b"ef", "end"]


@pytest.mark.parametrize("lazy", [False, True])
def test_without_a_length_only_the_end_is_held(
    sink: RecordingSink, timeline: list[object], *, lazy: bool
) -> None:
    app = streaming(timeline, b"ab", b"cd", lazy=lazy)
    Exchange(timeline)(crossed(app, strict=not lazy))
    assert timeline == ["start", b"ab", b"cd", "tail", "closed", "flush", "end"]


@pytest.mark.parametrize("kind", [list, tuple])
def test_body_that_is_there_as_a_whole_is_held_as_a_whole(
    sink: RecordingSink, timeline: list[object], kind: Callable[[Any], Any]
) -> None:
    whole = kind([b"ab", b"cd"])

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        return whole  # type: ignore[no-any-return]

    exchange = Exchange(timeline, strict=False)(crossed(app, strict=False))
    assert timeline == ["flush", "start", b"ab", b"cd", "end"]
    assert exchange.result is whole


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [
        ("HEAD", "200 OK", 4),
        ("HEAD", "200 OK", None),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified", 4),
        ("GET", "200 OK", 0),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_response_without_content_is_held_from_its_start(  # noqa: PLR0913 - fixtures and parameters
    sink: RecordingSink,
    timeline: list[object],
    *,
    method: str,
    status: str,
    length: int | None,
    lazy: bool,
) -> None:
    app = streaming(timeline, length=length, status=status, lazy=lazy)
    Exchange(timeline, REQUEST_METHOD=method)(crossed(app, strict=not lazy))
    assert timeline == ["tail", "closed", "flush", "start", "end"]


def test_response_without_content_is_settled_although_nobody_asks_for_content(
    sink: RecordingSink, timeline: list[object]
) -> None:
    app = streaming(timeline, b"x" * 10, b"y" * 10, length=20)
    exchange = Exchange(timeline, strict=False, REQUEST_METHOD="HEAD")
    result = crossed(app, strict=False)(exchange.environ, exchange._start_response)
    assert timeline == ["tail", "closed", "flush"]
    # wsgiref and waitress derive a Content-Length from the content: not an empty one.
    assert list(result) == [b"x" * 10]
    result.close()  # type: ignore[attr-defined]
    assert timeline == ["tail", "closed", "flush"]


def test_content_beyond_the_length_is_dropped(sink: RecordingSink, timeline: list[object]) -> None:
    app = streaming(timeline, b"ab", b"cd", b"ef", length=3)
    Exchange(timeline)(crossed(app))
    assert timeline == ["start", b"ab", "tail", "closed", "flush", b"cd", "end"]


def test_empty_chunks_complete_nothing(sink: RecordingSink, timeline: list[object]) -> None:
    app = streaming(timeline, b"", b"ab", b"", b"cd", b"", length=4)
    Exchange(timeline)(crossed(app))
    assert timeline == ["start", b"ab", "tail", "closed", "flush", b"cd", "end"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=6), max_size=8),
    framed=st.booleans(),
    lazy=st.booleans(),
    mode=st.sampled_from(["never", "always", "idle"]),
)
def test_whatever_the_chunks_the_client_gets_the_same_and_only_the_end_waits(  # noqa: PLR0913 - fixtures and parameters
    sink: RecordingSink,
    timeline: list[object],
    *,
    chunks: list[bytes],
    framed: bool,
    lazy: bool,
    mode: str,
) -> None:
    timeline.clear()
    content = b"".join(chunks)
    app = streaming(timeline, *chunks, length=len(content) if framed else None, lazy=lazy)
    exchange = Exchange(timeline)(crossed(app, mode, strict=not lazy))
    assert exchange.body == content
    assert timeline[-1] == "end"
    assert timeline.count("closed") == 1
    assert timeline.count("flush") == (mode != "never")
    if mode != "never":
        after = [part for part in timeline[timeline.index("flush") :] if isinstance(part, bytes)]
        filled = [part for part in chunks if part] if framed and content else []
        assert after == filled[-1:]


def test_failure_of_the_application_is_flushed_and_passed_on(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = SystemExit(3)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise error

    with pytest.raises(SystemExit) as caught:
        Exchange(timeline)(crossed(app))
    assert caught.value is error
    assert timeline == ["flush"]


def test_failure_amid_the_body_is_flushed_and_passed_on(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = ValueError("amid")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="amid") as caught:
        Exchange(timeline)(crossed(streaming(timeline, b"ab", tail=fail)))
    assert caught.value is error
    assert timeline == ["start", b"ab", "tail", "closed", "flush"]


def test_failure_after_the_whole_content_comes_after_the_response(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = ValueError("tail")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="tail") as caught:
        Exchange(timeline)(crossed(streaming(timeline, b"ab", length=2, tail=fail)))
    assert caught.value is error
    assert timeline == ["tail", "closed", "flush", "start", b"ab", "end"]


class Failing:
    def __init__(self, timeline: list[object], where: str) -> None:
        self.timeline = timeline
        self.where = where
        self.chunks = iter([b"ab"])

    def _step(self, name: str) -> None:
        self.timeline.append(name)
        if self.where == name:
            raise LookupError(name)

    def __iter__(self) -> Iterator[bytes]:
        self._step("iter")
        return self

    def __next__(self) -> bytes:
        return next(self.chunks)

    def close(self) -> None:
        self._step("close")


def failing(timeline: list[object], where: str) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        return Failing(timeline, where)

    return app


def test_failing_close_does_not_break_the_response(
    sink: RecordingSink, timeline: list[object]
) -> None:
    with pytest.raises(LookupError, match="close"):
        Exchange(timeline)(crossed(failing(timeline, "close"), strict=False))
    assert timeline == ["iter", "start", b"ab", "close", "flush", "end"]


def test_failing_iter_is_flushed_and_passed_on(sink: RecordingSink, timeline: list[object]) -> None:
    with pytest.raises(LookupError, match="iter"):
        Exchange(timeline)(crossed(failing(timeline, "iter"), strict=False))
    assert timeline[:2] == ["iter", "flush"]


@pytest.mark.parametrize("length", [None, 6])
def test_client_that_has_gone_closes_once_and_waits_briefly(
    sink: RecordingSink, timeline: list[object], length: int | None
) -> None:
    app = streaming(timeline, b"ab", b"cd", b"ef", length=length)
    exchange = Exchange(timeline, give_up_after=1)(crossed(app))
    assert timeline == ["start", b"ab", "closed", "flush"]
    assert sink.timeouts[0] <= 0.5
    exchange.result.iterator.close()
    assert timeline.count("flush") == 1


def test_restarted_response_is_counted_anew(sink: RecordingSink, timeline: list[object]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "2")])
        try:
            raise KeyError
        except KeyError as error:
            info = (KeyError, error, error.__traceback__)
            start_response("500 Oh", [TEXT, ("Content-Length", "4")], info)
        yield b"fa"
        yield b"il"
        timeline.append("tail")

    exchange = Exchange(timeline)(crossed(app, strict=False))
    assert (exchange.status, len(exchange.header("X-Request-ID"))) == ("500 Oh", 1)
    assert timeline == ["start", b"fa", "tail", "flush", b"il", "end"]


def test_restart_after_the_start_raises_the_applications_error(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = KeyError("late")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b"ab"
        start_response("500 Oh", [TEXT], (KeyError, error, None))

    with pytest.raises(KeyError) as caught:
        Exchange(timeline)(crossed(app, strict=False))
    assert caught.value is error
    assert timeline == ["start", b"ab", "flush"]


@pytest.mark.parametrize(("method", "length"), [("GET", "2"), ("HEAD", "4")])
def test_restart_after_the_whole_content_raises_the_applications_error(
    sink: RecordingSink, timeline: list[object], method: str, length: str
) -> None:
    error = KeyError("late")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", length)])
        yield b"ab"
        start_response("500 Oh", [TEXT], (KeyError, error, None))

    exchange = Exchange(timeline, REQUEST_METHOD=method)
    with pytest.raises(KeyError) as caught:
        exchange(crossed(app, strict=False))
    assert caught.value is error
    assert exchange.header("Content-Length") == [length]


def test_written_content_passes_and_counts(sink: RecordingSink, timeline: list[object]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [TEXT, ("Content-Length", "6")])
        write(b"ab")

        def rest() -> Iterator[bytes]:
            yield b"cd"
            yield b"ef"
            timeline.append("tail")

        return rest()

    Exchange(timeline)(crossed(app))
    assert timeline == ["start", b"ab", b"cd", "tail", "flush", b"ef", "end"]


@pytest.mark.parametrize("rest", [(), [b""], [b"beyond"]], ids=["none", "empty", "more"])
def test_written_content_that_completes_is_held(
    sink: RecordingSink, timeline: list[object], rest: Iterable[bytes]
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [TEXT, ("Content-Length", "4")])
        write(b"ab")
        write(b"cd")
        timeline.append("tail")
        return rest

    Exchange(timeline, strict=False)(crossed(app, strict=False))
    assert timeline == ["start", b"ab", "tail", "flush", b"cd", "end"]


@pytest.mark.parametrize("beyond", [(), (b"beyond",)], ids=["none", "more"])
def test_content_written_by_a_generator_that_completes_is_held(
    sink: RecordingSink, timeline: list[object], beyond: tuple[bytes, ...]
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [TEXT, ("Content-Length", "2")])
        write(b"ab")
        yield from beyond

    Exchange(timeline, strict=False)(crossed(app, strict=False))
    assert timeline == ["flush", "start", b"ab", "end"]


def test_error_after_content_written_by_a_generator_is_raised_by_close(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = KeyError("late")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [TEXT, ("Content-Length", "2")])
        write(b"ab")
        raise error
        yield

    with pytest.raises(KeyError) as caught:
        Exchange(timeline, strict=False)(crossed(app, strict=False))
    assert caught.value is error
    assert timeline[:3] == ["flush", "start", b"ab"]


def test_wrapped_file_reaches_the_server_as_it_is(
    sink: RecordingSink, timeline: list[object]
) -> None:
    made: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        made.append(environ["wsgi.file_wrapper"](BytesIO(b"file")))
        return made[0]  # type: ignore[return-value]

    exchange = Exchange(timeline, strict=False, environ={"wsgi.file_wrapper": FileWrapper})
    exchange(crossed(app, strict=False))
    assert exchange.result is made[0]
    assert timeline == ["flush", "start", b"file", "end"]


def test_file_wrapper_that_is_no_class_is_an_ordinary_body(
    sink: RecordingSink, timeline: list[object]
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        return environ["wsgi.file_wrapper"](BytesIO(b"file"))  # type: ignore[no-any-return]

    exchange = Exchange(timeline, strict=False, environ={"wsgi.file_wrapper": lambda file: file})
    exchange(crossed(app, strict=False))
    assert timeline == ["start", b"file", "flush", "end"]


def test_malformed_status_is_left_to_the_server(
    sink: RecordingSink, timeline: list[object]
) -> None:
    app = streaming(timeline, b"ab", status="fine")
    exchange = Exchange(timeline, strict=False)(crossed(app, strict=False))
    assert (exchange.status, exchange.body) == ("fine", b"ab")


def test_never_holds_nothing(sink: RecordingSink, timeline: list[object]) -> None:
    app = streaming(timeline, b"ab", b"cd", length=4)
    Exchange(timeline)(crossed(app, "never"))
    assert timeline == ["start", b"ab", b"cd", "tail", "closed", "end"]


def test_idle_flushes_only_when_the_last_response_ends(
    sink: RecordingSink, timeline: list[object]
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [TEXT])
        inside.set()
        assert leave.wait(10)
        return [b"slow"]

    def quick(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [b"quick"]

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(Exchange(timeline), crossed(slow, "idle", strict=False))
        assert inside.wait(10)
        Exchange(timeline)(crossed(quick, "idle", strict=False))
        assert timeline == ["start", b"quick", "end"]
        leave.set()
        first.result(10)
    assert timeline[3:] == ["flush", "start", b"slow", "end"]


@pytest.mark.parametrize("mode", ["idle", "always"])
@pytest.mark.parametrize("where", ["app", "iter", "amid", "close", "gone", "file", "fine"])
def test_every_way_to_end_is_counted_once(
    sink: RecordingSink, timeline: list[object], mode: str, where: str
) -> None:
    """In mode idle a miscount would keep the next request from being flushed."""

    def fail() -> None:
        raise LookupError

    def broken(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise LookupError

    app = {
        "app": broken,
        "amid": streaming(timeline, b"ab", b"cd", tail=fail),
        "gone": streaming(timeline, b"ab", b"cd"),
        "file": lambda environ, start_response: (
            start_response("200 OK", [TEXT]),
            FileWrapper(BytesIO(b"ab")),
        )[1],
    }.get(where, failing(timeline, where))
    exchange = Exchange(
        timeline,
        strict=False,
        give_up_after=1 if where == "gone" else None,
        environ={"wsgi.file_wrapper": FileWrapper},
    )
    try:
        exchange(crossed(app, mode, strict=False))
    except LookupError:
        assert where in {"app", "iter", "amid", "close"}
    assert timeline.count("flush") == 1
    Exchange(timeline)(crossed(streaming(timeline), mode))
    assert timeline.count("flush") == 2


@pytest.mark.parametrize("fetched", [0, 1])
def test_response_that_nobody_closes_is_in_flight_only_as_long_as_it_lives(
    sink: RecordingSink, timeline: list[object], fetched: int
) -> None:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    response = crossed(streaming(timeline, b"ab", b"cd"), "idle", strict=False)(
        environ, lambda *_: bytearray().extend
    )
    assert [*islice(response, fetched)] == [b"ab"][:fetched]
    del response
    gc.collect()
    assert sink.flushing.wait(10)
    timeline.clear()
    Exchange(timeline)(crossed(streaming([], b"ab"), "idle"))
    assert timeline[-2:] == ["flush", "end"]


def test_sink_that_hangs_holds_the_response_no_longer_than_allowed(
    sink: RecordingSink, timeline: list[object]
) -> None:
    sink.opened.clear()
    app = ctxkit.WSGIMiddleware(streaming(timeline, b"ab"), mode="always", timeout=0.05)
    Exchange(timeline)(app)
    assert timeline == ["start", b"ab", "tail", "closed", "end"]


def test_budget_is_what_the_host_leaves(sink: RecordingSink, timeline: list[object]) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 1000

    seen: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(ctxkit.current().deadline)
        start_response("200 OK", [TEXT])
        return []

    environ = {"serverless.context": Context()}
    Exchange(timeline, environ=environ)(ctxkit.WSGIMiddleware(app, mode="always", timeout=5))
    assert sink.timeouts[0] <= 0.9
    assert isinstance(seen[0], ctxkit.Deadline)


def test_response_that_is_complete_by_write_leaves_although_the_application_then_raises(
    sink: RecordingSink, timeline: list[object]
) -> None:
    error = ValueError("too late")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [TEXT, ("Content-Length", "2")])(b"ab")
        raise error

    with pytest.raises(ValueError, match="too late") as raised:
        Exchange(timeline)(ctxkit.WSGIMiddleware(app, mode="always"))
    assert raised.value is error
    assert timeline == ["flush", "start", b"ab", "end"]


def test_response_without_content_that_begins_anew_has_all_of_its_content(
    sink: RecordingSink, timeline: list[object]
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return beginning_anew(start_response)

    def beginning_anew(start_response: StartResponse) -> Iterator[bytes]:
        try:
            raise LookupError("after all")
        except LookupError:
            headers = [TEXT, ("Content-Length", "4")]
            start_response("500 Oh", headers, sys.exc_info())
        yield b"ab"
        yield b"cd"

    exchange = Exchange(timeline)(ctxkit.WSGIMiddleware(app, mode="always"))
    assert exchange.status == "500 Oh"
    assert timeline == ["start", b"ab", "flush", b"cd", "end"]
