from __future__ import annotations

import logging
import logging.config
import multiprocessing
import queue
import sys
import threading
from logging.handlers import BufferingHandler, MemoryHandler, QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import LoggingSink, Sink, add_sink, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Target(logging.Handler):
    """Keeps what it is given, once its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def emit(self, record: logging.LogRecord) -> None:
        assert self.gate.wait(20), "nobody opened the gate"
        if record.getMessage() == "unspeakable":
            try:
                raise OSError("disk full")
            except OSError:
                self.handleError(record)
                return
        self.texts.append(record.getMessage())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging has it
        """Print nothing."""


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("shop")
    yield logger
    logger.handlers.clear()


@pytest.fixture
def queued(
    target: Target, logger: logging.Logger
) -> Iterator[Callable[..., tuple[QueueHandler, QueueListener]]]:
    """Return a function that sets up a handler and its listener, which runs."""
    started: list[QueueListener] = []

    def set_up(records: Any = None, **options: Any) -> tuple[QueueHandler, QueueListener]:
        handler = QueueHandler(queue.Queue() if records is None else records)
        listener = QueueListener(handler.queue, target, **options)
        logger.addHandler(handler)
        listener.start()
        started.append(listener)
        return handler, listener

    yield set_up
    target.gate.set()
    for listener in started:
        if listener._thread is not None:
            listener.stop()


def only_result(timeout: float = 10) -> Any:
    [result] = flush(timeout).results
    return result


def test_queue_is_flushed_until_its_listener_has_handled_all(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued()
    sink = LoggingSink(handler)
    assert isinstance(sink, Sink)
    add_sink(sink)
    assert only_result().status == "empty"
    target.gate.clear()
    for number in range(3):
        logger.warning("sold %d", number)
    threading.Timer(0.1, target.gate.set).start()
    result = only_result()
    assert (result.sink, result.status, result.pending) == ("logging.QueueHandler", "ok", 3)
    assert target.texts == ["sold 0", "sold 1", "sold 2"]
    assert only_result().status == "empty"


def test_queue_is_pending_while_its_last_record_is_handled(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued()
    sink = LoggingSink(handler)
    target.gate.clear()
    logger.warning("sold")
    while handler.queue.qsize():
        threading.Event().wait(0.005)
    assert sink.pending() == 1
    target.gate.set()
    assert sink.flush(10).status == "ok"
    assert sink.pending() == 0


def test_queue_that_is_filled_all_the_time_is_flushed_all_the_same(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued()
    sink = LoggingSink(handler)
    over = threading.Event()

    def chatter() -> None:
        while not over.wait(0.0002):
            logger.warning("chatter")
            logger.warning("chatter")

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        logger.warning("sold")
        assert sink.flush(20).status == "ok"
        assert "sold" in target.texts
    finally:
        over.set()
        thread.join()


def test_queue_that_takes_longer_than_allowed_is_a_timeout(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued()
    sink = LoggingSink(handler)
    target.gate.clear()
    logger.warning("sold")
    assert sink.flush(0.05).status == "timeout"
    target.gate.set()
    assert sink.flush(10).status == "ok"
    assert target.texts == ["sold"]


def test_queue_whose_listener_respects_levels_is_flushed_of_what_it_drops(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued(respect_handler_level=True)
    target.setLevel(logging.ERROR)
    sink = LoggingSink(handler)
    logger.warning("dropped")
    logger.error("kept")
    assert sink.flush(10).status == "ok"
    assert (target.texts, sink.pending()) == (["kept"], 0)


@pytest.mark.parametrize("known", [True, False])
def test_listener_that_does_not_run_is_an_error_if_it_is_known(
    queued: Any, logger: logging.Logger, *, known: bool
) -> None:
    handler, listener = queued()
    sink = LoggingSink(handler, listener=listener if known else None)
    listener.stop()
    logger.warning("sold")
    outcome = sink.flush(0.3)
    if known:
        assert (outcome.status, outcome.detail) == ("error", "the listener has not been started")
    else:
        assert outcome.status == "timeout"


def test_listener_whose_thread_has_died_is_an_error(
    queued: Any, logger: logging.Logger, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, listener = queued()
    sink = LoggingSink(handler, listener=listener)
    monkeypatch.setattr(listener, "handle", lambda record: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    logger.warning("sold")
    outcome = sink.flush(10)
    assert (outcome.status, outcome.detail) == ("error", "the listener's thread has ended")


def test_error_of_the_handler_at_the_end_is_a_loss(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, listener = queued()
    sink = LoggingSink(handler, listener=listener)
    logger.warning("unspeakable")
    outcome = sink.flush(10)
    assert (outcome.status, outcome.detail) == ("error", "lost: OSError")
    assert (sink.pending(), sink.flush(10).status) == (0, "ok")


def test_record_that_a_full_queue_refused_is_a_loss(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = QueueHandler(queue.Queue(maxsize=1))
    logger.addHandler(handler)
    sink = LoggingSink(handler)
    logger.warning("one")
    logger.warning("two")
    assert sink.pending() == 2
    handler.queue.get()
    handler.queue.task_done()
    outcome = sink.flush(10)
    assert (outcome.status, outcome.detail) == ("error", "lost: Full")
    capsys.readouterr()


@pytest.mark.parametrize("kind", [queue.SimpleQueue, multiprocessing.Queue])
def test_queue_that_does_not_tell_is_waited_for_and_unverified(
    queued: Any, logger: logging.Logger, target: Target, kind: Any
) -> None:
    records = kind()
    handler, listener = queued(records)
    sink = LoggingSink(handler, listener=listener)
    logger.warning("sold")
    outcome = sink.flush(10)
    assert (outcome.status, sink.pending()) == ("unverified", None)
    listener.stop()
    assert target.texts == ["sold"]
    if kind is not queue.SimpleQueue:
        records.close()
        records.join_thread()


def test_buffer_is_handed_over_to_its_target(logger: logging.Logger, target: Target) -> None:
    handler = MemoryHandler(100, target=target)
    handler.set_name("orders")
    logger.addHandler(handler)
    sink = LoggingSink(handler)
    add_sink(sink)
    assert only_result().status == "empty"
    logger.warning("sold")
    result = only_result()
    assert (result.sink, result.status, result.pending) == ("logging.orders", "ok", 1)
    assert (target.texts, sink.pending()) == (["sold"], 0)


def test_buffer_without_a_target_is_an_error(logger: logging.Logger, target: Target) -> None:
    handler = MemoryHandler(100)
    logger.addHandler(handler)
    sink = LoggingSink(handler)
    logger.warning("sold")
    assert sink.flush(10).detail == "the handler has no target"
    handler.setTarget(target)
    assert sink.flush(10).status == "ok"
    assert target.texts == ["sold"]


def test_error_of_a_target_that_was_set_later_is_a_loss(
    logger: logging.Logger, target: Target
) -> None:
    handler = MemoryHandler(100)
    logger.addHandler(handler)
    sink = LoggingSink(handler)
    handler.setTarget(target)
    logger.warning("unspeakable")
    assert sink.flush(10).detail == "lost: OSError"


def test_buffer_behind_a_queue_is_flushed_after_it(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, listener = queued()
    buffer = MemoryHandler(100, target=target)
    listener.handlers = (buffer,)
    sink = LoggingSink(handler, listener=listener)
    logger.warning("sold")
    assert sink.flush(10).status == "ok"
    assert (target.texts, sink.pending()) == (["sold"], 0)
    logger.warning("again")
    while handler.queue.unfinished_tasks:
        threading.Event().wait(0.005)
    assert sink.pending() == 1
    sink.after_fork()
    assert sink.flush(10).status == "ok"


def test_discover_finds_each_queue_and_buffer_once(
    queued: Any, logger: logging.Logger, target: Target
) -> None:
    handler, _ = queued()
    child = logging.getLogger("shop.orders")
    buffers = [MemoryHandler(100, target=target) for _ in range(2)]
    try:
        child.addHandler(QueueHandler(handler.queue))
        child.addHandler(logging.NullHandler())
        for buffer in buffers:
            child.addHandler(buffer)
        logger.addHandler(buffers[0])
        found = {
            sink.name: sink.handler
            for sink in LoggingSink.discover()
            if sink.handler in (handler, *buffers, child.handlers[0])
        }
    finally:
        child.handlers.clear()
    assert set(found) == {
        "logging.QueueHandler",
        "logging.MemoryHandler",
        "logging.MemoryHandler-2",
    }
    assert set(found.values()) == {handler, *buffers}


def test_discover_finds_the_handlers_of_the_root() -> None:
    handler = MemoryHandler(100)
    logging.root.addHandler(handler)
    try:
        assert handler in [sink.handler for sink in LoggingSink.discover()]
    finally:
        logging.root.removeHandler(handler)


def test_discover_without_logging_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "logging")
    assert LoggingSink.discover() == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig makes no listener before")
def test_listener_that_dict_config_made_is_found_by_itself(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It flushes all handlers within the lock of logging, also those that other tests have left:
    # one of OpenTelemetry's starts a thread for that, which may wait for the same lock.
    monkeypatch.setattr(logging, "_handlerList", [])
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "null": {"class": "logging.NullHandler"},
                "queued": {
                    "class": "logging.handlers.QueueHandler",
                    "handlers": ["null"],
                },
            },
            "loggers": {"shop.queued": {"handlers": ["queued"]}},
        }
    )
    handler: Any = logging.getLogger("shop.queued").handlers[0]
    [sink] = [sink for sink in LoggingSink.discover() if sink.handler is handler]
    logging.getLogger("shop.queued").warning("sold")
    assert (sink.name, sink.pending()) == ("logging.queued", 1)
    assert "not been started" in sink.flush(1).detail
    handler.listener.start()
    assert sink.flush(10).status == "ok"
    handler.listener.stop()
    logging.getLogger("shop.queued").removeHandler(handler)


@pytest.mark.parametrize("handler", [logging.StreamHandler(), logging.NullHandler(), None, 7])
def test_handler_that_keeps_nothing_back_is_a_configuration_error(handler: Any) -> None:
    with pytest.raises(ConfigurationError, match="keeps no records back"):
        LoggingSink(handler)


def test_handler_of_opentelemetry_is_a_configuration_error_and_not_discovered() -> None:
    class LoggingHandler(BufferingHandler):
        """Stands for that of the SDK, whose flush() must not be called."""

        def flush(self) -> None:
            raise AssertionError

    LoggingHandler.__module__ = "opentelemetry.sdk._logs"
    handler = LoggingHandler(100)
    with pytest.raises(ConfigurationError, match=r"otel\.logs is found by itself"):
        LoggingSink(handler)
    logging.root.addHandler(handler)
    try:
        assert handler not in [sink.handler for sink in LoggingSink.discover()]
    finally:
        logging.root.removeHandler(handler)
