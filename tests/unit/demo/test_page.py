from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from helpers.demo import lane_report

from ctxkit.demo.page import as_page
from ctxkit.demo.summary import as_json, as_table, percent
from ctxkit.demo.timeline import Scale, draw_lane
from ctxkit.demo.verdict import LaneReport, Mark
from ctxkit.testing import Times

MARKS = [
    Mark("server", "GET <shop>", 0.001, 0.02, "f" * 32),
    Mark("span", "inner", 0.002, 0.01, "f" * 32),
    Mark("flush", "sentry, otel.traces", 0.02, 0.09, None),
]
ITEMS = [
    ("otel.span", "GET <shop>", 0.05),
    ("otel.span", "inner", 0.05),
    ("sentry.event", 'ValueError: "<script>alert(1)</script>"', 0.08),
]
LOST = [(kind, name, None) for kind, name, _ in ITEMS]


@pytest.fixture
def lanes() -> list[LaneReport]:
    late = [(*LOST[0][:2], 7.0), *LOST[1:]]
    return [
        lane_report("gunicorn", late, with_ctxkit=False, marks=MARKS[:2], latencies=[0.5, 0.02]),
        lane_report("gunicorn", ITEMS, with_ctxkit=True, marks=MARKS, latencies=[0.5, 0.1]),
        lane_report("awslambdaric", LOST, with_ctxkit=False, latencies=[0.5, 0.02]),
        lane_report("awslambdaric", ITEMS, with_ctxkit=True, latencies=[0.5, 0.1]),
    ]


class Reader(HTMLParser):
    """Follow the nesting, and note the texts of rows and what is referred to."""

    VOID = frozenset({"meta", "br", "circle", "path", "use", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert name not in ("src", "onclick"), value
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "aria-labelledby"):
                self.targets.append((value or "").removeprefix("#"))
        if tag == "tr":
            self.rows.append([])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and "tr" in self.open and data.strip():
            self.rows[-1].append(data.strip())


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_page_is_well_formed_and_refers_only_to_itself(lanes: list[LaneReport]) -> None:
    page = as_page(lanes, 0.05)
    reader = read(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.targets) <= set(reader.ids)
    assert not re.search(r"https?://|url\(|@import|<script|<link|\$\w", page)


def test_page_escapes_what_the_application_named(lanes: list[LaneReport]) -> None:
    page = as_page(lanes, 0.05)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "/shop/?a=1&amp;b=&lt;2&gt;" in page


def test_page_says_the_result_in_its_headline(lanes: list[LaneReport]) -> None:
    page = as_page(lanes, 0.05)
    assert "0 of 12 items landed without ctxkit, 12 of 12 with it</h1>" in page


def test_page_that_does_not_prove_the_claim_says_so_too() -> None:
    some = [*ITEMS[:1], *LOST[1:]]
    lanes = [
        lane_report("uvicorn", LOST, with_ctxkit=False),
        lane_report("uvicorn", some, with_ctxkit=True),
    ]
    page = as_page(lanes, 0.05)
    assert "0 of 9 items landed without ctxkit, 3 of 9 with it" in page
    assert '<strong class="late">33 %' in page


def test_timeline_tells_every_item_in_words_as_well(lanes: list[LaneReport]) -> None:
    rows = [" ".join(row) for row in read(as_page(lanes, 0.05)).rows]
    assert "otel span GET <shop> late 7000 ms" in rows
    assert "otel span GET <shop> landed 50 ms" in rows
    assert rows.count("otel span inner lost") == 2
    assert "flush sentry, otel.traces" in rows
    assert rows.count("request 100 ms") == 2


def test_timeline_draws_bars_at_the_time_of_spans_and_flushes(lanes: list[LaneReport]) -> None:
    page = as_page(lanes, 0.05)
    scale = Scale.of([lane.requests[1] for lane in lanes])
    for css, mark in zip(("server", "", "flush"), MARKS, strict=True):
        start, end = scale.at(mark.start), scale.at(mark.end)
        bar = f'<i class="span {css}" style="left:{start:.2f}%;width:{end - start:.2f}%"'
        assert page.count(bar) == (1 if css == "flush" else 2)


def test_scale_keeps_everything_within_its_linear_part(lanes: list[LaneReport]) -> None:
    scale = Scale.of([lane.requests[1] for lane in lanes])
    assert scale.at(-1) == 0
    assert scale.at(0.1) < scale.at(99) == 68
    assert scale.ticks() == [0.0, 0.05, 0.1]


def test_table_aligns_and_tells_what_was_added(lanes: list[LaneReport]) -> None:
    lines = as_table(lanes).splitlines()
    assert len(lines) == 2 + 4
    assert " ".join(lines[2].split()) == "gunicorn without 0 of 6 (0 %) 2 4 20 ms"
    assert " ".join(lines[3].split()) == "with 6 of 6 (100 %) 0 0 100 ms +80 ms"


def test_json_is_plain_data_with_every_item(lanes: list[LaneReport]) -> None:
    result = json.loads(json.dumps(as_json(lanes, 0.05)))
    assert result["proven"] is True
    assert result["added_latency"]["gunicorn"] == pytest.approx(0.08)
    first = result["lanes"][0]
    assert (first["landed"], first["late"], first["lost"], first["expected"]) == (0, 2, 4, 6)
    assert first["requests"][1]["items"][0]["outcome"] == "late"
    assert result["lanes"][1]["requests"][0]["marks"][2]["what"] == "flush"


def test_percent_is_hundred_only_if_nothing_is_missing() -> None:
    assert [percent(share) for share in (1, 0.9999, 0.29, 0)] == ["100 %", "99 %", "29 %", "0 %"]


def test_timeline_has_a_gap_in_the_ice_while_another_request_is_served() -> None:
    sent = [Times(None, 0.0, 0.1, 0.1, 0.1), Times(0.5, 0.5, 0.6, 0.6, 0.6)]
    lane = lane_report("gunicorn", ITEMS, with_ctxkit=False, latencies=(0.1, 0.1))
    requests = [
        replace(request, sent=replace(request.sent, times=times))
        for request, times in zip(lane.requests, sent, strict=True)
    ]
    drawn = draw_lane(replace(lane, requests=tuple(requests)), 0, Scale(1.0, 0.5))
    ice = re.findall(r'<i class="ice" style="left:([\d.]+)%;width:([\d.]+)%">', drawn)
    assert ice[0] == ("6.80", "27.20")  # from 0.1 to 0.5 of a second in 68 percent
    assert ice[1] == ("40.80", "35.20")  # from 0.6 on


def test_headline_counts_what_lanes_share_once() -> None:
    lanes = [
        lane_report(server, fates, with_ctxkit=with_ctxkit)
        for server in ("awslambdaric", "lambda-decorator")
        for fates, with_ctxkit in ((LOST, False), (ITEMS, True))
    ]
    headline = f"0 of {3 * len(LOST)} items landed without ctxkit, {6 * len(ITEMS)} of"
    assert headline in as_page(lanes, 0.05)
