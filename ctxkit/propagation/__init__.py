"""The propagation room: how context crosses to threads, pools, tasks and strangers' state.

Names are imported at first use: who wants a thread does not pay for asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.propagation.adoption import adopt as adopt
    from ctxkit.propagation.pools import ThreadPoolExecutor as ThreadPoolExecutor
    from ctxkit.propagation.tasks import create_task as create_task
    from ctxkit.propagation.tasks import run_in_executor as run_in_executor
    from ctxkit.propagation.tasks import to_thread as to_thread
    from ctxkit.propagation.threads import Thread as Thread
    from ctxkit.propagation.threads import Timer as Timer
    from ctxkit.propagation.wrapping import propagate as propagate
else:
    _HOME = {
        "Thread": "threads",
        "ThreadPoolExecutor": "pools",
        "Timer": "threads",
        "adopt": "adoption",
        "create_task": "tasks",
        "propagate": "wrapping",
        "run_in_executor": "tasks",
        "to_thread": "tasks",
    }

    # Hidden from type checkers: a visible module __getattr__ makes every typo valid.
    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module = __import__(f"{__name__}.{home}", fromlist=(name,))
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})

    __all__ = tuple(_HOME)
