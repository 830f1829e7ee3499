"""What the WSGI boundary knows and forgets; what it holds is in test_wsgi_holding."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from helpers.wsgi import Exchange

import ctxkit
from ctxkit.boundary import CROSSING, PATH, PROTOCOL, REQUEST_ID, BoundaryOptions, cross_wsgi
from ctxkit.boundary.holding import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from helpers.timeline import RecordingSink

MODES = pytest.mark.parametrize("mode", ["never", "always"])
TEXT = [("Content-Type", "text/plain")]

colour: ContextVar[str] = ContextVar("colour", default="none")


def telling(seen: dict[str, object], headers: list[tuple[str, str]] = TEXT) -> WSGIApplication:
    """Return an application that writes down its frame."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.clear()
        seen.update(ctxkit.current())
        start_response("200 OK", list(headers))
        return [b"ok"]

    return app


@MODES
def test_frame_tells_id_method_path_and_protocol(mode: str) -> None:
    seen: dict[str, object] = {}
    exchange = Exchange(REQUEST_METHOD="POST", SCRIPT_NAME="/shop", PATH_INFO="/cart")
    exchange(ctxkit.WSGIMiddleware(validator(telling(seen)), mode=mode))
    request_id = seen.pop("request_id")
    assert seen == {"method": "POST", "path": "/shop/cart", "protocol": "http"}
    assert exchange.header("X-Request-ID") == [request_id]
    assert exchange.body == b"ok"


def test_path_in_disguise_is_decoded() -> None:
    seen: dict[str, object] = {}
    path = "/caf\u00e9\u2615"
    disguised = path.encode().decode("latin-1")
    Exchange(PATH_INFO=disguised)(ctxkit.WSGIMiddleware(telling(seen), mode="never"))
    assert seen["path"] == path
    Exchange(PATH_INFO="/\xff")(ctxkit.WSGIMiddleware(telling(seen), mode="never"))
    assert seen["path"] == "/\ufffd"
    # Adapters that disguise nothing are for the application to complain about.
    Exchange(PATH_INFO="/\u2615")(ctxkit.WSGIMiddleware(telling(seen), mode="never"))
    assert seen["path"] == "/?"


def test_inbound_id_is_taken_over_and_sent_back() -> None:
    seen: dict[str, object] = {}
    exchange = Exchange(HTTP_X_REQUEST_ID="abc-1")
    exchange(ctxkit.WSGIMiddleware(telling(seen), mode="never"))
    assert seen["request_id"] == "abc-1"
    assert "client_request_id" not in seen
    assert exchange.header("X-Request-ID") == ["abc-1"]


@pytest.mark.parametrize(("inbound", "trust"), [("a b", True), ("abc", False)])
def test_refused_id_is_kept_apart_and_not_sent_back(inbound: str, *, trust: bool) -> None:
    seen: dict[str, object] = {}
    app = ctxkit.WSGIMiddleware(telling(seen), mode="never", trust_request_id=trust)
    exchange = Exchange(HTTP_X_REQUEST_ID=inbound)(app)
    assert seen["client_request_id"] == inbound
    assert exchange.header("X-Request-ID") == [seen["request_id"]] != [inbound]


def test_header_that_the_application_set_stays_alone() -> None:
    app = telling({}, [*TEXT, ("x-request-ID", "mine")])
    exchange = Exchange()(ctxkit.WSGIMiddleware(app, mode="never"))
    assert exchange.header("X-Request-ID") == ["mine"]


def test_other_header_and_none() -> None:
    seen: dict[str, object] = {}
    app = ctxkit.WSGIMiddleware(telling(seen), mode="never", request_id_header="X-Trace")
    exchange = Exchange(HTTP_X_TRACE="abc", HTTP_X_REQUEST_ID="other")(app)
    assert (seen["request_id"], exchange.header("X-Trace")) == ("abc", ["abc"])
    app = ctxkit.WSGIMiddleware(telling(seen), mode="never", request_id_header=None)
    exchange = Exchange(HTTP_X_REQUEST_ID="other")(app)
    assert seen["request_id"] != "other"
    assert exchange.headers == TEXT


def test_applications_own_header_list_is_not_changed() -> None:
    constant = list(TEXT)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", constant)
        return []

    for _ in range(2):
        exchange = Exchange()(ctxkit.WSGIMiddleware(app, mode="never"))
        assert len(exchange.header("X-Request-ID")) == 1
    assert constant == TEXT


