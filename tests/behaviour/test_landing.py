"""Land: what a request recorded is acknowledged before its client has the last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.django_site_server import Site

if TYPE_CHECKING:
    from ctxkit.testing import Item

REQUESTS = 20


def _is_marked(item: Item, mark: str) -> bool:
    """Tell whether the item was recorded for the request that carries ``mark``."""
    data = item.data
    return (
        mark in item.name.split()
        or data.get("attributes", {}).get("mark") == mark
        or data.get("tags", {}).get("mark") == mark
    )


def _recorded(items: list[Item], mark: str) -> dict[str, Item]:
    """Return the six items of one request by what they are."""
    mine = [item for item in items if _is_marked(item, mark)]
    found = {item.kind: item for item in reversed(mine)}
    inner = found.pop("otel.span", None)
    if inner is not None:
        found["inner span"] = inner
        for item in items:
            if (
                item.kind == "otel.span"
                and item.trace_id == inner.trace_id
                and item.data["span_kind"] == "SPAN_KIND_SERVER"
            ):
                found["server span"] = item
    return found


EXPECTED = {
    "sentry.event",
    "sentry.transaction",
    "server span",
    "inner span",
    "otel.log",
    "otel.metric",
}


def test_landing_of_twenty_requests_precedes_their_last_bytes(site: Site) -> None:
    answers = {}
    with site.connect() as connection:
        for number in range(REQUESTS):
            mark = f"land-{number}"
            path = "/aland" if number % 2 else "/land"
            connection.send(path, headers={"X-Request-ID": mark})
            answers[mark] = connection.receive()
    items = site.sink.items
    for mark, answer in answers.items():
        recorded = _recorded(items, mark)
        assert answer.status == 200
        assert set(recorded) == EXPECTED, mark
        late = [what for what, item in recorded.items() if item.acknowledged > answer.complete]
        assert late == [], mark


def test_landing_of_a_failing_view_precedes_its_last_byte(site: Site) -> None:
    answer = site.get("/fail", headers={"X-Request-ID": "fail-1"})
    on_time = [item for item in site.sink.items if item.acknowledged <= answer.complete]
    assert answer.status == 500
    assert answer.headers["x-request-id"] == "fail-1"
    assert [i for i in on_time if i.kind == "sentry.event" and "failed fail-1" in i.name]
    assert [
        i
        for i in on_time
        if i.kind == "otel.log" and i.data["attributes"].get("request_id") == "fail-1"
    ]


def test_not_found_is_logged_with_the_request_id(site: Site) -> None:
    answer = site.get("/nowhere", headers={"X-Request-ID": "lost-1"})
    [record] = [i for i in site.sink.items if i.name == "Not Found: /nowhere"]
    assert answer.status == 404
    assert answer.headers["x-request-id"] == "lost-1"
    assert record.data["attributes"]["request_id"] == "lost-1"


@pytest.mark.parametrize("path", ["/land", "/aland"])
def test_head_is_held_until_its_telemetry_landed(site: Site, path: str) -> None:
    mark = f"head{path.replace('/', '-')}"
    answer = site.get(path, headers={"X-Request-ID": mark}, method="HEAD")
    recorded = _recorded(site.sink.items, mark)
    # Sentry's integration makes no transaction of a HEAD.
    assert set(recorded) == EXPECTED - {"sentry.transaction"}
    assert all(item.acknowledged <= answer.complete for item in recorded.values())


def test_file_response_is_complete(site: Site) -> None:
    answer = site.get("/file")
    assert len(answer.body) == int(answer.headers["content-length"])
    assert answer.body.startswith(b'"""Views of the bare project')


def test_landing_with_one_sink_hanging_leaves_in_time_and_the_other_lands(protocol: str) -> None:
    budget = 0.5
    with Site(protocol, CTXKIT_FLUSH_TIMEOUT=str(budget), OTEL_EXPORTER_OTLP_TIMEOUT="1") as site:
        site.get("/land", headers={"X-Request-ID": "warm"})
        site.sink.otlp_behaviour = "hang"
        spent: list[float] = []
        answers = {}
        # Again if need be: this machine may be busy, a flush that ignores its budget always is.
        while len(spent) < 6 and min(spent, default=9) > budget + 0.1:
            mark = f"hang-{len(spent)}"
            with site.connect() as connection:
                started = _now()
                connection.send("/land", headers={"X-Request-ID": mark})
                answers[mark] = connection.receive()
            spent.append(answers[mark].complete - started)
        assert min(spent) <= budget + 0.1
        site.sink.otlp_behaviour = "ok"
        items = site.sink.items
        for mark, answer in answers.items():
            recorded = _recorded(items, mark)
            assert {"sentry.event", "sentry.transaction"} <= set(recorded)
            assert all(item.acknowledged <= answer.complete for item in recorded.values())
        reports = site.get("/reports").json()["reports"]
        report = next(each for each in reports if not each["ok"])  # later ones do not try
        assert report["sinks"]["otel.traces"] == "timeout"
        assert report["sinks"]["sentry"] == "ok"


def _now() -> float:
    from time import time  # noqa: PLC0415 - the clock of Answer.complete

    return time()
