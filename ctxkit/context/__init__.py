"""The context room: what is known about the work at hand, and where it is visible."""

from __future__ import annotations

from ctxkit.context.accessors import (
    Accessor,
    ThreadLocalAccessor,
    register_accessor,
    unregister_accessor,
)
from ctxkit.context.deadline import Deadline
from ctxkit.context.frame import NO_FRAME, Frame, Lazy, bind, current, get
from ctxkit.context.key import MISSING, Key
from ctxkit.context.lifetime import checkpoint, defer, remaining
from ctxkit.context.local import Local
from ctxkit.context.snapshot import Snapshot, capture
from ctxkit.context.stepping import aiterate_in, iterate_in, run_coroutine_in

__all__ = (
    "MISSING",
    "NO_FRAME",
    "Accessor",
    "Deadline",
    "Frame",
    "Key",
    "Lazy",
    "Local",
    "Snapshot",
    "ThreadLocalAccessor",
    "aiterate_in",
    "bind",
    "capture",
    "checkpoint",
    "current",
    "defer",
    "get",
    "iterate_in",
    "register_accessor",
    "remaining",
    "run_coroutine_in",
    "unregister_accessor",
)
