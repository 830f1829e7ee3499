"""Request context that follows, telemetry that lands, and nothing left behind.

The public names of ctxkit. Each is imported from its room at first use, so that
``import ctxkit`` costs next to nothing on a cold start.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers go by the name; typing itself is some twenty modules
if TYPE_CHECKING:
    from ctxkit.boundary import ASGIMiddleware as ASGIMiddleware
    from ctxkit.boundary import Call as Call
    from ctxkit.boundary import Interceptor as Interceptor
    from ctxkit.boundary import RequestIdFilter as RequestIdFilter
    from ctxkit.boundary import WSGIMiddleware as WSGIMiddleware
    from ctxkit.boundary import add_interceptor as add_interceptor
    from ctxkit.boundary import either as either
    from ctxkit.boundary import flush_before_return as flush_before_return
    from ctxkit.boundary import interceptor as interceptor
    from ctxkit.boundary import invocation as invocation
    from ctxkit.boundary import remove_interceptor as remove_interceptor
    from ctxkit.context import Accessor as Accessor
    from ctxkit.context import Deadline as Deadline
    from ctxkit.context import Frame as Frame
    from ctxkit.context import Key as Key
    from ctxkit.context import Local as Local
    from ctxkit.context import Snapshot as Snapshot
    from ctxkit.context import ThreadLocalAccessor as ThreadLocalAccessor
    from ctxkit.context import bind as bind
    from ctxkit.context import capture as capture
    from ctxkit.context import checkpoint as checkpoint
    from ctxkit.context import current as current
    from ctxkit.context import defer as defer
    from ctxkit.context import get as get
    from ctxkit.context import register_accessor as register_accessor
    from ctxkit.context import remaining as remaining
    from ctxkit.context import unregister_accessor as unregister_accessor
    from ctxkit.exceptions import AdoptionError as AdoptionError
    from ctxkit.exceptions import BindingNotFound as BindingNotFound
    from ctxkit.exceptions import Cancelled as Cancelled
    from ctxkit.exceptions import CircuitOpen as CircuitOpen
    from ctxkit.exceptions import ConfigurationError as ConfigurationError
    from ctxkit.exceptions import ContractMismatch as ContractMismatch
    from ctxkit.exceptions import ContractViolation as ContractViolation
    from ctxkit.exceptions import CtxkitError as CtxkitError
    from ctxkit.exceptions import DeadlineExceeded as DeadlineExceeded
    from ctxkit.exceptions import DuplicateName as DuplicateName
    from ctxkit.exceptions import EngineUnavailable as EngineUnavailable
    from ctxkit.exceptions import FrameClosed as FrameClosed
    from ctxkit.exceptions import FunctionNotFound as FunctionNotFound
    from ctxkit.exceptions import InvalidTarget as InvalidTarget
    from ctxkit.exceptions import KeyNotBoundError as KeyNotBoundError
    from ctxkit.exceptions import MissingContext as MissingContext
    from ctxkit.exceptions import MissingDependencyError as MissingDependencyError
    from ctxkit.exceptions import PermissionDenied as PermissionDenied
    from ctxkit.exceptions import PoolClosed as PoolClosed
    from ctxkit.exceptions import PoolFull as PoolFull
    from ctxkit.flushing import FlushReport as FlushReport
    from ctxkit.flushing import Sink as Sink
    from ctxkit.flushing import aflush as aflush
    from ctxkit.flushing import flush as flush
    from ctxkit.functions import Pool as Pool
    from ctxkit.functions import PoolStats as PoolStats
    from ctxkit.functions import Retry as Retry
    from ctxkit.functions import acall as acall
    from ctxkit.functions import call as call
    from ctxkit.functions import function as function
    from ctxkit.functions import provide as provide
    from ctxkit.functions import provided as provided
    from ctxkit.functions import use as use
    from ctxkit.lifecycle import Environment as Environment
    from ctxkit.lifecycle import ScratchCache as ScratchCache
    from ctxkit.lifecycle import after_restore as after_restore
    from ctxkit.lifecycle import before_snapshot as before_snapshot
    from ctxkit.lifecycle import environment as environment
    from ctxkit.lifecycle import on_init as on_init
    from ctxkit.lifecycle import on_reset as on_reset
    from ctxkit.lifecycle import on_shutdown as on_shutdown
    from ctxkit.lifecycle import on_thaw as on_thaw
    from ctxkit.lifecycle import warm as warm
    from ctxkit.propagation import InterpreterPoolExecutor as InterpreterPoolExecutor
    from ctxkit.propagation import Leak as Leak
    from ctxkit.propagation import LeakWatch as LeakWatch
    from ctxkit.propagation import ProcessPoolExecutor as ProcessPoolExecutor
    from ctxkit.propagation import Thread as Thread
    from ctxkit.propagation import ThreadPoolExecutor as ThreadPoolExecutor
    from ctxkit.propagation import Timer as Timer
    from ctxkit.propagation import adopt as adopt
    from ctxkit.propagation import aiterate as aiterate
    from ctxkit.propagation import create_task as create_task
    from ctxkit.propagation import detached as detached
    from ctxkit.propagation import extract as extract
    from ctxkit.propagation import find_leaks as find_leaks
    from ctxkit.propagation import inject as inject
    from ctxkit.propagation import install as install
    from ctxkit.propagation import is_installed as is_installed
    from ctxkit.propagation import iterate as iterate
    from ctxkit.propagation import left_behind as left_behind
    from ctxkit.propagation import propagate as propagate
    from ctxkit.propagation import run_in_executor as run_in_executor
    from ctxkit.propagation import to_thread as to_thread
    from ctxkit.propagation import uninstall as uninstall
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "boundary": (
                "ASGIMiddleware",
                "Call",
                "Interceptor",
                "RequestIdFilter",
                "WSGIMiddleware",
                "add_interceptor",
                "either",
                "flush_before_return",
                "interceptor",
                "invocation",
                "remove_interceptor",
            ),
            "context": (
                "Accessor",
                "Deadline",
                "Frame",
                "Key",
                "Local",
                "Snapshot",
                "ThreadLocalAccessor",
                "bind",
                "capture",
                "checkpoint",
                "current",
                "defer",
                "get",
                "register_accessor",
                "remaining",
                "unregister_accessor",
            ),
            "exceptions": (
                "AdoptionError",
                "BindingNotFound",
                "Cancelled",
                "CircuitOpen",
                "ConfigurationError",
                "ContractMismatch",
                "ContractViolation",
                "CtxkitError",
                "DeadlineExceeded",
                "DuplicateName",
                "EngineUnavailable",
                "FrameClosed",
                "FunctionNotFound",
                "InvalidTarget",
                "KeyNotBoundError",
                "MissingContext",
                "MissingDependencyError",
                "PermissionDenied",
                "PoolClosed",
                "PoolFull",
            ),
            "flushing": ("FlushReport", "Sink", "aflush", "flush"),
            "functions": (
                "Pool",
                "PoolStats",
                "Retry",
                "acall",
                "call",
                "function",
                "provide",
                "provided",
                "use",
            ),
            "lifecycle": (
                "Environment",
                "ScratchCache",
                "after_restore",
                "before_snapshot",
                "environment",
                "on_init",
                "on_reset",
                "on_shutdown",
                "on_thaw",
                "warm",
            ),
            "propagation": (
                "InterpreterPoolExecutor",
                "Leak",
                "LeakWatch",
                "ProcessPoolExecutor",
                "Thread",
                "ThreadPoolExecutor",
                "Timer",
                "adopt",
                "aiterate",
                "create_task",
                "detached",
                "extract",
                "find_leaks",
                "inject",
                "install",
                "is_installed",
                "iterate",
                "left_behind",
                "propagate",
                "run_in_executor",
                "to_thread",
                "uninstall",
            ),
        },
    )