class Body:
    """A body that writes down where its steps ran, and sets a value in each."""

    def __init__(self, seen: list[tuple[str, str]]) -> None:
        self.seen = seen
        self.steps = iter(("one", "two"))

    def _note(self, step: str) -> None:
        self.seen.append((colour.get(), REQUEST_ID.get("?")))
        colour.set(step)

    def __iter__(self) -> Iterator[bytes]:
        self._note("iter")
        return self

    def __next__(self) -> bytes:
        step = next(self.steps, "last")
        self._note(step)
        if step == "last":
            raise StopIteration
        return step.encode()

    def close(self) -> None:
        self._note("close")


@MODES
def test_every_step_of_the_body_runs_in_the_requests_own_context(mode: str) -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        colour.set("app")
        start_response("200 OK", list(TEXT))
        return Body(seen)

    exchange = Exchange(HTTP_X_REQUEST_ID="abc")(ctxkit.WSGIMiddleware(app, mode=mode))
    assert [value for value, _ in seen] == ["app", "iter", "one", "two", "last"]
    assert {request_id for _, request_id in seen} == {"abc"}
    assert exchange.body == b"onetwo"
    assert colour.get() == "none"
    assert ctxkit.current() is ctxkit.context.NO_FRAME


@MODES
def test_body_may_be_read_and_closed_in_another_thread(mode: str) -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", list(TEXT))
        return Body(seen)

    exchange = Exchange(HTTP_X_REQUEST_ID="abc", strict=False)
    result = ctxkit.WSGIMiddleware(app, mode=mode)(exchange.environ, exchange._start_response)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(list, result).result(10) == [b"one", b"two"]
    result.close()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(result.close).result(10)  # type: ignore[attr-defined]
    assert [value for value, _ in seen] == ["none", "iter", "one", "two", "last"]
    assert {request_id for _, request_id in seen} == {"abc"}


@MODES
def test_body_that_is_only_closed_in_another_thread_is_closed_in_its_context(mode: str) -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", list(TEXT))
        return Body(seen)

    exchange = Exchange(HTTP_X_REQUEST_ID="abc", strict=False)
    result = ctxkit.WSGIMiddleware(app, mode=mode)(exchange.environ, exchange._start_response)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(result.close).result(10)  # type: ignore[attr-defined]
    assert seen == [("none", "abc"), ("iter", "abc")]


@MODES
@pytest.mark.parametrize("where", ["app", "iter"])
def test_failure_closes_the_crossing_and_comes_out_as_the_same_object(
    mode: str, where: str
) -> None:
    error = LookupError("mine")

    class Unusable:
        def __iter__(self) -> Iterator[bytes]:
            raise error

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if where == "app":
            raise error
        return Unusable()

    exchange = Exchange(strict=False)
    with pytest.raises(LookupError) as caught:
        exchange(ctxkit.WSGIMiddleware(app, mode=mode))
    assert caught.value is error
    assert not exchange.environ[CROSSING].open


