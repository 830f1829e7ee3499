from __future__ import annotations

from typing import Any

import pytest
from helpers.demo import lane_report

from ctxkit.demo.verdict import (
    Outcome,
    Sent,
    items_of,
    judge,
    proves_the_claim,
    telling_request,
)
from ctxkit.testing import Item, Times

TRACE, OTHER = "a" * 32, "b" * 32
SENT = Sent("/", TRACE, "request-1", 200, Times(None, 0.0, 1.0, 1.0, 1.0))


def item(kind: str, name: str, acknowledged: float, trace: str | None = TRACE, **data: Any) -> Item:
    return Item(kind, name, trace, data, acknowledged - 0.05, acknowledged)


def point(acknowledged: float, value: int, **attributes: Any) -> Item:
    data = {"attributes": attributes, "value": value}
    return Item("otel.metric", "views", None, data, acknowledged, acknowledged)


def test_items_of_a_request_are_those_of_its_trace_in_order() -> None:
    mine = [item("otel.span", "b", 2.0), item("otel.span", "a", 1.0)]
    foreign = [item("otel.span", "c", 0.5, OTHER), item("otel.log", "d", 0.5, None)]
    assert items_of(SENT, mine + foreign) == [mine[1], mine[0]]


def test_items_of_a_request_leave_out_the_bookkeeping_of_the_sdk() -> None:
    assert items_of(SENT, [item("sentry.session", "s", 1.0)]) == []


def test_data_point_belongs_by_the_request_id_and_counts_at_its_first_export() -> None:
    first, again = point(1.0, 1, request_id="request-1"), point(2.0, 1, request_id="request-1")
    other_view = point(2.0, 1, request_id="request-1", view="x")
    foreign = point(1.0, 1, request_id="request-2")
    assert items_of(SENT, [again, other_view, first, foreign]) == [first, other_view]


def test_data_point_with_the_trace_of_an_exemplar_alone_is_not_told_apart() -> None:
    summed = Item("otel.metric", "duration", TRACE, {"attributes": {}}, 1.0, 1.0)
    assert items_of(SENT, [summed]) == []


def test_judge_tells_landed_late_and_lost_by_the_moment_of_completion() -> None:
    expected = [("otel.span", "a"), ("otel.span", "b"), ("otel.span", "c")]
    came = [item("otel.span", "a", 1.0), item("otel.span", "b", 1.001)]
    fates = judge(expected, came, complete=1.0)
    assert [(fate.name, fate.outcome, fate.acknowledged) for fate in fates] == [
        ("a", Outcome.LANDED, 1.0),
        ("b", Outcome.LATE, 1.001),
        ("c", Outcome.LOST, None),
    ]


def test_judge_matches_by_name_before_it_matches_by_kind() -> None:
    expected = [("sentry.log", "port 1"), ("sentry.log", "sold")]
    came = [item("sentry.log", "sold", 0.5), item("sentry.log", "port 2", 2.0)]
    fates = judge(expected, came, complete=1.0)
    assert [(fate.name, fate.outcome) for fate in fates] == [
        ("sold", Outcome.LANDED),
        ("port 1", Outcome.LATE),
    ]


def test_judge_counts_two_items_of_one_name_as_two() -> None:
    expected = [("otel.span", "ask"), ("otel.span", "ask")]
    [first, second] = judge(expected, [item("otel.span", "ask", 0.5)], complete=1.0)
    assert (first.outcome, second.outcome) == (Outcome.LANDED, Outcome.LOST)


def test_judge_does_not_let_one_kind_stand_for_another() -> None:
    came = [item("otel.span", "a", 0.5)]
    [fate] = judge([("otel.log", "a")], came, complete=1.0)
    assert fate.outcome is Outcome.LOST


def test_judge_ignores_what_came_beyond_the_expected() -> None:
    assert judge([], [item("otel.span", "a", 0.5)], complete=1.0) == ()


ALL = [("otel.span", "a", 0.01), ("otel.span", "b", 0.02)]
HALF = [("otel.span", "a", 0.01), ("otel.span", "b", None)]
NONE = [("otel.span", "a", 9.0), ("otel.span", "b", None)]


@pytest.mark.parametrize(
    ("without", "with_ctxkit", "verdict"),
    [
        (NONE, ALL, "proven"),
        (HALF, ALL, "not proven"),
        (NONE, HALF, "not proven"),
        (NONE, [], "not proven"),
        ([], ALL, "not proven"),
    ],
)
def test_claim_needs_all_with_and_less_than_half_without(
    without: list[Any], with_ctxkit: list[Any], verdict: str
) -> None:
    lanes = [
        lane_report("gunicorn", without, with_ctxkit=False),
        lane_report("gunicorn", with_ctxkit, with_ctxkit=True),
    ]
    assert proves_the_claim(lanes) is (verdict == "proven")


def test_claim_without_any_lane_is_not_proven() -> None:
    assert not proves_the_claim([])


def test_latency_is_the_median_without_the_first_cold_one() -> None:
    lane = lane_report("gunicorn", ALL, with_ctxkit=True, latencies=(9.0, 0.1, 0.2, 0.3))
    assert lane.latency == 0.2
    assert lane_report("gunicorn", ALL, with_ctxkit=True, latencies=(9.0,)).latency == 9.0


def test_telling_request_is_the_one_with_most_kinds_but_not_the_first() -> None:
    assert telling_request([lane_report("gunicorn", ALL, with_ctxkit=False)]) == 1
    only = lane_report("gunicorn", ALL, with_ctxkit=False, latencies=(0.1,))
    assert telling_request([only]) == 0
