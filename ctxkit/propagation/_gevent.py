"""Greenlets of gevent start with the context of whoever spawns them. Private."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import gevent  # type: ignore[import-untyped]  # pyright: ignore[reportMissingModuleSource]

from ctxkit.context._arrival import arrive
from ctxkit.context.accessors import any_registered, held, restored
from ctxkit.context.errand import forked_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.context.accessors import Held


def put_on() -> None:
    """Have gevent tell of each greenlet that is spawned."""
    gevent.Greenlet.add_spawn_callback(_give_context)


def take_off() -> None:
    """Have gevent tell no more."""
    gevent.Greenlet.remove_spawn_callback(_give_context)


def _give_context(greenlet: Any) -> None:
    if greenlet.gr_context is None:
        greenlet.gr_context = forked_context()
        # Its identity is its own where gevent patched threading: values have to be told.
        # gevent forgets _run once it ran.
        values = held() if any_registered() else ()
        greenlet._run = _arriving(greenlet._run, values)  # noqa: SLF001 - documented for subclasses


def _arriving(run: Callable[..., Any], values: Held) -> Callable[..., Any]:
    @wraps(run)
    def arriving(*args: Any, **kwargs: Any) -> Any:
        arrive()
        with restored(values):
            return run(*args, **kwargs)

    return arriving
