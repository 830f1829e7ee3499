"""An adaptive pool over real threads: it hears of its calls, and grows where that pays."""

from __future__ import annotations

from threading import Event, Thread

import ctxkit

CALL = 0.01  # seconds


def test_adaptive_pool_of_calls_that_only_wait_grows() -> None:
    pool = ctxkit.Pool.adaptive(max_size=12, initial=2)
    grown, never = Event(), Event()

    def call_again() -> None:
        while not grown.is_set():
            with pool.acquire():
                never.wait(CALL)
            if pool.stats().limit >= 6:
                grown.set()

    threads = [Thread(target=call_again) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert grown.wait(30)
    for thread in threads:
        thread.join()
    stats = pool.stats()
    assert (stats.busy, stats.waiting) == (0, 0)
