"""The propagation room: how context crosses to threads, pools, tasks, wires and strangers' state.

Names are imported at first use: who wants a thread does not pay for asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.propagation.adoption import adopt as adopt
    from ctxkit.propagation.installing import install as install
    from ctxkit.propagation.installing import is_installed as is_installed
    from ctxkit.propagation.installing import uninstall as uninstall
    from ctxkit.propagation.leaks import Leak as Leak
    from ctxkit.propagation.leaks import LeakWatch as LeakWatch
    from ctxkit.propagation.leaks import find_leaks as find_leaks
    from ctxkit.propagation.leaks import left_behind as left_behind
    from ctxkit.propagation.pools import ThreadPoolExecutor as ThreadPoolExecutor
    from ctxkit.propagation.processes import InterpreterPoolExecutor as InterpreterPoolExecutor
    from ctxkit.propagation.processes import ProcessPoolExecutor as ProcessPoolExecutor
    from ctxkit.propagation.tasks import create_task as create_task
    from ctxkit.propagation.tasks import run_in_executor as run_in_executor
    from ctxkit.propagation.tasks import to_thread as to_thread
    from ctxkit.propagation.threads import Thread as Thread
    from ctxkit.propagation.threads import Timer as Timer
    from ctxkit.propagation.wire import BAGGAGE as BAGGAGE
    from ctxkit.propagation.wire import TRACEPARENT as TRACEPARENT
    from ctxkit.propagation.wire import TRACESTATE as TRACESTATE
    from ctxkit.propagation.wire import extract as extract
    from ctxkit.propagation.wire import inject as inject
    from ctxkit.propagation.wrapping import aiterate as aiterate
    from ctxkit.propagation.wrapping import detached as detached
    from ctxkit.propagation.wrapping import iterate as iterate
    from ctxkit.propagation.wrapping import propagate as propagate
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "adoption": ("adopt",),
            "installing": ("install", "is_installed", "uninstall"),
            "leaks": ("Leak", "LeakWatch", "find_leaks", "left_behind"),
            "pools": ("ThreadPoolExecutor",),
            "processes": ("InterpreterPoolExecutor", "ProcessPoolExecutor"),
            "tasks": ("create_task", "run_in_executor", "to_thread"),
            "threads": ("Thread", "Timer"),
            "wrapping": ("aiterate", "detached", "iterate", "propagate"),
            "wire": ("BAGGAGE", "TRACEPARENT", "TRACESTATE", "extract", "inject"),
        },
    )
