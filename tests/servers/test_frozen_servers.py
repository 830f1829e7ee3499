"""Every host, stopped at the byte that completes a response: everything has landed by then."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

for module in ("sentry_sdk", "opentelemetry.sdk", "opentelemetry.instrumentation.wsgi"):
    pytest.importorskip(module)
from helpers import frozen  # noqa: E402 - after the skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.frozen import Run

REQUESTS = 100
PAIRS = 10
AT_ONCE = 4  # they wait more than they compute
HOSTS = (
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-asgi",
    "uvicorn-h11",
    "hypercorn",
    "granian-wsgi",
    "granian-asgi",
    "daphne",
    "uwsgi",
    "awslambdaric",
    "mangum",
)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Run]]]:
    """Run all hosts that are asked for, several at once."""
    asked = {
        getattr(item, "callspec").params["host"]  # noqa: B009 - only of those with parameters
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield {
            host: pool.submit(frozen.run, host, tmp_path_factory.mktemp(host), REQUESTS, PAIRS)
            for host in HOSTS
            if host in asked and frozen.is_available(host)
        }


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, runs: dict[str, Future[Run]]) -> Run:
    name: str = request.param
    if name not in runs:
        pytest.skip(f"{name} is not installed")
    return runs[name].result()


def test_host_that_is_frozen_at_the_last_byte_has_landed_everything(host: Run) -> None:
    fates = frozen.fates(host)
    assert len(host.asked) >= REQUESTS
    assert fates["landed"] >= 5 * REQUESTS
    assert fates == {"landed": fates["landed"]}, host.output


def test_flush_holds_a_response_for_one_round_trip_of_its_last_item(host: Run) -> None:
    """What that costs in seconds is the benchmarks' to tell."""
    if not host.waits:
        pytest.skip("a function is never without its flush")
    assert host.in_turn("plain") == 1
    if frozen.has_concurrent_transport():
        assert host.in_turn("list") == 1
