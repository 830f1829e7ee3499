"""What :class:`ctxkit.Sink` promises, as tests that any sink can be put to."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import SkipTest

from ctxkit.flushing import Sink, SinkOutcome, SinkStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LOOKS: Final = 100  # at what is pending; a second is many times what they may take
_RECORDERS: Final = 4  # threads
_EACH: Final = 10  # items that each of them records
_FAILED: Final = 3  # exit code of a child in which a call failed


class SinkContract:
    """Hold a sink to what :class:`ctxkit.Sink` promises: subclass it for pytest.

    The least that is needed::

        class TestAuditTrail(SinkContract):
            def make_sink(self):
                return AuditTrail()

            def record(self, sink):
                sink.write("order 7")

    The other methods let it look further; tests that need one which is not there are
    skipped. Works with ``unittest``, too: derive from ``TestCase`` as well.

    Attributes:
        patience: Seconds after which something that has to end counts as hanging.
    """

    patience: float = 10.0

    def make_sink(self) -> Sink:
        """Return a new sink with nothing pending, whose destination is well."""
        raise NotImplementedError

    def record(self, sink: Any) -> None:
        """Record one item that the sink has to deliver. Called by several threads."""
        raise NotImplementedError

    def delivered(self, sink: Any) -> int:  # noqa: ARG002 - of whoever defines it
        """Return how many items the destination of this sink has acknowledged so far."""
        raise SkipTest("delivered() is not defined")

    def fail(self, sink: Any) -> None:  # noqa: ARG002 - of whoever defines it
        """Make the destination refuse whatever comes from now on."""
        raise SkipTest("fail() is not defined")

    def hang(self, sink: Any) -> None:  # noqa: ARG002 - of whoever defines it
        """Make the destination answer nothing from now on."""
        raise SkipTest("hang() is not defined")

    def recover(self, sink: Any) -> None:
        """Make the destination well again, and end what hangs."""

    def dispose(self, sink: Any) -> None:
        """Give up a sink that a test is done with. It was recovered before."""

    @contextmanager
    def _sink(self) -> Generator[Any]:
        sink = self.make_sink()
        try:
            yield sink
        finally:
            self.recover(sink)
            self.dispose(sink)

    def test_sink_has_the_parts_of_the_protocol_and_a_name(self) -> None:
        """Hold: add_sink() takes it."""
        with self._sink() as sink:
            _hold(isinstance(sink, Sink), "needs a name, pending() and flush()")
            _hold(isinstance(sink.name, str) and sink.name, f"has the name {sink.name!r}")

    def test_new_sink_has_nothing_pending(self) -> None:
        """Hold: a request that records nothing waits for nothing."""
        with self._sink() as sink:
            _hold(_pending(sink) in (0, None), f"has {_pending(sink)} pending when it is new")

    def test_what_was_recorded_is_pending_until_it_is_flushed(self) -> None:
        """Hold: 0 means that there is nothing to do."""
        with self._sink() as sink:
            self.record(sink)
            # It may be gone by itself already, but then it has arrived.
            if _pending(sink) == 0:
                _hold(self.delivered(sink) == 1, "has nothing pending, and nothing arrived")

    def test_pending_is_quick(self) -> None:
        """Hold: it is asked at the end of each request."""
        with self._sink() as sink:
            self.record(sink)
            _hold_quick(sink)

    def test_flush_that_is_well_delivers_everything(self) -> None:
        """Hold: ok says that it arrived."""
        with self._sink() as sink:
            for _ in range(3):
                self.record(sink)
            status = self._flush(sink)
            _hold(status in _GOOD, f"answered {status} though all was well")
            pending = _pending(sink)
            _hold(pending in (0, None), f"has {pending} pending after a good flush")
            self._hold_delivered(sink, 3)

    def test_flush_of_nothing_is_harmless(self) -> None:
        """Hold: it is called to be sure, where nobody can tell what is pending."""
        with self._sink() as sink:
            for _ in range(2):
                status = self._flush(sink)
                _hold(status in _GOOD, f"answered {status} to a flush of nothing")

    def test_flush_runs_in_another_thread_than_the_recording(self) -> None:
        """Hold: a thread of its own flushes it."""
        with self._sink() as sink:
            self.record(sink)
            self.record(sink)
            [status] = _in_threads(lambda: self._flush(sink), 1, self.patience)
            _hold(status in _GOOD, f"answered {status} in another thread")
            self._hold_delivered(sink, 2)

    def test_items_recorded_by_many_threads_amid_flushes_are_not_lost(self) -> None:
        """Hold: requests end while others record; nothing falls between two flushes."""
        with self._sink() as sink:
            counts: list[int | None] = []

            def work() -> None:
                for _ in range(_EACH):
                    self.record(sink)
                    counts.append(_pending(sink))

            over = threading.Event()
            flusher = threading.Thread(target=self._flush_until, args=(sink, over), daemon=True)
            flusher.start()
            _in_threads(work, _RECORDERS, self.patience)
            over.set()
            flusher.join(self.patience)
            _hold(not flusher.is_alive(), f"flush() hung for {self.patience} s")
            status = self._flush(sink)
            _hold(status in _GOOD, f"answered {status} though all was well")
            self._hold_delivered(sink, _RECORDERS * _EACH)
            _hold(len(counts) == _RECORDERS * _EACH, "failed in one of the threads")

    def test_flush_of_a_destination_that_fails_is_not_ok(self) -> None:
        """Hold: the truth is told, where it is known."""
        with self._sink() as sink:
            self.fail(sink)
            self.record(sink)
            status = self._flush(sink)
            _hold(status not in (SinkStatus.OK, SinkStatus.EMPTY), f"answered {status} to a loss")

    def test_flush_of_a_destination_that_is_well_again_is_ok(self) -> None:
        """Hold: a loss is told once."""
        with self._sink() as sink:
            self.fail(sink)
            self.record(sink)
            self._flush(sink)
            self.recover(sink)
            self._flush(sink)
            self.record(sink)
            status = self._flush(sink)
            _hold(status in _GOOD, f"answered {status} though all was well again")

    def test_flush_of_a_destination_that_hangs_ends_with_it_and_blocks_nobody_else(self) -> None:
        """Hold: while it hangs, recording and asking go on; when it ends, it tells the truth."""
        with self._sink() as sink:
            self.hang(sink)
            self.record(sink)
            statuses: list[object] = []
            thread = threading.Thread(
                target=lambda: statuses.append(self._flush(sink, 0.1)), daemon=True
            )
            thread.start()
            thread.join(0.2)
            _hold_quick(sink)
            _in_threads(lambda: self.record(sink), 1, self.patience)
            _hold(SinkStatus.OK not in statuses, "answered ok though nothing had arrived")
            self.recover(sink)
            thread.join(self.patience)
            _hold(not thread.is_alive(), f"flush() hung {self.patience} s after its destination")
            if statuses == [SinkStatus.OK]:
                _hold(self.delivered(sink) >= 1, "answered ok though nothing had arrived")

    def test_sink_that_takes_several_flushes_at_once_loses_nothing(self) -> None:
        """Hold: ``concurrency``, where it is declared, is meant."""
        with self._sink() as sink:
            concurrency = getattr(sink, "concurrency", 1)
            if concurrency < 2:  # noqa: PLR2004 - one is no concurrency
                raise SkipTest("the sink declares no concurrency")

            def work() -> object:
                self.record(sink)
                return self._flush(sink)

            statuses = _in_threads(work, concurrency, self.patience)
            _hold(set(statuses) <= _GOOD, f"answered {statuses} to flushes at once")
            self._hold_delivered(sink, concurrency)

    def test_flush_in_a_forked_child_comes_back(self) -> None:
        """Hold: servers fork, and locks of the parent must not stop the child."""
        with self._sink() as sink:
            self.record(sink)
            self._flush(sink)

            def child() -> None:
                self.record(sink)
                sink.flush(self.patience / 2)

            self._in_child(sink, child)
            self.record(sink)
            status = self._flush(sink)
            _hold(status in _GOOD, f"answered {status} in the parent of a fork")

    def test_forked_child_does_not_send_what_is_the_parent_s(self) -> None:
        """Hold: each item arrives once."""
        with self._sink() as sink:
            self.record(sink)
            self._in_child(sink, lambda: sink.flush(self.patience / 2))
            self._flush(sink)
            self._hold_delivered(sink, 1)

    def _flush(self, sink: Any, timeout: float | None = None) -> SinkStatus:
        try:
            answer = sink.flush(self.patience if timeout is None else timeout)
        except Exception:  # noqa: BLE001 - as the engine takes it
            return SinkStatus.ERROR
        if isinstance(answer, SinkOutcome):
            return answer.status
        return _ANSWERS.get(answer, SinkStatus.ERROR)

    def _flush_until(self, sink: Any, over: threading.Event) -> None:
        while not over.is_set():
            self._flush(sink)
            over.wait(0.001)

    def _hold_delivered(self, sink: Any, wanted: int) -> None:
        try:
            arrived = self.delivered(sink)
        except SkipTest:
            return  # the rest of the test stands without
        _hold(arrived == wanted, f"delivered {arrived} of {wanted} items")

    def _in_child(self, sink: Any, work: Callable[[], object]) -> None:
        if not hasattr(os, "fork"):
            raise SkipTest("there is no fork here")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it has threads is the point
            pid = os.fork()
        if not pid:
            _end_as_child(sink, work)
        deadline = time.monotonic() + self.patience
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise AssertionError(f"the sink hung for {self.patience} s in a forked child")
            time.sleep(0.01)
        _hold(ended[1] == 0, "failed in a forked child")


_GOOD: Final = {SinkStatus.OK, SinkStatus.EMPTY, SinkStatus.UNVERIFIED}
_ANSWERS: Final[dict[object, SinkStatus]] = {True: SinkStatus.OK, None: SinkStatus.UNVERIFIED}


def _hold(condition: object, problem: str) -> None:
    if not condition:
        raise AssertionError(f"the sink {problem}")


def _hold_quick(sink: Any) -> None:
    begun = time.monotonic()
    for _ in range(_LOOKS):
        _pending(sink)
    took = time.monotonic() - begun
    _hold(took < 1, f"took {took / _LOOKS * 1000:.1f} ms to say what is pending")


def _pending(sink: Any) -> int | None:
    count: int | None = sink.pending()
    _hold(count is None or count >= 0, f"has {count!r} pending")
    return count


def _in_threads(work: Callable[[], Any], count: int, patience: float) -> list[Any]:
    """Run it in so many threads at once; return what they return."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised below, where the test sees it
            errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
        _hold(not thread.is_alive(), f"held up a thread for {patience} s")
    for error in errors:
        raise error
    return results


def _end_as_child(sink: Any, work: Callable[[], object]) -> None:
    code = _FAILED
    try:
        getattr(sink, "after_fork", int)()
        work()
        code = 0
    finally:
        os._exit(code)
