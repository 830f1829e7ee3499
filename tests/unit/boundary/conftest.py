from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.timeline import RecordingSink, recording_sink

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def timeline() -> list[object]:
    return []


@pytest.fixture
def sink(timeline: list[object]) -> Iterator[RecordingSink]:
    with recording_sink(timeline) as sink:
        yield sink
