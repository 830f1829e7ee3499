"""What a plain thread does not get from its starter, though the rest comes along. Private."""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar, copy_context
from typing import Any

#: Where Django keeps the language, the time zone, the urlconf and the script prefix.
_DJANGO = (
    ("django.utils.translation.trans_real", "_active"),
    ("django.utils.timezone", "_active"),
    ("django.urls.base", "_urlconfs"),
    ("django.urls.base", "_prefixes"),
)


def isolated_context() -> Context:
    """Return a copy of the current context without what is documented as local to a thread.

    There is code that relies on it, so that a plain ``threading.Thread`` has to keep it:
    asgiref's ``Local`` values, except for Django's state, and decimal's arithmetic.
    """
    context = copy_context()
    local = {variable for variable in context if _is_local(variable)}
    if local and not _django_variables().issuperset(local):
        return _without(local - _django_variables(), context)
    return context


def _is_local(variable: ContextVar[Any]) -> bool:
    if variable.name == "decimal_context":
        # Python itself lets it be inherited under this flag.
        return not getattr(sys.flags, "thread_inherit_context", False)
    return variable.name == "asgiref.local"  # since asgiref 3.10


def _without(left_out: set[ContextVar[Any]], context: Context) -> Context:
    rest = Context()
    for variable, value in context.items():
        if variable not in left_out:
            rest.run(variable.set, value)
    return rest


def _django_variables() -> set[Any]:
    found = (_variable(module, name) for module, name in _DJANGO)
    return {each for each in found if isinstance(each, ContextVar)}


def _variable(module: str, name: str) -> Any:
    local = getattr(sys.modules.get(module), name, None)
    return getattr(getattr(local, "_storage", None), "_data", None)
