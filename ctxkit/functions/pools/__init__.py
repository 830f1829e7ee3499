"""Pools: how many calls may run at a time, and the threads that jobs run on."""

from __future__ import annotations

from ctxkit.functions.pools._slots import NoSlot, Slot
from ctxkit.functions.pools.gate import PoolStats
from ctxkit.functions.pools.pool import Pool

__all__ = ("NoSlot", "Pool", "PoolStats", "Slot")
