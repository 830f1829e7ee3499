"""What was recorded before a server is told to end has landed when it has ended.

Nothing is held here: responses leave at once, and the end is the last occasion.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

for module in ("sentry_sdk", "opentelemetry.sdk", "opentelemetry.instrumentation.wsgi"):
    pytest.importorskip(module)
from helpers import ending  # noqa: E402 - after the skip

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

AT_ONCE = 6  # they wait more than they compute

#: Servers that end in order.
ORDERLY = (
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-asgi",
    "gunicorn-preload",
    "uvicorn-h11",
    "uvicorn-workers",
    "hypercorn",
    "granian-wsgi",
    "granian-asgi",
    "daphne",
    "uwsgi-lazy",
    "uwsgi-prefork",
    "uwsgi-hooked",
)
#: Servers that the signal ends on the spot.
ABRUPT = ("waitress", "uvicorn-wsgi")
RELOADED = ("gunicorn-sync", "gunicorn-asgi", "uwsgi-lazy", "uwsgi-hooked")
RECYCLED = ("gunicorn-recycled", "uwsgi-recycled")
CRASHED = ("gunicorn-sync", "uwsgi-hooked")

pytestmark = pytest.mark.timeout(180)

Runs = dict[tuple[str, str], "Future[Counter[str]]"]


def lost(runs: Runs, how: str, name: str) -> Counter[str]:
    """Return what a server lost that was ended so; "drain" is SIGTERM with our handler."""
    if (how, name) not in runs:
        pytest.skip(f"{name} is not installed")
    return runs[how, name].result()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """End each server that is installed and asked for, several at once."""
    asked = {
        (item.callspec.params["how"], item.callspec.params["name"])
        for item in request.session.items
        if item.path == request.path and isinstance(item, pytest.Function)
    }
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        stack.callback(pool.shutdown, cancel_futures=True)
        yield {
            (how, name): pool.submit(
                ending.lost,
                name,
                tmp_path_factory.mktemp(f"{how}-{name}"),
                getattr(ending, how, ending.terminate),
                {"DRAIN_ON_SIGTERM": "1"} if how == "drain" else {},
            )
            for how, name in sorted(asked)
            if ending.SERVERS[name].available
        }


@pytest.mark.parametrize(("how", "name"), [("terminate", name) for name in ORDERLY])
def test_server_that_is_terminated_has_landed_what_was_recorded_before(
    runs: Runs, how: str, name: str
) -> None:
    assert not lost(runs, how, name)


@pytest.mark.parametrize(("how", "name"), [("terminate", name) for name in ABRUPT])
def test_server_that_ends_without_a_word_loses_it(runs: Runs, how: str, name: str) -> None:
    assert lost(runs, how, name)


# And it leaves the servers that end in order what is theirs.
@pytest.mark.parametrize(
    ("how", "name"), [("drain", name) for name in (*ABRUPT, "gunicorn-sync", "uvicorn-h11")]
)
def test_server_that_drains_on_sigterm_has_landed_it(runs: Runs, how: str, name: str) -> None:
    assert not lost(runs, how, name)


@pytest.mark.parametrize(("how", "name"), [("reload", name) for name in RELOADED])
def test_worker_that_is_reloaded_has_landed_it(runs: Runs, how: str, name: str) -> None:
    assert not lost(runs, how, name)


@pytest.mark.parametrize(("how", "name"), [("let_be", name) for name in RECYCLED])
def test_worker_that_has_served_its_number_of_requests_has_landed_it(
    runs: Runs, how: str, name: str
) -> None:
    assert not lost(runs, how, name)


@pytest.mark.parametrize(("how", "name"), [("crash", name) for name in CRASHED])
def test_worker_in_the_place_of_one_that_crashed_has_landed_what_is_its_own(
    runs: Runs, how: str, name: str
) -> None:
    assert not lost(runs, how, name)
