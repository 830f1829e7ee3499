from __future__ import annotations

import logging
import queue
from logging.handlers import QueueHandler
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.follow import in_plain_thread
from helpers.wsgi import Exchange

import ctxkit
from ctxkit import Key, RequestIdFilter, bind
from ctxkit.boundary import WSGIMiddleware
from ctxkit.context import Lazy


def record(**more: Any) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.INFO, __file__, 1, "text", None, None)
    vars(made).update(more)
    return made


def filtered(made: logging.LogRecord, **arguments: Any) -> object:
    assert ctxkit.RequestIdFilter(**arguments).filter(made)
    return vars(made)["request_id"]


def test_record_outside_of_a_request_gets_the_default() -> None:
    assert filtered(record()) == "-"
    assert filtered(record(), default="none") == "none"
    assert filtered(record(request=object())) == "-"
    # OAuth's requests have a scope too.
    assert filtered(record(request=SimpleNamespace(scope="read write", META=None))) == "-"


def test_record_inside_of_a_request_gets_its_id() -> None:
    with ctxkit.bind(request_id="abc"):
        assert filtered(record()) == "abc"


def test_id_that_the_record_has_is_kept() -> None:
    with ctxkit.bind(request_id="abc"):
        assert filtered(record(request_id="mine")) == "mine"


@pytest.mark.parametrize("attribute", ["META", "scope"])
def test_record_with_a_request_gets_the_id_of_its_crossing(attribute: str) -> None:
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return []

    exchange = Exchange(HTTP_X_REQUEST_ID="abc")(WSGIMiddleware(app, mode="never"))
    assert exchange.header("X-Request-ID") == ["abc"]
    assert filtered(record(request=SimpleNamespace(**{attribute: seen}))) == "abc"


def test_filter_by_name_still_filters() -> None:
    assert ctxkit.RequestIdFilter("a").filter(record())
    assert not ctxkit.RequestIdFilter("z").filter(record())


def test_filter_sets_keys_that_go_to_logs_and_overwrites_nothing() -> None:
    key = Key[str]("tenant_in_logs", hops={"log"})
    other = Key[str]("name", hops={"log"})  # a record has one of its own
    made = logging.makeLogRecord({"name": "shop"})
    with bind({key: "acme", other: "bound"}, user="alice"):
        RequestIdFilter().filter(made)
    with bind({key: "later"}):
        RequestIdFilter().filter(made)
    assert vars(made)["tenant_in_logs"] == "acme"
    assert made.name == "shop"
    assert "user" not in vars(made)


def test_filter_on_a_queue_handler_stamps_before_the_record_changes_threads() -> None:
    Key[str]("tenant_in_queue", hops={"log"})
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(records)
    handler.addFilter(RequestIdFilter())
    with bind(tenant_in_queue="acme", request_id="abc"):
        handler.handle(logging.makeLogRecord({"msg": "hello"}))
    made: Any = in_plain_thread(records.get, True, 10)  # noqa: FBT003 - it has no other names
    assert (made.tenant_in_queue, made.request_id) == ("acme", "abc")


def test_filter_stands_keys_that_name_a_method_or_cannot_be_computed() -> None:
    Key[str]("getMessage", hops={"log"})
    Key[object]("broken_in_logs", hops={"log"})
    made = logging.makeLogRecord({"msg": "hello"})
    with bind({"getMessage": "bound", "broken_in_logs": Lazy(lambda _: 1 / 0)}):
        RequestIdFilter().filter(made)
    assert made.getMessage() == "hello"
    assert "broken_in_logs" not in vars(made)
