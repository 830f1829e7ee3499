"""Call back whenever a module that somebody waits for was executed. Private."""

from __future__ import annotations

import sys
import threading
from fnmatch import fnmatchcase
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec

_lock = threading.RLock()
_waiting: dict[str, dict[str, Callable[[ModuleType], None]]] = {}
#: Those that were no name of one module: few, and all that is compared with each import.
_patterns: set[str] = set()
#: What ``module.__dict__`` is where no ``__getattribute__`` comes between.
_dict: Any = vars(ModuleType)["__dict__"]


def after_import(module: str, key: str, callback: Callable[[ModuleType], None]) -> None:
    """Call ``callback`` with each module that matches ``module``, whenever it was executed.

    That is again when it is reloaded. Only the last under the same ``key`` is called.
    """
    with _lock:
        _waiting.setdefault(module, {})[key] = callback
        if not module.replace(".", "_").isidentifier():
            _patterns.add(module)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)


def forget(module: str, key: str | None = None) -> None:
    """Forget who waits for ``module`` under ``key``, or under any."""
    with _lock:
        callbacks = _waiting.get(module, {})
        for each in [*callbacks] if key is None else [key]:
            callbacks.pop(each, None)
        if not callbacks:
            _waiting.pop(module, None)
        # The finder stays: a thread that goes through sys.meta_path would miss the next one.


def loaded_matching(module: str) -> list[str]:
    """Return the names of the modules that match ``module`` and were imported."""
    return [name for name in sys.modules.copy() if fnmatchcase(name, module)]


def is_under_way(module: object) -> bool:
    """Tell whether ``module`` is being executed, in whichever thread."""
    return bool(getattr(names_of(module).get("__spec__"), "_initializing", False))


def names_of(module: object) -> dict[str, Any]:
    """Return the names at the top of what stands in ``sys.modules``, without loading it."""
    # To ask a module of importlib.util.LazyLoader for its __dict__ loads it.
    is_module = issubclass(type(module), ModuleType)
    names: Any = _dict.__get__(module) if is_module else getattr(module, "__dict__", None)
    return cast("dict[str, Any]", names) if isinstance(names, dict) else {}


def told_later(module: object) -> bool:
    """Tell whether ``module`` is only executed when it is used, and see that we are told."""
    util: Any = sys.modules.get("importlib.util")
    if util is None or type(module) is not getattr(util, "_LazyModule", None):
        return False
    spec = names_of(module)["__spec__"]
    if not isinstance(spec.loader, _TellingLoader):
        spec.loader = _TellingLoader(spec.loader)
    return True


def _due(module: str) -> list[Callable[[ModuleType], None]]:
    with _lock:
        return [
            callback
            for pattern in (module, *_patterns)
            if pattern == module or fnmatchcase(module, pattern)
            for callback in _waiting.get(pattern, {}).values()
        ]


class _Finder(MetaPathFinder):
    """Find the modules that are waited for, by way of all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the others find, with a loader that tells."""
        if not _due(fullname):
            return None
        for finder in [*sys.meta_path]:
            if finder is self:
                continue
            find: Any = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(fullname, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _TellingLoader(spec.loader)
                return spec
        return None


class _TellingLoader(Loader):
    """Stand before a module's own loader until the module was executed."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the module's own loader."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module by its own loader, then tell who waits for it."""
        spec: Any = module.__spec__
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        for callback in _due(spec.name):
            callback(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()
