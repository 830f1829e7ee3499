from __future__ import annotations

import random

import pytest
from helpers.land import FakeSink

from ctxkit.flushing import add_sink, flush, prepare, remove_sink
from ctxkit.flushing.report import SinkStatus

snapstart = pytest.importorskip("ctxkit.aws_lambda.snapstart", exc_type=ImportError)


class ToldSink(FakeSink):
    def __init__(self) -> None:
        super().__init__("told")
        self.told: list[str] = []

    def before_snapshot(self) -> None:
        self.told.append(f"before {len(self.timeouts)}")
        raise ValueError("no coffee")

    def after_restore(self) -> None:
        self.told.append("after")


def test_snapshot_is_taken_of_a_process_that_has_flushed_and_told_its_sinks() -> None:
    sink = ToldSink()
    add_sink(sink)
    prepare()
    try:
        snapstart.before_snapshot()
        state = random.getstate()
        snapstart.after_restore()
        assert sink.told == ["before 1", "after"]
        assert sink.timeouts == [pytest.approx(2.0, abs=0.5)]
        assert random.getstate() != state
    finally:
        remove_sink(sink)


def test_restore_forgives_a_sink_that_had_failed() -> None:
    sink = ToldSink()
    sink.work = lambda: False
    add_sink(sink)
    try:
        while SinkStatus.BREAKER not in {result.status for result in flush(1.0).results}:
            assert len(sink.timeouts) < 10
        sink.work = lambda: True
        snapstart.after_restore()
        assert flush(1.0).ok
    finally:
        remove_sink(sink)
