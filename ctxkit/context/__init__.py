"""The context room: what is known about the work at hand, and where it is visible."""

from __future__ import annotations

from ctxkit.context.deadline import Deadline
from ctxkit.context.frame import NO_FRAME, Frame, Lazy, bind, current, get
from ctxkit.context.key import MISSING, Key

__all__ = (
    "MISSING",
    "NO_FRAME",
    "Deadline",
    "Frame",
    "Key",
    "Lazy",
    "bind",
    "current",
    "get",
)
