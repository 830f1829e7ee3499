"""The one ContextVar of ctxkit. Private: read it with :func:`ctxkit.current`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.context.frame import Frame

# One variable for all values, not one per key: ContextVar.set grows with the number of
# variables in the context, a dict lookup does not.
CURRENT: ContextVar[Frame] = ContextVar("ctxkit.frame")
