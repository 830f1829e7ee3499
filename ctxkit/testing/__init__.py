"""The testing room: real servers to freeze and a telemetry backend to watch, for tests.

Importing it brings in no foreign package.
"""

from __future__ import annotations

from ctxkit.testing._contract import SinkContract
from ctxkit.testing._destination import Behaviour
from ctxkit.testing._exchange import Exchange, Times
from ctxkit.testing._fakes import FakeClock, MemorySink
from ctxkit.testing._items import Item
from ctxkit.testing.freezing import FreezingServer
from ctxkit.testing.runtime_api import LambdaHost, LambdaResult
from ctxkit.testing.sink import TelemetrySink

__all__ = (
    "Behaviour",
    "Exchange",
    "FakeClock",
    "FreezingServer",
    "Item",
    "LambdaHost",
    "LambdaResult",
    "MemorySink",
    "SinkContract",
    "TelemetrySink",
    "Times",
)
