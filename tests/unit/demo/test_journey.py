"""One request, followed: what is read of it, what counts as missing, how it is drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from helpers.demo import lane_report

from ctxkit.demo import rehearsal
from ctxkit.demo.journey import Journey, Where, journey_of
from ctxkit.demo.page import as_page
from ctxkit.demo.rehearsal import _follow, _Run
from ctxkit.demo.summary import as_json
from ctxkit.demo.verdict import Sent
from ctxkit.demo.waterfall import as_tree, draw_journey
from ctxkit.exceptions import HostError
from ctxkit.testing import Item, TelemetrySink, Times
from ctxkit.testing._exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACE = "a" * 32
CLIENT = "c" * 16
SENT = Sent("/buy/", TRACE, "r-1", 302, Times(None, 100.0, 100.3, 100.4, None))
ATTEMPT = {
    "name": "ctxkit.attempt.failed",
    "time": 100.25,
    "attributes": {"attempt": 1, "error.type": "shop.Lost", "pause": 0.05},
}


def span(  # noqa: PLR0913, PLR0917 - all of one span
    span_id: str,
    name: str,
    parent: str | None,
    start: float,
    end: float,
    thread: str,
    events: list[Any] | None = None,
    **attributes: str,
) -> Item:
    data = {
        "span_id": span_id,
        "parent_span_id": parent,
        "start": 100 + start,
        "end": 100 + end,
        "attributes": {"thread.name": thread, **attributes},
        "events": events or [],
    }
    return Item("otel.span", name, TRACE, data, 101.0, 101.0)


def items() -> list[Item]:
    """Return what a backend has of a request that lacks nothing."""
    known = {"request_id": "r-1"}
    late = {"error.type": "ctxkit.exceptions.Cancelled"}
    raised = {"name": "exception", "time": 100.2, "attributes": {"exception.type": "shop.Lost"}}
    found = [
        span("q1", "quote", "v", 0.02, 0.05, "p_0", **known),
        span("q2", "quote", "v", 0.02, 0.07, "p_1", **known),
        span("q3", "quote", "v", 0.03, 0.17, "p_2", **known, **late),
        span("a1", "ask", "c", 0.2, 0.21, "Main", [raised]),
        span("c", "charge", "v", 0.2, 0.3, "Main", [ATTEMPT], **known),
        span("v", "view", "s", 0.01, 0.38, "Main", **known),
        span("s", "POST <buy>", CLIENT, 0.0, 0.39, "Main"),
        span("w", "letter", "v", 0.37, 0.7, "w_0", **known),
    ]
    data: dict[str, Any] = {"attributes": known, "span_id": "w"}
    found.append(Item("otel.log", "wrote", TRACE, data, 101.0, 101.0))
    times = ("1970-01-01T00:01:40.390000Z", 100.71)
    found += [
        Item("sentry.transaction", "t", TRACE, {"timestamp": each}, 101.0, 101.0) for each in times
    ]
    return [*found, Item("otel.span", "another's", "b" * 32, {}, 101.0, 101.0)]


@pytest.fixture
def journey() -> Journey:
    return journey_of(SENT, CLIENT, items())


def test_journey_is_the_tree_of_its_spans_siblings_by_their_begin(journey: Journey) -> None:
    told = [(len(step.branches), step.name, str(step.where)) for step in journey.steps]
    assert told == [
        (0, "POST <buy>", "view"),
        (1, "view", "view"),
        (2, "quote", "pool"),
        (2, "quote", "pool"),
        (2, "quote", "pool"),
        (2, "charge", "view"),
        (3, "ask", "view"),
        (2, "letter", "worker"),
    ]
    assert journey.steps[1].start == pytest.approx(0.01)
    assert [step.error for step in journey.fan()] == [None, None, "Cancelled"]
    assert journey.steps[5].notes == ("Lost, again after 50 ms",)
    assert journey.steps[6].error == "Lost"
    assert journey.transactions == (pytest.approx(0.39), pytest.approx(0.71))
    assert journey.missing() == []


def changed(name: str, **attributes: Any) -> Callable[[list[Item]], list[Item]]:
    def change(found: list[Item]) -> list[Item]:
        return [
            replace(item, data=item.data | {"attributes": item.data["attributes"] | attributes})
            if item.name == name
            else item
            for item in found
        ]

    return change


def without(*names: str) -> Callable[[list[Item]], list[Item]]:
    return lambda found: [item for item in found if item.name not in names]


def orphan(found: list[Item]) -> list[Item]:
    return [
        replace(item, data=item.data | {"parent_span_id": None}) if item.name == "letter" else item
        for item in found
    ]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (without("POST <buy>"), "one root"),
        (orphan, "one root"),
        (without("quote"), "3 calls beside each other"),
        (changed("quote", **{"thread.name": "p_0"}), "3 calls beside each other"),
        (changed("quote", request_id="r-2"), "the id of the request in each of them"),
        (changed("quote", **{"error.type": "Lost"}), "one that was late"),
        (without("charge"), "an attempt that failed"),
        (without("letter"), "the worker"),
        (changed("letter", request_id=None), "the worker"),
        (changed("view", request_id="-"), "the view"),
        (without("wrote"), "log records"),
        (changed("wrote", request_id="-"), "log records"),
        (without("t"), "Sentry's transactions"),
        (lambda found: found[:-2], "Sentry's transactions"),
        (lambda _: [], "the view"),
    ],
)
def test_part_that_the_backend_did_not_receive_is_missing(
    change: Callable[[list[Item]], list[Item]], missing: str
) -> None:
    found = items()
    if missing == "the view":  # the calls of the view know it, too
        found = changed("charge", request_id="-")(found)
    assert missing in " ".join(journey_of(SENT, CLIENT, change(found)).missing())


def test_trace_that_does_not_go_on_with_the_client_s_is_none(journey: Journey) -> None:
    assert "one root" in journey_of(SENT, "d" * 16, items()).missing()[0]


def test_tree_tells_threads_times_and_errors(journey: Journey) -> None:
    lines = as_tree(journey).splitlines()
    [letter] = [line for line in lines if "letter" in line]
    assert letter.startswith("  └ letter")
    assert "w_0" in letter
    assert "▒" in letter
    assert letter.endswith("330 ms")
    [late] = [line for line in lines if "Cancelled" in line]
    assert late.startswith("  ├ quote")
    assert "▓" in late
    assert any("Lost, again after 50 ms" in line for line in lines)
    over = lines.index(next(line for line in lines if "response is complete at 400 ms" in line))
    # The line of the response goes through, where no bar is in its way.
    place = lines[over].index("└")
    assert {line[place] for line in lines[3:over]} <= {"·", "█", "▒"}
    assert TRACE in " ".join(lines)
    assert "r-1" in " ".join(lines)


@pytest.mark.parametrize("encoding", ["ascii", "unheard-of"])
def test_tree_for_a_terminal_without_blocks_has_none(journey: Journey, encoding: str) -> None:
    tree = as_tree(journey, encoding)
    assert tree.isascii()
    assert "~~~" in tree


def test_page_draws_each_span_at_its_time_and_escapes_names(journey: Journey) -> None:
    drawn = draw_journey(journey)
    assert drawn.count('class="byte"') == 1 + len(journey.steps)
    assert drawn.count('class="span pool"') == 2
    assert drawn.count('class="span pool failed"') == 1
    assert 'class="span worker" style="left:51.82%;width:46.22%"' in drawn
    assert "POST &lt;buy&gt;" in drawn
    assert "POST <buy>" not in drawn
    lanes = [lane_report("gunicorn", [], with_ctxkit=each) for each in (False, True)]
    page = as_page(lanes, 0.05, journey)
    assert "One trace across view, pool and worker" in page
    assert drawn in page
    assert "across view" not in as_page(lanes, 0.05)


def test_json_has_every_step(journey: Journey) -> None:
    lanes = [lane_report("gunicorn", [], with_ctxkit=each) for each in (False, True)]
    told = json.loads(json.dumps(as_json(lanes, 0.05, journey)))["journey"]
    assert told["sent"]["trace_id"] == TRACE
    assert [step["where"] for step in told["steps"]].count("pool") == 3
    assert as_json(lanes, 0.05)["journey"] is None


def test_request_of_which_a_part_is_missing_is_an_error_with_what_the_server_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Host:
        def request(self, *_: Any, **__: Any) -> Exchange:
            return Exchange(500, (), b"", SENT.times)

        def output(self) -> str:
            return "no such supplier"

    with TelemetrySink() as sink:
        run = _Run(sink, tmp_path / "witness", [])
        monkeypatch.setattr(rehearsal, "_open", lambda *_, **__: (run, Host()))
        monkeypatch.setattr(rehearsal, "_PATIENCE", 0.01)
        with pytest.raises(HostError, match=r"gave 500, and its trace lacks(.|\n)*no such") as told:
            _follow(tmp_path)
    assert re.search("3 calls beside each other", told.value.problem)


def test_attempt_after_which_there_was_none_is_told_so() -> None:
    last = [{**ATTEMPT, "attributes": {"attempt": 2, "error.type": "shop.Lost"}}]
    found = [span("c", "charge", CLIENT, 0.2, 0.3, "Main", last)]
    [step] = journey_of(SENT, CLIENT, found).steps
    assert step.notes == ("Lost, given up",)


def test_note_stands_where_there_is_room(journey: Journey) -> None:
    assert 'class="said" style="left:' in draw_journey(journey)
    late = [replace(step, start=0.6, end=0.65) for step in journey.steps]
    assert 'class="said" style="right:' in draw_journey(replace(journey, steps=tuple(late)))


def test_where_is_told_by_thread_and_time(journey: Journey) -> None:
    assert {step.thread for step in journey.of(Where.POOL)} == {"p_0", "p_1", "p_2"}
    assert [step.name for step in journey.of(Where.WORKER)] == ["letter"]
