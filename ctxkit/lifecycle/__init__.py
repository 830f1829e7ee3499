"""The lifecycle room: where we run, when that begins, stands still, ends, what is kept and left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.lifecycle._occasions import Hook as Hook
    from ctxkit.lifecycle.hooks import after_restore as after_restore
    from ctxkit.lifecycle.hooks import before_snapshot as before_snapshot
    from ctxkit.lifecycle.hooks import on_init as on_init
    from ctxkit.lifecycle.hooks import on_reset as on_reset
    from ctxkit.lifecycle.hooks import on_shutdown as on_shutdown
    from ctxkit.lifecycle.hooks import on_thaw as on_thaw
    from ctxkit.lifecycle.hooks import run_after_restore as run_after_restore
    from ctxkit.lifecycle.hooks import run_before_snapshot as run_before_snapshot
    from ctxkit.lifecycle.hooks import run_init as run_init
    from ctxkit.lifecycle.hooks import run_shutdown as run_shutdown
    from ctxkit.lifecycle.hosts import Hold as Hold
    from ctxkit.lifecycle.hosts import Host as Host
    from ctxkit.lifecycle.hosts import detect as detect
    from ctxkit.lifecycle.leftovers import Leftover as Leftover
    from ctxkit.lifecycle.leftovers import LeftoverPolicy as LeftoverPolicy
    from ctxkit.lifecycle.leftovers import on_leftovers as on_leftovers
    from ctxkit.lifecycle.lifespan import begin_lifespan as begin_lifespan
    from ctxkit.lifecycle.lifespan import end_lifespan as end_lifespan
    from ctxkit.lifecycle.phases import Environment as Environment
    from ctxkit.lifecycle.phases import begun as begun
    from ctxkit.lifecycle.phases import environment as environment
    from ctxkit.lifecycle.scratch import ScratchCache as ScratchCache
    from ctxkit.lifecycle.sigterm import drain_on_sigterm as drain_on_sigterm
    from ctxkit.lifecycle.warming import Warm as Warm
    from ctxkit.lifecycle.warming import warm as warm
    from ctxkit.lifecycle.warming_async import AsyncWarm as AsyncWarm
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "_occasions": ("Hook",),
            "hooks": (
                "after_restore",
                "before_snapshot",
                "on_init",
                "on_reset",
                "on_shutdown",
                "on_thaw",
                "run_after_restore",
                "run_before_snapshot",
                "run_init",
                "run_shutdown",
            ),
            "hosts": ("Hold", "Host", "detect"),
            "leftovers": ("Leftover", "LeftoverPolicy", "on_leftovers"),
            "lifespan": ("begin_lifespan", "end_lifespan"),
            "phases": ("Environment", "begun", "environment"),
            "scratch": ("ScratchCache",),
            "sigterm": ("drain_on_sigterm",),
            "warming": ("Warm", "warm"),
            "warming_async": ("AsyncWarm",),
        },
    )
