"""What a context needs when it comes to another thread. Private.

A copied context shares its values with the one it was copied from, and three of the
values that libraries keep there do not stand that: asgiref's belong to a thread, Sentry's
scopes and decimal's arithmetic are changed in place. Nothing is imported here: a library
that was never imported has left nothing in a context.
"""

from __future__ import annotations

import gc
import sys
from _thread import allocate_lock, get_ident
from contextvars import Context, copy_context
from functools import update_wrapper
from typing import TYPE_CHECKING, Any
from weakref import ref

from ctxkit.context._hops import HELD_UP
from ctxkit.context._sifting import sift_values

if TYPE_CHECKING:
    from contextvars import ContextVar

#: The context variables of asgiref's ``Local`` objects, each under a reference to the object that
#: has it, which takes it out when it dies. Found once, since looking for them in a context takes
#: the longer the more variables that has, and noted when made after that.
_variables: dict[ref[Any], ContextVar[Any]] = {}
#: The class of asgiref's they were found for; a module that is loaded again has another.
_watched: list[object] = []
#: Those of which some were made before ``gc.freeze()``, and cannot be found.
_frozen: list[object] = []
#: The asgiref module whose shape was reported as unknown, so that it is said once.
_reported: list[object] = []
_lock = allocate_lock()
#: The context variable of decimal; found once.
_arithmetic: list[ContextVar[Any]] = []


def rehome() -> None:
    """Make asgiref's ``Local`` values in the current context visible to this thread.

    Since asgiref 3.12 (https://github.com/django/asgiref/pull/564) each value carries the
    id of its thread and is invisible to others, until asgiref moves it. Django keeps the
    language, the time zone, the urlconf and the script prefix in such values.
    """
    local = sys.modules.get("asgiref.local")
    if not hasattr(local, "Local"):  # not imported, or not to the end yet
        return
    kind: Any = getattr(local, "_CVar", None)
    if kind not in _watched:
        if not _is_known(local):
            _report(local)
            return
        watch(local)
    storage: Any = local._Storage  # type: ignore[union-attr]  # noqa: SLF001 - checked
    here, stays = get_ident(), _executor_variable()
    for variable in _frozen_and_others() if kind in _frozen else [*_variables.values()]:
        value = variable.get(None)
        if value is not None and value.thread_id != here and variable is not stays:
            variable.set(storage(here, value.data))


def _executor_variable() -> object:
    """Return where asgiref keeps the executor of a thread that waits in ``async_to_sync``.

    It is of no use to others: they would hand it their work when that thread waits no longer.
    """
    bridge = getattr(sys.modules.get("asgiref.sync"), "AsyncToSync", None)
    holder = getattr(getattr(bridge, "executors", None), "_storage", None)
    return getattr(holder, "_data", None)


def _is_known(local: object) -> bool:
    """Return whether ``asgiref.local`` is made as in asgiref 3.12 and 3.13."""
    slots = getattr(getattr(local, "_Storage", None), "__slots__", None)
    return slots == ("thread_id", "data") and hasattr(local, "_CVar")


def watch(local: Any) -> None:
    """Find the context variables of all ``Local`` objects that are and that will be."""
    kind: Any = local._CVar  # noqa: SLF001 - there is no public way to these
    made = kind.__init__

    def __init__(self: Any) -> None:  # noqa: N807 - becomes the class's
        made(self)
        _note(self)

    with _lock:
        if kind in _watched:
            return
        kind.__init__ = update_wrapper(__init__, made)
        for each in gc.get_referrers(kind):
            if type(each) is kind:
                _note(each)
        if gc.get_freeze_count():
            _frozen.append(kind)
        _watched.append(kind)


def _frozen_and_others() -> list[ContextVar[Any]]:
    """Return the variables of ``Local`` objects in the current context by looking for them."""
    return [variable for variable in copy_context() if variable.name == "asgiref.local"]


def _note(holder: Any) -> None:
    _variables[ref(holder, _variables.pop)] = holder._data  # noqa: SLF001 - as above


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
    if "asgiref.local" in sys.modules:
        rehome()
    part_arithmetic()


def part_arithmetic() -> None:
    """Give the current context its own of decimal's contexts, if it holds one."""
    decimal = sys.modules.get("decimal")
    if decimal is not None:
        for variable in _arithmetic or _found_arithmetic(decimal):
            value = variable.get(None)
            if value is not None:
                variable.set(value.copy())


def is_bare() -> bool:
    """Return whether the current context can go to another thread as it is.

    To be asked when it is captured: a library that is imported later has left nothing in it.
    """
    modules = sys.modules
    if "sentry_sdk" in modules or "asgiref.local" in modules or HELD_UP:
        return False
    if "decimal" in modules:
        for variable in _arithmetic or (_found_arithmetic(modules["decimal"])):
            if variable.get(None) is not None:
                return False
    return True


def _found_arithmetic(decimal: Any) -> list[ContextVar[Any]]:
    # It has no public name, but it is all that an empty context holds after this.
    if hasattr(decimal, "getcontext"):  # imported to the end
        _arithmetic[:] = Context().run(lambda: (decimal.getcontext(), *copy_context())[1:])
    return _arithmetic


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
