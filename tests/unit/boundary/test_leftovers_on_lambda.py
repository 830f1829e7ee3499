"""Work of one invocation that would run inside the next: the classic demonstration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ctxkit.testing import LambdaHost

if TYPE_CHECKING:
    from pathlib import Path

FUNCTION = """
import asyncio, logging, time
import ctxkit

log = logging.getLogger("shop")
logging.getLogger().setLevel("INFO")
logging.getLogger("mangum").setLevel("WARNING")
logging.getLogger().handlers[0].addFilter(ctxkit.RequestIdFilter())

SHORT = 0.1  # seconds that the work takes
kept = []


async def refresh():
    await asyncio.sleep(SHORT)
    log.info("refreshed")


def refresh_in_thread():
    time.sleep(SHORT)
    log.info("refreshed")


async def app(scope, receive, send):
    if scope["path"] == "/leave":
        kept.append(asyncio.create_task(refresh()))
    else:
        await asyncio.sleep(2 * SHORT)
    log.info("served")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@ctxkit.flush_before_return
def plain(event, context):
    if event["rawPath"] == "/leave":
        ctxkit.Thread(target=refresh_in_thread, name="refresh").start()
    else:
        time.sleep(2 * SHORT)
    log.info("served")
    return {"statusCode": 200, "body": "ok"}


def through_mangum(app):
    from mangum import Mangum
    return Mangum(app, lifespan="off")


def behind_boundary(event, context):
    return BOUNDARY(event, context)


def behind_decorator(event, context):
    return DECORATOR(event, context)


def unguarded(event, context):
    return UNGUARDED(event, context)


try:
    BOUNDARY = through_mangum(ctxkit.ASGIMiddleware(app))
    DECORATOR = ctxkit.flush_before_return(through_mangum(app))
    UNGUARDED = through_mangum(app)
except ImportError:
    pass
"""

_LINE = re.compile(r"^\[(\w+)\]\t\S+\t(\S+)\t(.*)$", re.MULTILINE)


class Line(NamedTuple):
    invocation: int
    level: str
    text: str


def played(folder: Path, handler: str, policy: str) -> list[Line]:
    """Invoke twice: the first leaves work behind, the second would see it run."""
    if handler != "plain":
        pytest.importorskip("mangum")
    # In debug mode, asyncio has more to tell, and logs steps that are slow on a busy machine.
    env = {"CTXKIT_LEFTOVERS": policy, "CTXKIT_FLUSH_TIMEOUT": "5", "PYTHONDEVMODE": None}
    with LambdaHost(f"function.{handler}", cwd=folder, env=env) as function:
        for path in ("/leave", "/"):
            assert function.request("GET", path).body == b"ok"
        output = function.output()
    found = [line for line in _LINE.findall(output) if "ctxkit.environment" not in line[2]]
    # The last line is the second invocation's own.
    served = [identity for _, identity, text in found if text == "served"]
    assert len(served) == len(set(served)) == 2
    return [Line(1 + served.index(identity), level, text) for level, identity, text in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("awslambdaric")
    (tmp_path / "function.py").write_text(FUNCTION)
    return tmp_path


GUARDED = pytest.mark.parametrize("handler", ["behind_boundary", "behind_decorator", "plain"])


def test_orphan_without_a_boundary_runs_under_the_id_of_the_next(folder: Path) -> None:
    lines = played(folder, "unguarded", "warn")
    assert lines == [
        Line(1, "INFO", "served"),
        Line(2, "INFO", "refreshed"),
        Line(2, "INFO", "served"),
    ]


@GUARDED
def test_orphan_is_reported_and_keeps_its_own_id(folder: Path, handler: str) -> None:
    first, warning, refreshed, second = played(folder, handler, "warn")
    assert first == Line(1, "INFO", "served")
    assert (warning.invocation, warning.level) == (1, "WARNING")
    assert warning.text.startswith("ctxkit.leftovers: ")
    kind, place = (
        ("thread 'refresh'", "started by plain (") if handler == "plain" else ("task", "now")
    )
    assert kind in warning.text
    assert place in warning.text
    assert "function.py:" in warning.text
    assert refreshed == Line(1, "INFO", "refreshed")
    assert second == Line(2, "INFO", "served")


@GUARDED
def test_orphan_is_awaited_before_its_own_answer(folder: Path, handler: str) -> None:
    lines = played(folder, handler, "await")
    assert [line for line in lines if "ctxkit" not in line.text] == [
        Line(1, "INFO", "served"),
        Line(1, "INFO", "refreshed"),
        Line(2, "INFO", "served"),
    ]
    [told] = [line for line in lines if "ctxkit" in line.text]
    assert told.invocation == 1
    assert told.text.endswith("(finished)")


@pytest.mark.parametrize("handler", ["behind_boundary", "behind_decorator"])
def test_orphan_is_cancelled_and_never_heard_of_again(folder: Path, handler: str) -> None:
    lines = played(folder, handler, "cancel")
    assert [line for line in lines if "ctxkit" not in line.text] == [
        Line(1, "INFO", "served"),
        Line(2, "INFO", "served"),
    ]
    [told] = [line for line in lines if "ctxkit" in line.text]
    assert told.invocation == 1
    assert told.text.endswith("(cancelled)")
