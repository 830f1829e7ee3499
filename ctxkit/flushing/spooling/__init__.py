"""The spool: what could not be sent is kept in scratch space, and sent when it can be.

Off unless asked for.
"""

from __future__ import annotations

from ctxkit.flushing.spooling.switch import (
    SpoolStatus,
    spool_status,
    start_spooling,
    stop_spooling,
)

__all__ = ("SpoolStatus", "spool_status", "start_spooling", "stop_spooling")
