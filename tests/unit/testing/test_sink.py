from __future__ import annotations

import gzip
import http.client
import importlib.util
import json
import socket
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, get_args

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.testing import Behaviour, Exchange, TelemetrySink, Times, _destination

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE = "0af7651916cd43dd8448eb211c80319c"


def envelope(*items: tuple[str, dict[str, object]]) -> bytes:
    lines = [b"{}"]
    for kind, payload in items:
        body = json.dumps(payload).encode()
        lines += [json.dumps({"type": kind, "length": len(body)}).encode(), body]
    return b"\n".join(lines) + b"\n"


def post(
    port: int, path: str, body: bytes, headers: dict[str, str] | None = None, timeout: float = 5
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def exchange(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/", MESSAGE)
    connection.getresponse().read()


def sentry_port(sink: TelemetrySink) -> int:
    return int(sink.dsn.rpartition(":")[2].partition("/")[0])


MESSAGE = envelope(("event", {"message": "hello", "contexts": {"trace": {"trace_id": TRACE}}}))


def test_sentry_envelope_with_containers_yields_one_item_per_entry() -> None:
    body = envelope(
        ("event", {"exception": {"values": [{"type": "ValueError", "value": "boom"}]}}),
        ("transaction", {"transaction": "/a", "contexts": {"trace": {"trace_id": TRACE}}}),
        ("log", {"items": [{"body": "one", "trace_id": TRACE}, {"body": "two"}]}),
        ("trace_metric", {"items": [{"name": "cups", "trace_id": TRACE}]}),
        ("span", {"items": [{"name": "query", "trace_id": TRACE}]}),
        ("sessions", {"aggregates": []}),
        ("client_report", {"discarded_events": []}),
    )
    with TelemetrySink() as sink:
        assert post(sentry_port(sink), "/api/1/envelope/", body)[0] == 200
        items = sink.items
    assert [(item.kind, item.name, item.trace_id) for item in items] == [
        ("sentry.event", "ValueError: boom", None),
        ("sentry.transaction", "/a", TRACE),
        ("sentry.log", "one", TRACE),
        ("sentry.log", "two", None),
        ("sentry.metric", "cups", TRACE),
        ("sentry.span", "query", TRACE),
        ("sentry.session", "sessions", None),
        ("sentry.client_report", "client_report", None),
    ]


def test_sentry_item_without_length_and_payload_with_newline_are_told_apart() -> None:
    blob = b'{"message":\n"a"}'
    body = b"{}\n" + json.dumps({"type": "event", "length": len(blob)}).encode() + b"\n" + blob
    body += b'\n{"type":"attachment"}\nnot json\n'
    with TelemetrySink() as sink:
        post(sentry_port(sink), "/api/1/envelope/", body)
        assert [(item.kind, item.name) for item in sink.items] == [
            ("sentry.event", "a"),
            ("sentry.attachment", "attachment"),
        ]


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_body_with_content_encoding_is_decoded(
    encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    with TelemetrySink() as sink:
        port = sentry_port(sink)
        status, _ = post(port, "/", encode(MESSAGE), {"Content-Encoding": encoding})
        assert status == 200
        assert [item.name for item in sink.items] == ["hello"]


def test_body_in_brotli_is_decoded() -> None:
    brotli = pytest.importorskip("brotli")
    with TelemetrySink() as sink:
        headers = {"Content-Encoding": "br"}
        assert post(sentry_port(sink), "/", brotli.compress(MESSAGE), headers)[0] == 200
        assert [item.name for item in sink.items] == ["hello"]


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        (b"no json", {}, "Expecting value"),
        (b'{}\n{"type":"event","length":99}\n{}', {}, "announces 99 bytes"),
        (b"{}\n[]\n{}", {}, "expected a JSON object"),
        (b"plain", {"Content-Encoding": "gzip"}, "not compressed"),
        (gzip.compress(MESSAGE)[:-9], {"Content-Encoding": "gzip"}, "cut off"),
        (MESSAGE, {"Content-Encoding": "zstd"}, "unknown content encoding"),
    ],
)
def test_unreadable_body_is_answered_400_and_kept_as_problem(
    body: bytes, headers: dict[str, str], problem: str
) -> None:
    with TelemetrySink() as sink:
        assert post(sentry_port(sink), "/api/1/envelope/", body, headers)[0] == 400
        assert sink.items == []
        assert problem in sink.problems[0]


def test_items_are_stamped_before_and_after_the_latency() -> None:
    with TelemetrySink(latency=0.05) as sink:
        before = time.time()
        post(sentry_port(sink), "/", MESSAGE)
        after = time.time()
        [item] = sink.items
    assert before <= item.arrived <= item.acknowledged - 0.04
    assert item.acknowledged <= after


def test_connection_is_kept_alive_for_the_next_request() -> None:
    with TelemetrySink() as sink:
        connection = http.client.HTTPConnection("127.0.0.1", sentry_port(sink), timeout=5)
        locals_seen = set()
        for _ in range(3):
            exchange(connection)
            locals_seen.add(connection.sock.getsockname())
        connection.close()
    assert len(locals_seen) == 1
    assert len(sink.items) == 3


@pytest.mark.parametrize(("behaviour", "status"), [("fail", 500), ("rate-limit", 429)])
def test_behaviour_that_answers_accepts_no_item(behaviour: Behaviour, status: int) -> None:
    with TelemetrySink() as sink:
        sink.behaviour = behaviour
        assert post(sentry_port(sink), "/", MESSAGE)[0] == status
        assert (sink.items, sink.requests) == ([], 1)
        sink.behaviour = "ok"
        assert post(sentry_port(sink), "/", MESSAGE)[0] == 200


def test_behaviour_hang_reads_the_request_and_never_answers() -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "hang"
        with pytest.raises(TimeoutError):
            post(sentry_port(sink), "/", MESSAGE, timeout=0.2)
        assert (sink.items, sink.requests) == ([], 1)


def test_close_while_requests_hang_lets_their_clients_go() -> None:
    outcome: list[Exception] = []

    def client(port: int) -> None:
        try:
            post(port, "/", MESSAGE, timeout=30)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    with TelemetrySink() as sink:
        sink.behaviour = "hang"
        thread = threading.Thread(target=client, args=(sentry_port(sink),))
        thread.start()
        deadline = time.monotonic() + 5
        while not sink.requests and time.monotonic() < deadline:
            time.sleep(0.01)
    thread.join(5)
    assert not thread.is_alive()
    assert not isinstance(outcome[0], TimeoutError)


def test_behaviour_refuse_refuses_and_ok_serves_on_the_same_port() -> None:
    with TelemetrySink() as sink:
        port = sentry_port(sink)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        exchange(kept)
        sink.behaviour = "refuse"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            exchange(kept)
        kept.close()
        sink.behaviour = "ok"
        assert sentry_port(sink) == port
        assert post(port, "/", MESSAGE)[0] == 200


def test_behaviour_drip_acknowledges_with_the_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_destination, "DRIP_PAUSE", 0.001)
    with TelemetrySink() as sink:
        sink.behaviour = "drip"
        port = sentry_port(sink)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(MESSAGE))
            connection.sendall(MESSAGE)
            pieces = 0
            answer = b""
            while not answer.endswith(b"{}"):
                piece = connection.recv(4096)
                pieces += 1
                answer += piece
                if not answer.endswith(b"{}"):
                    assert sink.items == []
            assert [item.name for item in sink.wait_for(1)] == ["hello"]
    assert pieces > 20


