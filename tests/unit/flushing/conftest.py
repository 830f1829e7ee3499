from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from ctxkit.flushing import _alerts, engine
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def fresh_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[engine.Engine]:
    """Give each test an engine of its own, and end its threads."""
    monkeypatch.delenv("CTXKIT_FLUSH_TIMEOUT", raising=False)
    fresh = engine.Engine()
    monkeypatch.setattr(engine, "_ENGINE", fresh)
    monkeypatch.setattr(_alerts, "_last", {})
    yield fresh
    for lane in fresh._lanes:
        lane.retire()


@pytest.fixture
def flush_threads() -> Callable[[], list[str]]:
    """Return a function that names the engine's threads started since the test began."""
    before = set(threading.enumerate())

    def names() -> list[str]:
        new = set(threading.enumerate()) - before
        return sorted(thread.name for thread in new if thread.name.startswith("ctxkit.flush."))

    return names


@pytest.fixture
def backend() -> Iterator[TelemetrySink]:
    """Return a sink that takes everything at once, until a test says otherwise."""
    with TelemetrySink() as sink:
        yield sink
