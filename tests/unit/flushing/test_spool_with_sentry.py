from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sentry_sdk")

import sentry_sdk
import sentry_sdk.envelope
from helpers.land_sentry import sentry_set_up
from helpers.spooled import eventually, last_flush, rested, results, spooling, status

from ctxkit.flushing import flush, prepare, start_spooling, stop_spooling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.testing import TelemetrySink

ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(backend: TelemetrySink, tmp_path: Path) -> Iterator[Any]:
    with spooling(tmp_path), sentry_set_up(backend.dsn) as client:
        prepare()
        yield client
        backend.behaviour = "ok"


def landed(backend: TelemetrySink) -> list[str]:
    return sorted(item.name for item in backend.items if item.kind == "sentry.event")


@pytest.mark.parametrize("fault", ["refuse", "fail", "rate-limit"])
def test_event_that_could_not_be_sent_lands_once_when_the_sink_is_back(
    fault: str, client: Any, backend: TelemetrySink
) -> None:
    backend.behaviour = fault  # type: ignore[assignment]
    sentry_sdk.capture_message("dear")
    report = flush(10)

    assert results(report)["sentry"].startswith("error: kept for later: "), report
    assert status().kept == 1
    assert status().files == 1
    backend.behaviour = "ok"
    client.transport._disabled_until.clear()  # as after the 30 seconds it was asked to wait
    sentry_sdk.capture_message("fresh")
    report = flush(10)

    assert results(report)["sentry"] == "ok: 1 kept earlier and sent now", report
    assert landed(backend) == ["dear", "fresh"]
    assert status()[1:6] == (0, 0, 1, 1, 0)
    flush(10)
    rested()
    flush(10)
    assert landed(backend) == ["dear", "fresh"]


def test_kept_event_is_sent_though_nothing_new_is(client: Any, backend: TelemetrySink) -> None:
    flush(10)
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    backend.behaviour = "ok"

    assert results(flush(10))["sentry"] == "empty: ", "the sink is given a rest"
    rested()
    assert results(flush(10))["sentry"] == "ok: 1 kept earlier and sent now"
    assert landed(backend) == ["dear"]


def test_kept_event_is_sent_at_shutdown(client: Any, backend: TelemetrySink) -> None:
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    backend.behaviour = "ok"
    last_flush()
    assert landed(backend) == ["dear"]


def test_kept_event_is_sent_after_one_that_nobody_flushed(
    client: Any, backend: TelemetrySink
) -> None:
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    backend.behaviour = "ok"
    sentry_sdk.capture_message("fresh")
    eventually(lambda: status().sent)
    assert landed(backend) == ["dear", "fresh"]


def test_dead_sink_is_asked_for_what_is_kept_less_and_less(
    client: Any, backend: TelemetrySink
) -> None:
    backend.behaviour = "fail"
    sentry_sdk.capture_message("dear")
    flush(10)
    requests = backend.requests
    for _ in range(20):
        assert results(flush(10))["sentry"] == "empty: "
    assert backend.requests == requests

    rests = []
    keeper = _keeper()
    for _ in range(8):
        rested()
        assert "still kept" in results(flush(10))["sentry"]
        rests.append(round(keeper._next - time.monotonic()))
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300]
    assert status().files == 1, "errors of a sink that takes nothing do not count"


def _keeper() -> Any:
    from ctxkit.flushing.sinks import sentry  # noqa: PLC0415 - as it is now

    sink = sentry.find()
    assert sink is not None
    return sink.keeper


def test_kept_event_is_sent_as_of_now(client: Any, backend: TelemetrySink) -> None:
    """Else the server takes the time that it was kept for an error of our clock."""
    sent: list[Any] = []
    transport = SimpleNamespace(capture_envelope=sent.append)
    envelope = sentry_sdk.envelope.Envelope({"event_id": "e", "sent_at": "2001-01-01T00:00:00Z"})
    envelope.add_event({"message": "dear"})
    keeper = _keeper()
    keeper._transport = transport

    keeper.deliver("name", envelope.serialize(), 0.0)

    [again] = sent
    assert again.headers["event_id"] == "e"
    moment = datetime.fromisoformat(again.headers["sent_at"])
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert again.get_event()["message"] == "dear"


def test_kept_event_whose_sending_takes_longer_than_the_flush_is_sent_once(
    client: Any, backend: TelemetrySink
) -> None:
    flush(10)
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    backend.behaviour = "ok"
    backend.latency = 0.4
    rested()
    flush(0.2)
    assert status().files == 1
    eventually(lambda: status().files == 0)
    backend.latency = 0
    last_flush()
    assert landed(backend) == ["dear"]
    assert status().sent == 1


def test_event_that_the_sdk_refused_is_lost_and_named(client: Any, backend: TelemetrySink) -> None:
    backend.behaviour = "rate-limit"
    sentry_sdk.capture_message("dear")
    flush(10)
    sentry_sdk.capture_message("held back by the SDK")
    assert results(flush(10))["sentry"] == "error: lost: ratelimit_backoff"
    assert status().kept == 1


def test_events_that_wait_when_the_time_is_over_are_copied_and_the_copies_go(
    client: Any, backend: TelemetrySink
) -> None:
    backend.latency = 0.3
    for number in range(3):
        sentry_sdk.capture_message(f"dear {number}")
    assert results(flush(0.05))["sentry"].startswith("timeout")

    assert status().files == 3
    assert flush(0.01).results[0].status != "ok"
    assert status().files == 3, "once is enough"
    eventually(lambda: status().files == 0)
    assert landed(backend) == ["dear 0", "dear 1", "dear 2"]
    assert status()[1:6] == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("had_to_make_room", [False, True])