def test_behaviour_drip_outlasts_a_client_s_timeout_for_each_read() -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "drip"
        connection = http.client.HTTPConnection("127.0.0.1", sentry_port(sink), timeout=0.5)
        begun = time.monotonic()
        thread = threading.Timer(1.5, sink.hang_up)
        thread.start()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            exchange(connection)
        connection.close()
        thread.join()
        assert time.monotonic() - begun > 1.4
        assert sink.items == []


def test_behaviour_reset_reads_the_request_and_resets() -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "reset"
        with pytest.raises(ConnectionResetError):
            post(sentry_port(sink), "/", MESSAGE)
        assert (sink.items, sink.requests) == ([], 1)


def test_behaviour_reset_after_first_resets_the_second_request_of_a_connection() -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "reset-after-first"
        connection = http.client.HTTPConnection("127.0.0.1", sentry_port(sink), timeout=5)
        exchange(connection)
        with pytest.raises(ConnectionResetError):
            exchange(connection)
        connection.close()
        assert post(sentry_port(sink), "/", MESSAGE)[0] == 200
        assert (len(sink.items), sink.requests) == (2, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops SYN packets")
def test_behaviour_black_hole_lets_nobody_connect_until_it_ends() -> None:
    with TelemetrySink() as sink:
        port = sentry_port(sink)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=0.2)
        exchange(kept)
        sink.behaviour = "black-hole"
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), timeout=0.3)
        with pytest.raises(TimeoutError):
            exchange(kept)
        kept.close()
        sink.behaviour = "ok"
        assert post(port, "/", MESSAGE)[0] == 200
        assert len(sink.items) == 2


def test_behaviour_black_hole_elsewhere_than_on_linux_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with TelemetrySink() as sink, pytest.raises(ConfigurationError, match="only Linux"):
        sink.behaviour = "black-hole"
    assert sink.behaviour == "ok"


@pytest.mark.parametrize("behaviour", ["refuse", "black-hole"])
def test_behaviour_that_was_set_before_it_runs_holds_when_it_does(behaviour: Behaviour) -> None:
    if behaviour == "black-hole" and sys.platform != "linux":
        pytest.skip("only Linux drops SYN packets")
    sink = TelemetrySink()
    sink.behaviour = behaviour
    with sink, pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection(("127.0.0.1", sentry_port(sink)), timeout=0.3)


def test_behaviours_may_be_set_in_any_order() -> None:
    with TelemetrySink() as sink:
        for behaviour in (*get_args(Behaviour), *reversed(get_args(Behaviour))):
            if behaviour != "black-hole" or sys.platform == "linux":
                sink.behaviour = behaviour
            sink.behaviour = "ok"
            assert post(sentry_port(sink), "/", MESSAGE)[0] == 200


