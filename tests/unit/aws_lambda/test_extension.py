"""The extension's thread, against the Extensions API of the testing kit, in this process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from helpers.demo import eventually
from helpers.land import FakeSink

from ctxkit.aws_lambda import _extensions_api
from ctxkit.aws_lambda._extension import Extension
from ctxkit.aws_lambda._extensions_api import RefusedError
from ctxkit.flushing import add_sink, remove_sink
from ctxkit.testing._listener import Reply
from ctxkit.testing._runtime_server import Invocation, RuntimeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of threads that are killed here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Lambda:
    """Hand out invocations, and know whether the extension waits for the next."""

    def __init__(self) -> None:
        self.server = RuntimeServer("f", lambda: None)
        self.server.start()
        self.rested = threading.Semaphore(0)
        self.extension = Extension(f"127.0.0.1:{self.server.port}", self.rested.release)

    @property
    def waits(self) -> bool:
        with self.server.changed:
            return self.server.sandbox.extensions.ready()

    def invoke(self, seconds: float = 30.0, *, fetched: bool = True) -> str:
        """Hand out an event, and wait until it was fetched, as it is long before the answer."""
        invocation = Invocation(b"", time.time() + seconds)
        with self.server.changed:
            self.server.hand_out(invocation)
        if fetched:
            extensions = self.server.sandbox.extensions._all.values()
            assert eventually(lambda: not any(extension.events for extension in extensions))
        return invocation.request_id

    @property
    def thread(self) -> threading.Thread:
        thread = self.extension._thread
        assert thread is not None
        return thread

    def refuse(self) -> threading.Thread:
        """Know the extension no more; return its thread when that has heard of it."""
        thread = self.thread
        self.server.renew()
        self.extension._api.poll()  # what was asked before is never answered
        thread.join(10)
        return thread

    def kill(self) -> threading.Thread:
        """End the thread, which waits for an event, when it has got that."""
        event = _extensions_api.Event

        def die(*_: object) -> NoReturn:
            _extensions_api.Event = event  # type: ignore[misc]
            raise SystemExit

        _extensions_api.Event = die  # type: ignore[misc,assignment]
        return self.thread


@pytest.fixture
def sink() -> Iterator[FakeSink]:
    sink = FakeSink()
    add_sink(sink)
    yield sink
    remove_sink(sink)


@pytest.fixture
def host() -> Iterator[Lambda]:
    host = Lambda()
    host.extension.join()
    assert eventually(lambda: host.waits)
    yield host
    host.extension._refused = True  # or it would ask for ever
    thread, host.extension._thread = host.extension._thread, None
    host.server.renew()  # whoever waits there for an event wakes
    host.server.close()
    if thread is not None:
        thread.join(10)
    polling = host.extension._api._polling
    if polling is not None:
        polling.close()


def test_extension_flushes_after_the_answer_and_only_then_waits(
    host: Lambda, sink: FakeSink
) -> None:
    request_id = host.invoke()
    assert eventually(lambda: host.extension.covers(request_id))
    assert not host.waits
    assert sink.timeouts == []
    host.extension.answered(request_id, 0.75)
    assert host.rested.acquire(timeout=10)
    assert eventually(lambda: host.waits)
    assert sink.timeouts == [0.75]


def test_answer_that_is_there_before_the_event_is_flushed_too(host: Lambda, sink: FakeSink) -> None:
    with host.server.changed:
        request_id = host.invoke(fetched=False)
        host.extension.answered(request_id, None)
    assert host.rested.acquire(timeout=10)
    assert len(sink.timeouts) == 1


def test_extension_does_not_wait_for_an_answer_beyond_the_deadline(
    host: Lambda, sink: FakeSink
) -> None:
    host.extension.answered("another", None)
    request_id = host.invoke(0.3)
    assert eventually(lambda: host.waits)
    assert sink.timeouts == []
    # The answer may come yet. Then the runtime flushes, and until then its watchdog watches.
    host.extension.answered(request_id, None)
    assert not host.extension.covers(request_id)
    assert host.extension.rests()
    assert not host.rested.acquire(blocking=False)


def test_sink_that_raises_does_not_end_the_thread(host: Lambda, sink: FakeSink) -> None:
    def fail() -> Any:
        raise SystemExit

    thread = host.thread
    sink.work = fail
    for _ in range(2):
        host.extension.answered(host.invoke(), None)
        assert host.rested.acquire(timeout=10)
    assert host.thread is thread
    assert thread.is_alive()


def test_thread_that_is_ended_while_it_waits_has_a_successor(host: Lambda, sink: FakeSink) -> None:
    thread = host.kill()
    lost = host.invoke()
    assert eventually(lambda: not thread.is_alive())
    assert not host.extension.covers(lost)
    assert eventually(lambda: host.waits)
    host.extension.answered(host.invoke(), None)
    assert host.rested.acquire(timeout=10)
    assert host.extension.healthy


def test_extension_that_no_thread_can_be_started_for_is_no_reason_to_wait(
    host: Lambda, sink: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "ctxkit.lambda.extension":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = host.kill()
    host.invoke()
    assert eventually(lambda: not thread.is_alive())
    assert not host.extension.healthy
    assert eventually(lambda: host.waits)
    host.invoke()
    host.extension.attend()
    assert eventually(lambda: host.waits)
    host.invoke()
    monkeypatch.undo()
    host.extension.attend()
    assert eventually(lambda: host.waits)
    host.extension.answered(host.invoke(), None)
    assert host.rested.acquire(timeout=10)


def test_thread_that_was_replaced_ends_when_it_comes_back(host: Lambda, sink: FakeSink) -> None:
    gate = threading.Event()
    sink.work = lambda: gate.wait(10)
    former = host.thread
    host.extension.answered(host.invoke(), None)
    assert eventually(lambda: bool(sink.timeouts))
    host.extension.replace()
    assert eventually(lambda: host.waits)
    gate.set()
    former.join(10)
    assert not former.is_alive()
    assert host.waits


def test_thread_that_was_replaced_takes_no_event(host: Lambda) -> None:
    """Or the runtime would rely on it, and it on its successor."""
    assert not host.extension._take("id")  # this thread is no more its own than a former one
    assert not host.extension.covers("id")


def test_extension_that_is_not_known_any_more_gives_up_and_says_so(
    host: Lambda, caplog: pytest.LogCaptureFixture
) -> None:
    thread = host.refuse()
    assert not host.extension.healthy
    assert "ctxkit.lambda.extension_refused: 403" in caplog.text
    host.extension.attend()
    assert host.thread is thread


def test_extension_that_was_refused_is_not_replaced(
    host: Lambda, caplog: pytest.LogCaptureFixture
) -> None:
    thread = host.refuse()
    host.extension.replace()
    assert host.thread is thread
    assert not host.extension.healthy
    assert "ctxkit.lambda.extension_replaced" not in caplog.text


@pytest.mark.parametrize("reply", [Reply(500, b"{}", {}), Reply(200, b"<html>", {})])
def test_answer_that_lambda_fails_to_give_is_asked_for_again(
    host: Lambda, sink: FakeSink, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    """It counts on the extension, and would wait for it for the whole timeout."""
    extensions = host.server.sandbox.extensions
    failures = [reply]
    real = extensions._next
    monkeypatch.setattr(
        extensions, "_next", lambda asking: failures.pop() if failures else real(asking)
    )
    for _ in range(2):
        host.extension.answered(host.invoke(), None)
        assert host.rested.acquire(timeout=10)
        assert eventually(lambda: not failures and host.waits)
    assert host.extension.healthy


def test_registration_that_is_refused_is_an_error(host: Lambda) -> None:
    with pytest.raises(RefusedError, match=r"403 .*AlreadyRegistered"):
        Extension(f"127.0.0.1:{host.server.port}", print).join()