@MODES
def test_error_page_replaces_the_response_and_has_the_id_once(mode: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        start_response("500 Oh", list(TEXT), (KeyError, KeyError("x"), None))
        yield b"sorry"

    exchange = Exchange(strict=False)(ctxkit.WSGIMiddleware(app, mode=mode))
    assert (exchange.status, exchange.body) == ("500 Oh", b"sorry")
    assert len(exchange.header("X-Request-ID")) == 1


@MODES
def test_django_locals_are_there_in_whichever_thread_the_body_is_closed(mode: str) -> None:
    local = pytest.importorskip("asgiref.local").Local()
    seen: list[str] = []

    class Closing(Body):
        def close(self) -> None:
            seen.append(local.language)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        local.language = "fr"
        start_response("200 OK", list(TEXT))
        return Closing([])

    exchange = Exchange(strict=False)
    result = ctxkit.WSGIMiddleware(app, mode=mode)(exchange.environ, exchange._start_response)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(result.close).result(10)  # type: ignore[attr-defined]
    assert seen == ["fr"]


@MODES
def test_closed_body_closes_the_crossing(mode: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", list(TEXT))
        return Body([])

    exchange = Exchange(strict=False)(ctxkit.WSGIMiddleware(app, mode=mode))
    assert not exchange.environ[CROSSING].open


def test_process_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def prepare(*, holds: bool) -> None:
        calls.append("prepared")

    monkeypatch.setattr("ctxkit.boundary.invocations.prepare", prepare)
    monkeypatch.setattr(IN_FLIGHT, "prepared", False)
    for _ in range(2):
        Exchange()(ctxkit.WSGIMiddleware(telling({}), mode="never"))
    assert calls == ["prepared"]


def test_list_in_never_mode_reaches_the_server_as_it_is() -> None:
    body = [b"ok"]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        return body

    exchange = Exchange(strict=False)(ctxkit.WSGIMiddleware(app, mode="never"))
    assert exchange.result is body


def test_values_are_laid_over_and_lazy_ones_stay_lazy() -> None:
    seen: dict[str, object] = {}
    answers = ["early"]
    exchange = Exchange()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        return lambda _: None

    def app(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        answers[0] = "late"
        return telling(seen)(environ, start)  # type: ignore[return-value]

    values = {"route": ctxkit.context.Lazy(lambda _: answers[0]), "path": "/mine"}
    cross_wsgi(app, exchange.environ, start_response, BoundaryOptions(), values)
    assert (seen["route"], seen["path"]) == ("late", "/mine")


def test_values_bound_around_the_server_are_inherited() -> None:
    seen: dict[str, object] = {}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        assert ctxkit.current().root is ctxkit.current()
        return telling(seen)(environ, start_response)

    with ctxkit.bind(service="shop"):
        Exchange()(ctxkit.WSGIMiddleware(app, mode="never"))
    assert seen["service"] == "shop"
    assert PATH.name in seen


def test_nested_boundary_adds_its_values_and_passes_through(
    sink: RecordingSink, timeline: list[object]
) -> None:
    seen: dict[str, object] = {}

    def inner(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        options = BoundaryOptions.resolve("always")
        return cross_wsgi(telling(seen), environ, start_response, options, {"user": "u"})

    exchange = Exchange(timeline)(ctxkit.WSGIMiddleware(inner, mode="always"))
    assert timeline == ["flush", "start", b"ok", "end"]
    assert seen["user"] == "u"
    assert exchange.header("X-Request-ID") == [seen["request_id"]]


def test_finished_crossing_in_a_reused_environ_counts_for_nothing() -> None:
    seen: dict[str, object] = {}
    app = ctxkit.WSGIMiddleware(telling(seen), mode="never")
    exchange = Exchange(strict=False)
    exchange(app)
    first = seen["request_id"]
    again = Exchange(strict=False, environ=exchange.environ)(app)
    assert again.header("X-Request-ID") == [seen["request_id"]] != [first]
    assert again.environ[CROSSING].request_id == seen["request_id"]


def test_context_of_another_request_is_not_taken_over() -> None:
    """A server that starts one request from within another's context."""
    seen: dict[str, object] = {}
    colours: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        colours.append(colour.get())
        return telling(seen)(environ, start_response)  # type: ignore[return-value]

    second = ctxkit.WSGIMiddleware(app, mode="never")

    def first(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        colour.set("first")
        with ctxkit.bind(secret="s"):
            Exchange()(second)
        start_response("200 OK", list(TEXT))
        return []

    Exchange()(ctxkit.WSGIMiddleware(first, mode="never"))
    assert "secret" not in seen
    assert colours == ["none"]


def test_frame_of_a_function_is_inherited_with_its_deadline(
    sink: RecordingSink, timeline: list[object]
) -> None:
    """A Lambda handler that hands its event to a WSGI application."""
    seen: dict[str, object] = {}
    values = {"request_id": "aws", "tenant": "t", "protocol": "aws-lambda"}
    frame = ctxkit.Frame(values, deadline=ctxkit.Deadline.after(1))

    def serve() -> None:
        ctxkit.context._current.CURRENT.set(frame)
        Exchange(timeline)(ctxkit.WSGIMiddleware(telling(seen), mode="always", timeout=5))

    copy_context().run(serve)
    assert (seen["tenant"], seen[PROTOCOL.name]) == ("t", "http")
    assert seen["request_id"] != "aws"
    assert sink.timeouts[0] <= 0.9
