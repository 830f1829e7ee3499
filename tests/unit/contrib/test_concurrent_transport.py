from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

sentry_sdk = pytest.importorskip("sentry_sdk")
with contextlib.suppress(ImportError):  # of versions that have no logs
    import sentry_sdk.logger

from helpers.land_sentry import sentry_set_up  # noqa: E402 - needs the SDK
from sentry_sdk.envelope import Envelope, Item, PayloadRef  # noqa: E402

from ctxkit.contrib.sentry import ConcurrentTransport  # noqa: E402
from ctxkit.exceptions import ConfigurationError  # noqa: E402
from ctxkit.flushing import flush, prepare  # noqa: E402
from ctxkit.testing import TelemetrySink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def backend() -> Iterator[TelemetrySink]:
    with TelemetrySink() as sink:
        yield sink


class Recording(ConcurrentTransport):
    """Keeps what the SDK tells of losses, and how many requests were under way at once."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.dropped: list[str] = []
        self.under_way = self.most = 0
        self.lock = threading.Lock()

    def on_dropped_event(self, reason: str) -> None:
        self.dropped.append(reason)

    def _request(self, *args: Any, **named: Any) -> Any:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            return super()._request(*args, **named)
        finally:
            with self.lock:
                self.under_way -= 1


def names(backend: TelemetrySink) -> list[str]:
    return sorted(item.name for item in backend.items)


def envelope_of(kind: str, number: int) -> Any:
    payload = {"sid": str(number), "number": number, "status": "ok"}
    return Envelope(items=[Item(payload=PayloadRef(json=payload), type=kind)])


def test_envelopes_are_sent_at_once(backend: TelemetrySink) -> None:
    backend.latency = 0.5  # long beside what 16 threads need to begin
    with sentry_set_up(backend.dsn, transport=Recording) as client:
        for number in range(16):
            sentry_sdk.capture_message(str(number))
        client.flush(10)

        assert names(backend) == sorted(map(str, range(16)))
        assert client.transport.most == 16
        # None begins after another has been answered.
        last_arrival = max(item.arrived for item in backend.items)
        assert last_arrival <= min(item.acknowledged for item in backend.items)


def test_senders_are_what_a_derived_class_says(backend: TelemetrySink) -> None:
    class Two(Recording):
        senders = 2

    backend.latency = 0.02
    with sentry_set_up(backend.dsn, transport=Two) as client:
        for number in range(6):
            sentry_sdk.capture_message(str(number))
        client.flush(10)

        assert client.transport.most == 2
        assert len(backend.items) == 6


@pytest.mark.parametrize("senders", [0, -1, None, "8"])
def test_senders_that_are_no_number_from_1_up_are_refused(senders: Any) -> None:
    wrong = type("Wrong", (ConcurrentTransport,), {"senders": senders})

    with pytest.raises(ConfigurationError, match=r"Wrong\.senders is .*Use a number from 1 up"):
        sentry_sdk.Client("http://public@127.0.0.1:9/1", transport=wrong)


def test_flush_is_over_when_what_was_captured_before_is_sent(backend: TelemetrySink) -> None:
    """And not when the queue is empty, which under load it never is."""
    backend.latency = 0.01
    over = threading.Event()
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:

        def keep_busy() -> None:
            while not over.is_set():
                if client.transport._worker.unfinished < 30:
                    sentry_sdk.capture_message("another's")

        others = [threading.Thread(target=keep_busy) for _ in range(2)]
        for other in others:
            other.start()
        try:
            for number in range(3):
                sentry_sdk.capture_message(f"mine {number}")
                started = time.monotonic()
                client.flush(20)
                assert time.monotonic() - started < 15
                assert f"mine {number}" in names(backend)
        finally:
            over.set()
            for other in others:
                other.join()
        client.flush(20)


def test_flushes_of_a_sink_that_hangs_do_not_wait_for_each_other(backend: TelemetrySink) -> None:
    backend.behaviour = "hang"
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        sentry_sdk.capture_message("stuck")
        started = time.monotonic()
        flushes = [threading.Thread(target=client.flush, args=(0.5,)) for _ in range(8)]
        for each in flushes:
            each.start()
        for each in flushes:
            each.join()

        assert time.monotonic() - started < 3  # one after the other: 4


def test_flush_that_takes_a_while_tells_how_much_is_left(backend: TelemetrySink) -> None:
    backend.latency = 0.3
    told: list[tuple[int, float]] = []
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        sentry_sdk.capture_message("slow")
        client.flush(10, lambda *args: told.append(args))
        assert told == [(1, 10)]
        client.flush(10, lambda *args: told.append(args))
        assert len(told) == 1


def test_flush_reports_what_concurrent_senders_lost(backend: TelemetrySink) -> None:
    backend.behaviour = "fail"
    with sentry_set_up(backend.dsn, transport=Recording) as client:
        for _ in range(20):
            sentry_sdk.capture_message("lost")
        client.transport._worker.wait(client.transport._worker.mark(), 10)
        backend.behaviour = "ok"
        client.flush(10)

        [report] = [item for item in backend.items if item.kind == "sentry.client_report"]
        assert report.data["discarded_events"] == [
            {"reason": "network_error", "category": "error", "quantity": 20}
        ]
        assert client.transport.dropped == ["status_500"] * 20


class Slow(defaultdict[Any, int]):
    """A dict that lets others in between reading and writing."""

    def __getitem__(self, key: Any) -> int:
        value = super().__getitem__(key)
        time.sleep(0.0001)
        return value


def test_losses_counted_by_many_threads_add_up() -> None:
    with sentry_set_up("http://public@127.0.0.1:9/1", transport=ConcurrentTransport) as client:
        transport = client.transport
        transport._discarded_events = Slow(int)
        reported: list[int] = []

        def lose() -> None:
            for _ in range(100):
                transport.record_lost_event("test", "error")

        def report() -> None:
            while any(thread.is_alive() for thread in losing):
                time.sleep(0.01)
                item = transport._fetch_pending_client_report(force=True)
                if item is not None:
                    [entry] = json.loads(item.get_bytes())["discarded_events"]
                    reported.append(entry["quantity"])

        losing = [threading.Thread(target=lose) for _ in range(4)]
        reporting = threading.Thread(target=report)
        for thread in [*losing, reporting]:
            thread.start()
        for thread in [*losing, reporting]:
            thread.join()

        assert sum(reported) + sum(transport._discarded_events.values()) == 400


def test_later_end_of_a_rate_limit_stands_whichever_answer_comes_last() -> None:
    class Answer:
        def __init__(self, status: int, **headers: str) -> None:
            self.status = status
            self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    with sentry_set_up("http://public@127.0.0.1:9/1", transport=ConcurrentTransport) as client:
        transport = client.transport
        transport._update_rate_limits(Answer(200, x_sentry_rate_limits="900:error:organization"))
        end = transport._disabled_until["error"]
        transport._update_rate_limits(
            Answer(200, x_sentry_rate_limits="5:error;transaction:organization")
        )
        transport._update_rate_limits(Answer(429))

        assert transport._disabled_until["error"] == end
        assert set(transport._disabled_until) == {"error", "transaction", None}
        assert not transport.is_healthy()


def test_envelopes_are_held_back_while_rate_limited(backend: TelemetrySink) -> None:
    backend.behaviour = "rate-limit"
    with sentry_set_up(backend.dsn, transport=Recording) as client:
        for _ in range(4):
            sentry_sdk.capture_message("answered 429")
        client.flush(10)
        requests = backend.requests
        for _ in range(4):
            sentry_sdk.capture_message("held back")
        client.flush(10)

        assert backend.requests == requests
        assert client.transport.dropped.count("self_rate_limits") >= 4


def test_queue_that_is_full_drops_and_counts(backend: TelemetrySink) -> None:
    backend.behaviour = "hang"

    class One(Recording):
        senders = 1

    with sentry_set_up(backend.dsn, transport=One, transport_queue_size=2) as client:
        sentry_sdk.capture_message("under way")
        deadline = time.monotonic() + 10
        while not client.transport.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        for _ in range(3):
            sentry_sdk.capture_message("waiting")

        assert client.transport.dropped == ["full_queue"]
        assert dict(client.transport._discarded_events) == {("error", "queue_overflow"): 1}
        assert not client.transport.is_healthy()


@pytest.mark.parametrize("kind", ["session", "check_in"])
def test_items_that_update_each_other_are_sent_in_order(backend: TelemetrySink, kind: str) -> None:
    backend.latency = 0.01
    with sentry_set_up(backend.dsn, transport=Recording) as client:
        for number in range(8):
            client.transport.capture_envelope(envelope_of(kind, number))
        sentry_sdk.capture_message("event")
        client.flush(10)

        arrived = sorted(backend.items, key=lambda item: item.arrived)
        numbers = [item.data["number"] for item in arrived if "number" in item.data]
        assert numbers == list(range(8))
        assert [item.kind for item in arrived].index("sentry.event") < 8


def test_connections_are_kept_for_each_sender(backend: TelemetrySink) -> None:
    backend.latency = 0.05
    connections: set[Any] = set()
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        for _ in range(3):
            for number in range(8):
                sentry_sdk.capture_message(str(number))
            client.flush(10)
            connections |= set(backend._sentry.listener.connections)

    assert len(connections) == 8


@pytest.mark.parametrize(
    ("options", "nodelay"),
    [
        ({}, 1),  # urllib3's own
        ({"keep_alive": True}, 1),
        ({"socket_options": []}, 0),
        ({"keep_alive": True, "socket_options": [(6, socket.TCP_NODELAY, 0)]}, 0),
    ],
)
def test_nagles_algorithm_is_off_unless_the_user_says_otherwise(
    backend: TelemetrySink, options: Any, nodelay: int
) -> None:
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport, **options) as client:
        connection = client.transport._pool.connection_from_url(backend.dsn).pool
        made = client.transport._pool.connection_from_url(backend.dsn)._new_conn()
        made.connect()
        try:
            found = made.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            made.close()
        assert bool(found) == bool(nodelay)
        assert connection.maxsize == 16


def test_pool_of_a_proxy_has_room_for_every_sender() -> None:
    options = {"http_proxy": "http://127.0.0.1:9", "transport": ConcurrentTransport}
    with sentry_set_up("http://public@example.com/1", **options) as client:
        assert client.transport._pool.proxy is not None
        assert client.transport._pool.connection_pool_kw["maxsize"] == 16


def test_close_sends_what_is_captured_and_ends_the_threads(backend: TelemetrySink) -> None:
    backend.latency = 0.02
    before = set(threading.enumerate())
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        for number in range(4):
            sentry_sdk.capture_message(str(number))
        sending = [
            each for each in set(threading.enumerate()) - before if "ctxkit.send" in each.name
        ]
        client.close(10)

    assert len(backend.items) == 4
    assert len(sending) == 4
    for thread in sending:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_sends_its_own_and_reports_its_own(backend: TelemetrySink) -> None:
    import warnings  # noqa: PLC0415 - of this test alone

    backend.latency = 0.1
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        sentry_sdk.capture_message("warm")
        client.flush(10)
        pool = client.transport._pool
        client.transport.record_lost_event("parent's", "error")
        sentry_sdk.capture_message("parent's")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            client.transport.record_lost_event("child's", "error")
            sentry_sdk.capture_message("child's")
            client.flush(10)
            os._exit(0 if client.transport._pool is not pool else 1)
        client.flush(10)
        _, status = os.waitpid(child, 0)

    assert status == 0
    events = [item.name for item in backend.items if item.kind == "sentry.event"]
    assert sorted(events) == ["child's", "parent's", "warm"]
    reports = [item.data for item in backend.items if item.kind == "sentry.client_report"]
    reasons = [entry["reason"] for data in reports for entry in data["discarded_events"]]
    assert sorted(reasons) == ["child's", "parent's"]


def test_sink_tells_what_became_of_everything(backend: TelemetrySink) -> None:
    backend.latency = 0.05
    logs = {"enable_logs": True} if hasattr(sentry_sdk, "logger") else {}
    options = {"traces_sample_rate": 1.0, "transport": ConcurrentTransport, **logs}
    with sentry_set_up(backend.dsn, **options):
        prepare()
        assert flush(10).results[0].status == "empty"
        with sentry_sdk.start_transaction(name="checkout"):
            sentry_sdk.capture_message("paid")
        if logs:
            sentry_sdk.logger.info("ordered")

        [result] = flush(10).results
        returned = time.time()

        assert (result.status, result.detail) == ("ok", "")
        kinds = {item.kind for item in backend.items}
        assert {"sentry.event", "sentry.transaction"} <= kinds
        assert ("sentry.log" in kinds) == bool(logs)
        assert all(item.acknowledged <= returned for item in backend.items)
        assert flush(10).results[0].status == "empty"

        backend.behaviour = "fail"
        sentry_sdk.capture_message("lost")
        [result] = flush(10).results
        assert (result.status, result.detail) == ("error", "lost: status_500")

        backend.behaviour = "hang"
        sentry_sdk.capture_message("stuck")
        assert flush(0.05).results[0].status == "timeout"
