"""What stays in memory when much has come and gone."""

from __future__ import annotations

import gc
import tracemalloc
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from measuring import Row

import ctxkit
from ctxkit.context import Frame
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable

MILLION = 1_000_000
ROUNDS = 150  # those by which the numbers above are meant
BATCH = 1000


def measure(rounds: int) -> list[Row]:
    """Tell how many bytes there are more at the end than after a tenth."""
    share = min(rounds, ROUNDS) / ROUNDS
    frames = int(MILLION * share)
    batches = max(int(MILLION * share) // BATCH, 10)
    long_lived = Context()
    tracemalloc.start()
    try:
        with ctxkit.ThreadPoolExecutor(4) as pool:
            return [
                _row("frames", frames, _request),
                _row("submits", batches, lambda: _submits(pool), each=BATCH),
                _row("dropped Locals", BATCH, lambda: _local(long_lived)),
                _row("dropped Locals of a thread", BATCH, lambda: _local(long_lived, "thread")),
            ]
    finally:
        tracemalloc.stop()


def _row(subject: str, times: int, operation: Callable[[], None], *, each: int = 1) -> Row:
    for _ in range(times // 10):
        operation()
    tenth = _held()
    for _ in range(times - times // 10):
        operation()
    return Row("Memory", f"{times * each} {subject}", None, kept=_held() - tenth)


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _request() -> None:
    copy_context().run(CURRENT.set, Frame({"path": "/", "request_id": object()}))


def _submits(pool: ctxkit.ThreadPoolExecutor) -> None:
    with ctxkit.bind(request_id=object()):
        futures = [pool.submit(ctxkit.get, "request_id") for _ in range(BATCH)]
    for future in futures:
        future.result()


def _local(context: Context, scope: str = "context") -> None:
    local = ctxkit.Local(scope=scope)
    local.name = ["value"] * 100
    context.run(setattr, local, "name", ["value"] * 100)
    context.run(setattr, local, "other", {"local": local})
