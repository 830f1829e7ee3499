"""Call back when a module was imported for the first time. Private."""

from __future__ import annotations

import sys
import threading
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_lock = threading.RLock()
_waiting: dict[str, list[Callable[[ModuleType], None]]] = {}


def after_import(module: str, callback: Callable[[ModuleType], None]) -> None:
    """Call ``callback`` with ``module`` once it was executed, and forget it then."""
    with _lock:
        _waiting.setdefault(module, []).append(callback)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)


def forget(module: str) -> list[Callable[[ModuleType], None]]:
    """Forget who waits for ``module`` and return them."""
    with _lock:
        callbacks = _waiting.pop(module, [])
        if not _waiting and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
    return callbacks


class _Finder(MetaPathFinder):
    """Find the modules that are waited for, by way of all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the others find, with a loader that tells."""
        if fullname not in _waiting:
            return None
        for finder in sys.meta_path:
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
        for callback in forget(spec.name):
            callback(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()