@pytest.mark.parametrize(
    ("value", "sent"),
    [(2, "2"), (0.5, "0.5"), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("soon", None), (None, "")],
)
def test_retry_after_is_sent_as_it_was_set(value: Any, sent: str | None) -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "rate-limit"
        sink.retry_after = value
        connection = http.client.HTTPConnection("127.0.0.1", sentry_port(sink), timeout=5)
        connection.request("POST", "/", MESSAGE)
        response = connection.getresponse()
        connection.close()
    expected = None if value is None else sent or value
    assert (response.status, response.getheader("Retry-After")) == (429, expected)


@pytest.mark.parametrize("name", ["latency", "retry_after", "sentry_latency", "otlp_latency"])
def test_negative_seconds_are_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match="zero or more"):
        setattr(TelemetrySink(), name, -1)


def test_latency_of_one_kind_leaves_the_other_alone() -> None:
    sink = TelemetrySink(latency=0.5)
    sink.otlp_latency = 0.1
    assert (sink.sentry_latency, sink.otlp_latency, sink.latency) == (0.5, 0.1, 0.5)


def test_hang_up_lets_hanging_clients_go_and_serves_on() -> None:
    with TelemetrySink() as sink:
        sink.behaviour = "hang"
        thread = threading.Timer(0.1, sink.hang_up)
        thread.start()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(sentry_port(sink), "/", MESSAGE, timeout=30)
        thread.join()
        sink.behaviour = "ok"
        assert post(sentry_port(sink), "/", MESSAGE)[0] == 200


def test_close_while_an_answer_is_due_acknowledges_nothing() -> None:
    with TelemetrySink(latency=30) as sink:
        thread = threading.Timer(0.2, sink.close)
        thread.start()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(sentry_port(sink), "/", MESSAGE, timeout=30)
        thread.join()
    assert (sink.items, sink.requests) == ([], 1)


def test_landed_is_what_was_acknowledged_before_the_answer_was_complete() -> None:
    with TelemetrySink() as sink:
        post(sentry_port(sink), "/", MESSAGE)
        now = time.time()
        times = Times(thawed=None, sent=now, first_byte=now, complete=now, stopped=None)
        post(sentry_port(sink), "/", envelope(("event", {"message": "late"})))
        landed = sink.landed(Exchange(200, (), b"", times))
    assert [item.name for item in landed] == ["hello"]


def test_environ_names_what_the_sdks_read() -> None:
    with TelemetrySink() as sink:
        environ = sink.environ
        assert environ["SENTRY_DSN"] == sink.dsn
        spec = importlib.util.find_spec
        if spec("opentelemetry") and spec("opentelemetry.proto"):
            assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == sink.otlp_endpoint


def test_behaviour_of_one_kind_leaves_the_other_alone() -> None:
    pytest.importorskip("opentelemetry.proto")
    with TelemetrySink() as sink:
        sink.otlp_behaviour = "fail"
        assert post(sentry_port(sink), "/", MESSAGE)[0] == 200
        otlp = int(sink.otlp_endpoint.rpartition(":")[2])
        assert post(otlp, "/v1/traces", b"")[0] == 500


def test_behaviour_of_unknown_name_is_a_configuration_error() -> None:
    with TelemetrySink() as sink, pytest.raises(ConfigurationError, match="rate-limit"):
        sink.behaviour = "explode"


def test_wait_for_count_returns_when_another_thread_delivers() -> None:
    with TelemetrySink() as sink:
        thread = threading.Timer(0.05, post, (sentry_port(sink), "/", MESSAGE))
        thread.start()
        assert [item.name for item in sink.wait_for(1, timeout=5)] == ["hello"]
        thread.join()


def test_wait_for_predicate_returns_only_what_counts() -> None:
    with TelemetrySink() as sink:
        post(sentry_port(sink), "/", envelope(("event", {"message": "a"}), ("log", {"body": "b"})))
        assert [i.name for i in sink.wait_for(lambda item: item.kind == "sentry.log")] == ["b"]
        with pytest.raises(TimeoutError, match="1 of 2 items"):
            sink.wait_for(lambda item: item.kind == "sentry.log", count=2, timeout=0.01)


def test_wait_for_too_few_says_what_came() -> None:
    with TelemetrySink() as sink:
        post(sentry_port(sink), "/", MESSAGE)
        post(sentry_port(sink), "/", b"nonsense")
        with pytest.raises(TimeoutError) as caught:
            sink.wait_for(2, timeout=0.01)
    assert f"sentry.event 'hello' trace {TRACE}" in str(caught.value)
    assert "unreadable" in str(caught.value)


def test_clear_forgets_items_and_requests() -> None:
    with TelemetrySink() as sink:
        post(sentry_port(sink), "/", MESSAGE)
        sink.clear()
        assert (sink.items, sink.requests, sink.problems) == ([], 0, [])


def test_request_without_length_is_refused_with_411() -> None:
    with (
        TelemetrySink() as sink,
        socket.create_connection(("127.0.0.1", sentry_port(sink)), timeout=5) as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 411")