def test_copy_of_an_event_that_failed_in_the_end_is_sent_later(
    client: Any, backend: TelemetrySink, tmp_path: Path, *, had_to_make_room: bool
) -> None:
    backend.latency = 0.3
    backend.behaviour = "fail"
    sentry_sdk.capture_message("dear")
    flush(0.05)
    assert (status().files, status().kept) == (1, 0)
    if had_to_make_room:
        [copy] = [path for path in tmp_path.rglob("*@*") if path.is_file()]
        copy.unlink()
    eventually(lambda: status().kept == 1)
    assert status().files == 1
    backend.latency = 0
    backend.behaviour = "ok"
    eventually(lambda: not client.transport._worker._queue.unfinished_tasks)
    last_flush()
    assert landed(backend) == ["dear"]
    assert status().files == 0


def test_events_that_find_no_room_in_the_queue_are_kept(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    backend.latency = 0.2
    with spooling(tmp_path), sentry_set_up(backend.dsn, transport_queue_size=2):
        prepare()
        for number in range(6):
            sentry_sdk.capture_message(f"dear {number}")
        assert status().kept >= 3
        backend.latency = 0
        flush(10)
        last_flush()
        last_flush()
        assert landed(backend) == [f"dear {number}" for number in range(6)]


def test_kept_event_that_its_sink_refuses_is_dropped(
    client: Any, backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    backend.behaviour = "ok"
    _answer(monkeypatch, client, 413)

    last_flush()

    assert status()[1:6] == (0, 0, 1, 0, 1)


def _answer(monkeypatch: pytest.MonkeyPatch, client: Any, status: int) -> None:
    """Have all that is sent answered so, without a network."""
    import urllib3  # noqa: PLC0415 - of the SDK

    def request(*_: object, **__: object) -> Any:
        return urllib3.HTTPResponse(b"", status=status)

    monkeypatch.setattr(client.transport._pool, "request", request)


def test_nothing_is_kept_of_what_is_not_for_this_sink(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    backend.behaviour = "refuse"
    with spooling(tmp_path), sentry_set_up(backend.dsn):
        prepare()
        sentry_sdk.capture_message("of another project")
        flush(10)
    backend.behaviour = "ok"
    with spooling(tmp_path), sentry_set_up(backend.dsn.replace("/1", "/2")):
        last_flush()
        assert (status().files, backend.items) == (1, [])
    with spooling(tmp_path), sentry_set_up(backend.dsn):
        assert flush(10).ok
    assert landed(backend) == ["of another project"]


def test_names_of_files_give_no_secret_away(client: Any, backend: TelemetrySink) -> None:
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("dear")
    flush(10)
    [path] = Path(status().directory).iterdir()
    assert "public" not in path.name
    assert str(backend._sentry.listener.port) not in path.name.split("-")


def test_spool_that_cannot_write_changes_nothing_else(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with spooling(tmp_path / "file"), sentry_set_up(backend.dsn):
        prepare()
        backend.behaviour = "refuse"
        sentry_sdk.capture_message("lost")
        report = flush(10)
        assert results(report)["sentry"].startswith("error: lost: "), report
        assert status().troubles
        backend.behaviour = "ok"
        sentry_sdk.capture_message("fresh")
        assert results(flush(10))["sentry"] == "ok: "
    assert landed(backend) == ["fresh"]


def test_stopped_spool_keeps_nothing(client: Any, backend: TelemetrySink, tmp_path: Path) -> None:
    stop_spooling()
    backend.behaviour = "refuse"
    sentry_sdk.capture_message("lost")
    assert results(flush(10))["sentry"].startswith("error: lost: ")
    start_spooling(tmp_path)
    assert status().files == 0


def test_environment_switches_it_on(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctxkit.flushing.spooling import switch  # noqa: PLC0415 - its state, for once

    monkeypatch.setattr(switch, "_asked", False)
    monkeypatch.setenv("CTXKIT_SPOOL", str(tmp_path))
    with sentry_set_up(backend.dsn):
        prepare()
        assert status().directory.startswith(str(tmp_path))
    stop_spooling()


KILLED = """
import os, sys, sentry_sdk, ctxkit
from ctxkit.flushing import prepare
sentry_sdk.init(dsn=sys.argv[1], default_integrations=False)
prepare()
for number in range(3):
    sentry_sdk.capture_message(f"dear {number}")
report = ctxkit.flush(0.2)
assert "timeout" in str(report), report
os.kill(os.getpid(), 9)
"""


def test_events_of_a_process_that_is_killed_are_sent_by_the_next(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    backend.behaviour = "hang"
    run = subprocess.run(
        [sys.executable, "-c", KILLED, backend.dsn],
        env={"CTXKIT_SPOOL": str(tmp_path), "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"},
        check=False,
        timeout=50,
    )
    assert run.returncode == -9
    backend.behaviour = "ok"
    with spooling(tmp_path), sentry_set_up(backend.dsn):
        assert status().files == 3
        assert results(flush(10))["sentry"] == "ok: 3 kept earlier and sent now"
    assert landed(backend) == ["dear 0", "dear 1", "dear 2"]


def test_event_that_was_captured_before_its_sink_was_found_is_kept(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    backend.behaviour = "fail"
    with spooling(tmp_path), sentry_set_up(backend.dsn) as client:
        gate = threading.Event()
        client.transport._worker.submit(gate.wait)  # the event waits behind it
        sentry_sdk.capture_message("early")
        prepare()
        gate.set()
        assert results(flush(10))["sentry"] == "error: kept for later: status_500"
        assert status().files == 1
