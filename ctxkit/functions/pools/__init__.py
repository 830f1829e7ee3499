"""Pools: how many calls may run at a time, and the threads that jobs run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.functions.pools._ledger import PoolStats as PoolStats
    from ctxkit.functions.pools._slots import NoSlot as NoSlot
    from ctxkit.functions.pools._slots import Slot as Slot
    from ctxkit.functions.pools.pool import Pool as Pool
else:
    from ctxkit._lazy import open_lazily

    # Whoever asks for what a call holds, which costs nothing, needs no executor for that.
    open_lazily(
        globals(),
        {
            "_slots": ("NoSlot", "Slot"),
            "_ledger": ("PoolStats",),
            "pool": ("Pool",),
        },
    )
