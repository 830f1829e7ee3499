"""What a context needs when it comes to another thread. Private.

A copied context shares its values with the one it was copied from, and three of the
values that libraries keep there do not stand that: asgiref's belong to a thread, Sentry's
scopes and decimal's arithmetic are changed in place. Nothing is imported here: a library
that was never imported has left nothing in a context.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import Any

from ctxkit.context._hops import HELD_UP
from ctxkit.context._sifting import sift_values

#: The asgiref module whose shape was reported as unknown, so that it is said once.
_reported: list[object] = []


def rehome() -> None:
    """Make asgiref's ``Local`` values in the current context visible to this thread.

    Since asgiref 3.12 (https://github.com/django/asgiref/pull/564) each value carries the
    id of its thread and is invisible to others, until asgiref moves it. Django keeps the
    language, the time zone, the urlconf and the script prefix in such values.
    """
    local = sys.modules.get("asgiref.local")
    if not hasattr(local, "Local"):  # not imported, or not to the end yet
        return
    storage = getattr(local, "_Storage", None)
    move = getattr(local, "_rehome", None)
    if storage is None or move is None:
        _report(local)
        return
    for variable, value in copy_context().items():
        if type(value) is storage:
            variable.set(move(value))


def depart() -> None:
    """Fork Sentry's scopes in the current context.

    Run in a context that was just captured: what the parent writes to its scopes later is
    none of the child's business, and the other way round.
    """
    sentry: Any = sys.modules.get("sentry_sdk")
    scope: Any = getattr(sentry, "Scope", None)
    if not hasattr(scope, "set_isolation_scope") or not scope.get_client().is_active():
        return  # before 2.0 there was one hub for each thread
    scope.set_isolation_scope(scope.get_isolation_scope().fork())
    scope.set_current_scope(scope.get_current_scope().fork())


def arrive() -> None:
    """Make the current context, a copy from another thread, fit for this thread."""
    if HELD_UP:
        sift_values()
    rehome()
    decimal: Any = sys.modules.get("decimal")
    if decimal is not None:
        decimal.setcontext(decimal.getcontext().copy())


def _report(local: object) -> None:
    version: str = getattr(sys.modules.get("asgiref"), "__version__", "0")
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if parts < (3, 12) or local in _reported:
        return
    _reported.append(local)
    import warnings  # noqa: PLC0415 - only on the way to a warning

    warnings.warn(
        f"ctxkit does not know how asgiref {version} ties Local values to threads: Django's "
        "language and time zone will not follow into threads. Report it to ctxkit, and use "
        "an asgiref below that version until then.",
        RuntimeWarning,
        stacklevel=2,
    )
