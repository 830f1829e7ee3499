"""A destination that is out of order costs a response no more than its budget, and nothing else.

Every fault of every destination, on every kind of host: the matrix of ``docs/faults.toml``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

import pytest

for module in ("sentry_sdk", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
    pytest.importorskip(module)
from helpers.fault_matrix import (  # noqa: E402 - after the skip
    ALL,
    BUDGET,
    KINDS,
    MATRIX,
    SINKS,
    SLOW,
    Cell,
    Outcome,
    available,
    cells,
    run,
)

from ctxkit.testing import Behaviour  # noqa: E402

SLACK = 1.5  # seconds; a busy machine, not the promise
EXTENSION = "Lambda extension"
#: The first that fails fails them all, and needs the time of all.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Outcome]:
    hosts = [host["name"] for host in MATRIX["hosts"] if available(host["name"])]
    return run(hosts, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def spooled(tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Outcome]:
    hosts = [host["name"] for host in MATRIX["hosts"] if available(host["name"])]
    return run(hosts, tmp_path_factory.mktemp("faults"), tmp_path_factory.mktemp("spools"))


@pytest.fixture(params=cells(), ids=str)
def cell(request: pytest.FixtureRequest) -> Cell:
    cell: Cell = request.param
    if not available(cell.host):
        pytest.skip(f"what {cell.host} needs is not installed")
    return cell


@pytest.fixture
def outcome(cell: Cell, outcomes: dict[Cell, Outcome]) -> Outcome:
    return outcomes[cell]


def test_response_comes_within_the_budget(cell: Cell, outcome: Outcome) -> None:
    assert (outcome.answer.status, outcome.answer.body) == (200, b"ok")
    assert outcome.answer.times.latency < BUDGET + SLACK
    if cell.host == EXTENSION:
        assert outcome.answer.times.complete < outcome.report["time"]
    elif cell.fault == "slow":
        assert outcome.answer.times.latency > SLOW
    elif cell.expected == "timeout":
        assert outcome.answer.times.latency > BUDGET


def test_what_went_to_the_healthy_destination_has_landed(cell: Cell, outcome: Outcome) -> None:
    assert KINDS[cell.healthy] <= outcome.arrived
    broken = KINDS[cell.destination] & outcome.arrived
    assert broken == (KINDS[cell.destination] if cell.expected == "ok" else set())


def test_report_says_what_became_of_each_sink(cell: Cell, outcome: Outcome) -> None:
    expected = dict.fromkeys(SINKS[cell.destination], cell.expected)
    expected |= dict.fromkeys(SINKS[cell.healthy], "ok")
    results = outcome.report["results"]
    assert {sink: status for sink, (status, _) in results.items()} == expected, results


@pytest.mark.skipif(find_spec("ctxkit.flushing.spooling") is None, reason="there is no spool yet")
def test_nothing_is_lost_with_the_spool_on_once_the_destination_is_back(
    cell: Cell, spooled: dict[Cell, Outcome]
) -> None:
    outcome = spooled[cell]
    assert outcome.answer.times.latency < BUDGET + SLACK
    assert KINDS[cell.healthy] <= outcome.arrived
    assert outcome.later == ALL, outcome.report


def test_matrix_has_every_fault_that_a_sink_can_have() -> None:
    # That a kept connection is reset is for the tests of the spool: here each case has its own.
    faults = {fault["name"] for fault in MATRIX["faults"]}
    assert faults == {*get_args(Behaviour), "slow"} - {"ok", "reset-after-first"}
