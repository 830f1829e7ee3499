"""Spawning: work that outlives the request takes values along, never the lifetime."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.functions.spawning.embedded import EmbeddedEngine as EmbeddedEngine
    from ctxkit.functions.spawning.engines import Engine as Engine
    from ctxkit.functions.spawning.engines import Work as Work
    from ctxkit.functions.spawning.engines import add_engine as add_engine
    from ctxkit.functions.spawning.engines import set_engine as set_engine
    from ctxkit.functions.spawning.sending import aspawn as aspawn
    from ctxkit.functions.spawning.sending import refuse_unsent as refuse_unsent
    from ctxkit.functions.spawning.sending import spawn as spawn
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "embedded": ("EmbeddedEngine",),
            "engines": ("Engine", "Work", "add_engine", "set_engine"),
            "sending": ("aspawn", "refuse_unsent", "spawn"),
        },
    )
