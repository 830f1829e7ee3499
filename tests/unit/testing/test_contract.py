"""The contract of sinks: kept by every sink of ours, and broken by sinks that break it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from logging.handlers import MemoryHandler, QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ctxkit.flushing import CallableSink, LoggingSink
from ctxkit.testing import MemorySink, SinkContract

if TYPE_CHECKING:
    from collections.abc import Callable


pytest_plugins = ["pytester"]


class Target(logging.Handler):
    """Counts what it is given, fails or waits."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.wait(30)
        if self.failing:
            try:
                raise OSError("disk full")
            except OSError:
                self.handleError(record)
        else:
            self.count += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging has it
        """Print nothing."""


class LoggingContract(SinkContract):
    target: Target

    def record(self, sink: Any) -> None:
        sink.handler.handle(logging.makeLogRecord({"msg": "sold", "levelno": logging.INFO}))

    def delivered(self, sink: Any) -> int:
        return self.target.count

    def fail(self, sink: Any) -> None:
        self.target.failing = True

    def hang(self, sink: Any) -> None:
        self.target.gate.clear()

    def recover(self, sink: Any) -> None:
        self.target.failing = False
        self.target.gate.set()


class TestQueue(LoggingContract):
    def make_sink(self) -> LoggingSink:
        self.target = Target()
        handler = QueueHandler(queue.Queue())
        self.listener = QueueListener(handler.queue, self.target)
        self.listener.start()
        return LoggingSink(handler, listener=self.listener)

    def dispose(self, sink: Any) -> None:
        self.listener.stop()


class TestBuffer(LoggingContract):
    def make_sink(self) -> LoggingSink:
        self.target = Target()
        return LoggingSink(MemoryHandler(1000, target=self.target))


class TestMemorySink(SinkContract):
    def make_sink(self) -> MemorySink:
        return MemorySink()

    def record(self, sink: Any) -> None:
        sink.record("sold")

    def delivered(self, sink: Any) -> int:
        return len(sink.landed)

    def fail(self, sink: Any) -> None:
        sink.outcomes.append(False)


class TestCallableSink(SinkContract):
    def make_sink(self) -> CallableSink:
        self.trail = MemorySink()
        return CallableSink("trail", self.trail.flush, self.trail.pending)

    def record(self, sink: Any) -> None:
        self.trail.record("sold")

    def delivered(self, sink: Any) -> int:
        return len(self.trail.landed)

    def fail(self, sink: Any) -> None:
        self.trail.outcomes.append(OSError("gone"))

    # The function is all that it has: what it works on must care for forks itself.
    test_forked_child_does_not_send_what_is_the_parent_s = None


class Trail:
    """A sink as one would write it at first, with a lock; each fault below breaks it."""

    name = "trail"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = 0
        self.sending = 0
        self.sent = 0
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()

    def pending(self) -> int | None:
        return self.waiting + self.sending

    def flush(self, timeout: float) -> bool:
        with self.lock:
            taken, self.waiting = self.waiting, 0
            self.sending = taken
        self.gate.wait(30)
        if self.failing:
            taken, good = 0, not self.sending
        else:
            good = True
        self.sent += taken
        self.sending = 0
        return good

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        self.waiting = self.sending = 0


class TrailContract(SinkContract):
    patience = 5.0
    kind: ClassVar[Callable[[], Trail]] = Trail

    def make_sink(self) -> Trail:
        return type(self).kind()

    def record(self, sink: Any) -> None:
        with sink.lock:
            sink.waiting += 1

    def delivered(self, sink: Any) -> int:
        return int(sink.sent)

    def fail(self, sink: Any) -> None:
        sink.failing = True

    def hang(self, sink: Any) -> None:
        sink.gate.clear()

    def recover(self, sink: Any) -> None:
        sink.failing = False
        sink.gate.set()


class TestTrail(TrailContract):
    pass


class Nameless(Trail):
    name = ""


class AlwaysPending(Trail):
    def pending(self) -> int:
        return 1


class Negative(Trail):
    def pending(self) -> int:
        return -1 if self.waiting else 0


class NeverPending(Trail):
    def pending(self) -> int:
        return 0


class Slow(Trail):
    def pending(self) -> int:
        time.sleep(0.015)
        return self.waiting


class Liar(Trail):
    def flush(self, timeout: float) -> bool:
        super().flush(timeout)
        return True


class Forgetful(Trail):
    def pending(self) -> int:
        time.sleep(0.001)  # so that those who record are at it for a while
        return self.waiting

    def flush(self, timeout: float) -> bool:
        taken = self.waiting
        time.sleep(0.005)
        self.waiting = 0
        self.sent += taken
        return True


class OfOneThread(Trail):
    def __init__(self) -> None:
        super().__init__()
        self.owner = threading.get_ident()

    def flush(self, timeout: float) -> bool:
        return super().flush(timeout) if threading.get_ident() == self.owner else False


class Resentful(Trail):
    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    def flush(self, timeout: float) -> bool:
        self.failed = not super().flush(timeout) or self.failed
        return not self.failed


class Blocking(Trail):
    def flush(self, timeout: float) -> bool:
        with self.lock:
            self.gate.wait(30)
            self.sent += self.waiting
            self.waiting = 0
        return True


class ForkTainted(Trail):
    def after_fork(self) -> None:
        raise OSError("no such queue")


class AtMostOnce(Trail):
    concurrency = 4

    def flush(self, timeout: float) -> bool:
        if self.sending:
            return False
        self.sending = 1
        time.sleep(0.2)
        return super().flush(timeout)


FAULTS = {
    Nameless: "the_parts_of_the_protocol",
    AlwaysPending: "new_sink_has_nothing_pending",
    Negative: "pending_is_quick",
    NeverPending: "is_pending_until_it_is_flushed",
    Slow: "pending_is_quick",
    Liar: "destination_that_fails_is_not_ok",
    Forgetful: "amid_flushes_are_not_lost",
    OfOneThread: "another_thread_than_the_recording",
    Resentful: "is_well_again_is_ok",
    Blocking: "blocks_nobody_else",
    ForkTainted: "forked_child_comes_back",
    AtMostOnce: "several_flushes_at_once",
}


@pytest.mark.parametrize(
    ("fault", "told_by"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_contract_finds_the_fault(fault: Callable[[], Trail], told_by: str) -> None:
    contract = type("Contract", (TrailContract,), {"kind": fault, "patience": 2.0})()
    [name] = [name for name in dir(contract) if told_by in name]
    with pytest.raises(AssertionError, match="the sink"):
        getattr(contract, name)()


def test_contract_without_its_optional_parts_skips_what_needs_them(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
from ctxkit.testing import MemorySink, SinkContract

class TestLeast(SinkContract):
    def make_sink(self):
        return MemorySink()

    def record(self, sink):
        sink.record("sold")
""")
    outcomes = pytester.runpytest_inprocess("-p", "no:asyncio").parseoutcomes()
    assert outcomes == {"passed": 10, "skipped": 4}
