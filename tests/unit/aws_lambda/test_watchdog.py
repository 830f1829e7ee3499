from __future__ import annotations

import threading
import time
from time import monotonic

from ctxkit.aws_lambda._watchdog import Watchdog


def test_alarm_is_raised_when_it_is_due_and_once() -> None:
    watchdog, raised = Watchdog(), threading.Semaphore(0)
    at = monotonic() + 0.05
    watchdog.set(at, raised.release)
    assert raised.acquire(timeout=10)
    assert monotonic() >= at
    assert not raised.acquire(timeout=0.1)


def test_alarm_that_is_called_off_is_not_raised() -> None:
    watchdog, raised = Watchdog(), threading.Semaphore(0)
    watchdog.set(monotonic() + 0.05, lambda: raised.release(2))
    watchdog.call_off()
    watchdog.set(monotonic() + 0.1, raised.release)
    assert raised.acquire(timeout=10)
    assert not raised.acquire(timeout=0.1)


def test_alarm_that_is_sooner_than_the_one_before_is_not_late() -> None:
    watchdog, raised = Watchdog(), threading.Semaphore(0)
    watchdog.set(monotonic() + 60, raised.release)
    time.sleep(0.1)  # it may well be asleep until then now
    watchdog.set(monotonic() + 0.05, raised.release)
    assert raised.acquire(timeout=10)


def test_alarm_that_fails_does_not_end_the_watch() -> None:
    watchdog, raised = Watchdog(), threading.Semaphore(0)

    def fail() -> None:
        raised.release()
        raise ValueError("no coffee")

    for _ in range(2):
        watchdog.set(monotonic(), fail)
        assert raised.acquire(timeout=10)


def test_watch_is_kept_by_one_thread() -> None:
    watchdog = Watchdog()
    before = threading.active_count()
    for n in range(20):
        watchdog.set(monotonic() + 60 - n, print)
    watchdog.call_off()
    assert threading.active_count() == before + 1
