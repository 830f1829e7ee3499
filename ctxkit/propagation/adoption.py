"""Adoption: a third party's ``threading.local`` becomes a :class:`ctxkit.Local`."""

from __future__ import annotations

import gc
import sys
import threading
from contextvars import copy_context
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from ctxkit.context import Local
from ctxkit.exceptions import AdoptionError, ConfigurationError
from ctxkit.propagation._import_hook import after_import, forget
from ctxkit.propagation._transplant import transplanted

if TYPE_CHECKING:
    from types import ModuleType

_lock = threading.RLock()


def adopt(module: str, name: str) -> None:
    """Replace a third party's ``threading.local`` by a :class:`ctxkit.Local`.

    For packages that keep the request in a ``threading.local``, where one thread serves
    many requests at once::

        ctxkit.adopt("crum", "_thread_locals")

    Args:
        module: The module's dotted name. It is not imported: if it was not yet, the
            adoption happens when it is.
        name: The name in that module of a ``threading.local``, of an instance of a
            subclass, or of a subclass. Dotted for an attribute of a class.

    Raises:
        AdoptionError: There is no such name, or it is something else. If the module is
            imported later, its import raises this.
        ConfigurationError: ``module`` or ``name`` is not a Python name.

    Context:
        Values that the old object holds are left behind: call it at start-up. Each
        context starts like a new thread; a subclass's ``__init__`` runs in it at the first
        use. What the package sets is visible where ``Local`` says.

    Safety:
        From any thread, any number of times. Wherever else in a loaded module the same
        object is bound by name, it is replaced there as well, and with a subclass its
        instances are too; what sits in attributes, closures and defaults is not found.
    """
    _check_name("module", module)
    _check_name("name", name)
    if module not in sys.modules:
        after_import(module, lambda loaded: _adopt_now(loaded, module, name))
    if module in sys.modules:
        # Does not import anything any more, but waits for a thread that is at it.
        _adopt_now(import_module(module), module, name)
        forget(module)


def _adopt_now(loaded: ModuleType, module: str, name: str) -> None:
    with _lock:
        *path, last = name.split(".")
        owner: Any = loaded
        for step in path:
            owner = _attribute(owner, step, module, name)
        old = _attribute(owner, last, module, name)
        if isinstance(old, Local) or (isinstance(old, type) and issubclass(old, Local)):
            return
        replacements = _Replacements(old, module, name)
        new = replacements.of(old)
        if owner is not loaded:
            setattr(owner, last, new)
        replacements.spread()


def _attribute(owner: Any, name: str, module: str, path: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        problem = f"there is no {name!r} in {getattr(owner, '__name__', owner)!r}"
        if getattr(getattr(owner, "__spec__", None), "_initializing", False):
            problem += " yet, as its import is still under way"
        raise AdoptionError(module, path, problem) from None


class _Replacements:
    """Find what takes whose place, the same for the same object."""

    def __init__(self, old: Any, module: str, name: str) -> None:
        self._old_class: Any = old if isinstance(old, type) else None
        if not issubclass(self._old_class or type(old), threading.local):
            raise AdoptionError(module, name, f"it is a {type(old).__name__}")
        if old is threading.local:
            raise AdoptionError(module, name, "it is threading.local itself")
        self._new: dict[int, Any] = {}
        self._kept: list[Any] = []

    def of(self, old: Any) -> Any:
        """Return what takes the place of ``old``."""
        if id(old) not in self._new:
            self._kept.append(old)  # or else another object might get its id
            if isinstance(old, type):
                new = transplanted(cast("type[object]", old))
            elif type(old) is self._old_class:
                new = _instance(old, self.of(self._old_class))
            else:
                new = _instance(old, transplanted(cast("type[object]", type(old))))
            self._new[id(old)] = new
        return self._new[id(old)]

    def spread(self) -> None:
        """Replace each of them wherever a module binds it by name."""
        for module in list(sys.modules.values()):
            names: Any = getattr(module, "__dict__", None)
            if isinstance(names, dict):
                self._spread_to(names)  # pyright: ignore[reportUnknownArgumentType] - of a module

    def _spread_to(self, names: dict[str, Any]) -> None:
        for name, value in [*names.items()]:
            if id(value) in self._new or type(value) is self._old_class:
                names[name] = self.of(value)


def _instance(old: Any, kind: type[Any]) -> Any:
    """Return a new ``kind`` made with the arguments of ``old``, without values anywhere."""
    # threading.local keeps the arguments for __init__ where only the collector sees them.
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = {}
    for held in [] if kind is Local else gc.get_referents(old):
        if isinstance(held, tuple):
            args = cast("tuple[object, ...]", held)
        elif isinstance(held, dict) and _names_only(cast("dict[object, object]", held)):
            kwargs = cast("dict[str, object]", held)
    # In a copy, so that no context inherits what __init__ sets here.
    return copy_context().run(kind, *args, **kwargs)


def _names_only(mapping: dict[object, object]) -> bool:
    return all(isinstance(key, str) for key in mapping)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"adopt({what}=)",
            f"must be a dotted Python name, not {name!r}",
            'Write it like adopt("crum", "_thread_locals").',
        )
