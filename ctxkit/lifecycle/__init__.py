"""The lifecycle room: where we run, and when that ends."""

from __future__ import annotations

from ctxkit.lifecycle.hosts import Environment, Hold, detect, environment
from ctxkit.lifecycle.shutdown import at_shutdown, run_shutdown

__all__ = ("Environment", "Hold", "at_shutdown", "detect", "environment", "run_shutdown")
