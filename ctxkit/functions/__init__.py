"""The functions room: callable units that inherit their caller's frame, pools, contracts, work.

Every name is imported at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.functions._configured import configured as configured
    from ctxkit.functions._configured import options_of as options_of
    from ctxkit.functions.calling import Function as Function
    from ctxkit.functions.calling import acall as acall
    from ctxkit.functions.calling import call as call
    from ctxkit.functions.calling import call_sent as call_sent
    from ctxkit.functions.calling import function as function
    from ctxkit.functions.configuring import configure as configure
    from ctxkit.functions.configuring import configure_from as configure_from
    from ctxkit.functions.configuring import override as override
    from ctxkit.functions.contracts import describe as describe
    from ctxkit.functions.contracts import provide as provide
    from ctxkit.functions.contracts import provided as provided
    from ctxkit.functions.contracts import schema_of as schema_of
    from ctxkit.functions.contracts import use as use
    from ctxkit.functions.contracts import withdraw as withdraw
    from ctxkit.functions.durations import duration as duration
    from ctxkit.functions.pools import Pool as Pool
    from ctxkit.functions.pools import PoolStats as PoolStats
    from ctxkit.functions.retrying import Retry as Retry
    from ctxkit.functions.spawning import EmbeddedEngine as EmbeddedEngine
    from ctxkit.functions.spawning import Engine as Engine
    from ctxkit.functions.spawning import Work as Work
    from ctxkit.functions.spawning import add_engine as add_engine
    from ctxkit.functions.spawning import set_engine as set_engine
    from ctxkit.functions.units import Bound as Bound
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "_configured": ("configured", "options_of"),
            "calling": ("Function", "acall", "call", "call_sent", "function"),
            "configuring": ("configure", "configure_from", "override"),
            "contracts": ("describe", "provide", "provided", "schema_of", "use", "withdraw"),
            "durations": ("duration",),
            "pools": ("Pool", "PoolStats"),
            "retrying": ("Retry",),
            "spawning": ("EmbeddedEngine", "Engine", "Work", "add_engine", "set_engine"),
            "units": ("Bound",),
        },
    )
