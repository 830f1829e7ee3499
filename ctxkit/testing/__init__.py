"""The testing room: real servers to freeze and a telemetry backend to watch, for tests.

Importing it brings in no foreign package.
"""

from __future__ import annotations

from ctxkit.testing._items import Item
from ctxkit.testing.sink import TelemetrySink

__all__ = (
    "Item",
    "TelemetrySink",
)
