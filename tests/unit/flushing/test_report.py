from __future__ import annotations

import pickle

import pytest

from ctxkit.flushing import FlushReport, SinkResult, SinkStatus


def report(*results: SinkResult) -> FlushReport:
    return FlushReport("response", 0.0123, 2.0, results)


def result(status: SinkStatus, detail: str = "", pending: int | None = 3) -> SinkResult:
    return SinkResult("sentry", status, 0.0118, pending, detail)


@pytest.mark.parametrize(
    ("status", "ok"),
    [("ok", True), ("empty", True), ("unverified", True), ("timeout", False), ("error", False)],
)
def test_report_ok_means_nothing_known_to_be_lost_or_late(status: str, *, ok: bool) -> None:
    assert report(result(SinkStatus.OK), result(SinkStatus(status))).ok is ok


def test_report_str_is_one_readable_line() -> None:
    text = str(
        report(
            result(SinkStatus.ERROR, "lost: network"),
            SinkResult("otel.traces", SinkStatus.UNVERIFIED, 0.002, None, ""),
            SinkResult("otel.logs", SinkStatus.EMPTY, 0.0, 0, ""),
        )
    )

    assert text == (
        "flush (response) took 12 ms of 2 s: "
        "sentry error after 12 ms (3 pending): lost: network; "
        "otel.traces unverified after 2 ms (? pending); otel.logs empty"
    )


def test_report_str_without_sinks_says_so() -> None:
    assert str(report()) == "flush (response) took 12 ms of 2 s: no sinks"


def test_report_pickles() -> None:
    told = report(result(SinkStatus.OK))

    assert pickle.loads(pickle.dumps(told)) == told
