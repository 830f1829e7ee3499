"""The pools of the process that have a name. Private."""

from __future__ import annotations

import os
from threading import RLock
from typing import TYPE_CHECKING, Final, cast, final

from ctxkit.exceptions import ConfigurationError, DuplicateName
from ctxkit.functions._reading import close_to

if TYPE_CHECKING:
    from ctxkit.functions.pools.pool import Pool


@final
class Names:
    """Know the open pools that have a name. There is one, :data:`NAMES`."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self.restart()

    def restart(self) -> None:
        """Forget who was at it. In a child, where that of the parent may have been held."""
        self._lock = RLock()  # a finalizer may close a pool while this very thread has it

    def add(self, pool: Pool) -> None:
        """Note a pool under its name, if it has one.

        Raises:
            DuplicateName: Another one has it.
            ConfigurationError: It is no name.
        """
        name = cast("object", pool.name)
        if name is None:
            return
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(
                "Pool(name=)", f"must be text, and not empty, not {name!r}", "Give it a name."
            )
        with self._lock:
            if self._pools.setdefault(name, pool) is not pool:
                raise DuplicateName("pool", name)

    def discard(self, pool: Pool) -> None:
        """Forget a pool."""
        with self._lock:
            if pool.name is not None and self._pools.get(pool.name) is pool:
                del self._pools[pool.name]

    def find(self, name: str) -> Pool:
        """Return the pool of this name.

        Raises:
            ConfigurationError: There is none.
        """
        pool = self._pools.get(name)
        if pool is not None:
            return pool
        near = close_to(str(name), self._pools)
        hint = f"Did you mean {near!r}? " if near else ""
        raise ConfigurationError(
            "Pool.named()",
            f"got {name!r}, and no open pool is called so",
            f"{hint}Make it before: Pool.static(workers=8, name={name!r}).",
        )


NAMES: Final = Names()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=NAMES.restart)
