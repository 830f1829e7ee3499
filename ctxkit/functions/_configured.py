"""What is configured in this process about functions and pools; read when there is need for it."""

from __future__ import annotations

import os
from _thread import allocate_lock
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, final

from ctxkit.boundary.intercepting import CHAIN
from ctxkit.exceptions import ConfigurationError, DuplicateName, PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from ctxkit.context import Deadline
    from ctxkit.functions._pool_settings import PoolSettings
    from ctxkit.functions.pools import NoSlot, Pool, Slot

    Made = dict[str, tuple[PoolSettings, Pool]]

#: Names the file of the configuration.
CONFIG_VARIABLE: Final = "CTXKIT_CONFIG"
_NOTHING: Final[Mapping[str, object]] = {}


@final
class Configuration:
    """Hold what is configured about functions and pools, checked. Immutable.

    Attributes:
        pools: What is said about each pool.
        functions: The options that are set for each function, or for each of a module.
    """

    __slots__ = ("_resolved", "functions", "pools")

    def __init__(
        self,
        pools: Mapping[str, PoolSettings],
        functions: Mapping[str, Mapping[str, object]],
    ) -> None:
        self.pools: Mapping[str, PoolSettings] = pools
        self.functions: Mapping[str, Mapping[str, object]] = functions
        self._resolved: dict[str, Mapping[str, object]] = {}

    def options_of(self, name: str) -> Mapping[str, object]:
        """Return the options that are set for the function ``name``: not to be changed."""
        if not self.functions:
            return _NOTHING
        found = self._resolved.get(name)
        if found is None:
            every = self.functions.get(f"{name.partition(':')[0]}:*", {})
            found = self._resolved[name] = {**every, **self.functions.get(name, {})}
        return found


@final
class Configured:
    """Know what is configured in this process.

    Attributes:
        version: Another one after each change, for whoever keeps what depends on it.

    Safety:
        Every method may be called by any thread. A reader sees one configuration or the next,
        each whole.
    """

    __slots__ = ("_configuration", "_lock", "_pools", "_source", "version")

    def __init__(self, source: Callable[[], Configuration]) -> None:
        self._source = source
        self._configuration: Configuration | None = None
        self._pools: Made = {}
        self.version: int = 0
        self.restart()

    def restart(self) -> None:
        """Forget who was at it. In a child, where that of the parent may have been held."""
        self._lock = allocate_lock()

    def now(self) -> Configuration:
        """Return the configuration of this moment, which is read if it has not been.

        Raises:
            ConfigurationError: It cannot be read, or something in it cannot be used.
        """
        configuration = self._configuration
        while configuration is None:
            source = self._source
            configuration = source()
            with self._lock:
                if source is self._source:
                    self._configuration = configuration
                    self._keep(configuration)
                else:  # somebody has said otherwise meanwhile
                    configuration = self._configuration
        return configuration

    def change(self, source: Callable[[], Configuration]) -> None:
        """Have the configuration come from another source, which is asked at the next use."""
        with self._lock:
            self._source, self._configuration = source, None
            self._changed()

    @contextmanager
    def replaced(self, configuration: Configuration) -> Generator[None]:
        """Have another configuration for a block, with pools of its own."""
        with self._lock:
            before = self._source, self._configuration, self._pools
            self._source, self._configuration = (lambda: configuration), configuration
            self._pools = {}
            _lend_names(before[2])
            self._changed()
        try:
            yield
        finally:
            with self._lock:
                made = self._pools
                self._source, self._configuration, self._pools = before
                self._changed()
            for _, pool in made.values():
                pool.shutdown(wait=False)
            _take_names_back(before[2])

    def pool(self, name: str) -> Pool:
        """Return the pool of that name: one that is configured, or was made by that name.

        A configured one is made at its first use, and stays until something else is said about
        it: then it is closed, and another one takes its place.

        Raises:
            ConfigurationError: There is none.
        """
        from ctxkit.functions.pools import Pool  # noqa: PLC0415 - where one is named alone

        while True:
            configuration = self.now()
            settings = configuration.pools.get(name)
            if settings is None:
                return Pool.named(name)
            with self._lock:
                if configuration is self._configuration:  # else somebody has changed it
                    if name not in self._pools:
                        make = getattr(Pool, settings.kind)
                        self._pools[name] = (settings, make(**settings.arguments, name=name))
                    return self._pools[name][1]

    def _keep(self, configuration: Configuration) -> None:
        """Close the pools about which it says something else."""
        for name, (settings, pool) in [*self._pools.items()]:
            if configuration.pools.get(name) != settings:
                del self._pools[name]
                pool.close()

    def _changed(self) -> None:
        self.version += 1
        CHAIN.changed()  # of which the options are part


def _lend_names(pools: Made) -> None:
    """Have the names of these pools free for others."""
    for _, pool in pools.values():
        from ctxkit.functions.pools._names import NAMES  # noqa: PLC0415 - where one was made alone

        NAMES.discard(pool)


def _take_names_back(pools: Made) -> None:
    """Have the names of these pools be theirs again, but one that a test has left to another."""
    for _, pool in pools.values():
        from ctxkit.functions.pools._names import NAMES  # noqa: PLC0415 - as above

        with suppress(DuplicateName):
            NAMES.add(pool)


@final
class NamedPool:
    """Stand for a pool that is known by its name, which is looked up at its use.

    Args:
        name: Its name in the configuration.
    """

    __slots__ = ("_known", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._known: tuple[int, Pool] | None = None

    def acquire(self, deadline: Deadline | None = None) -> Slot | NoSlot:
        """Return a slot of it, as soon as there is one."""
        while True:
            version, pool = self._now()
            try:
                return pool.acquire(deadline)
            except PoolClosed:  # since we looked
                if not self._has_another(version, pool):
                    raise

    async def aacquire(self, deadline: Deadline | None = None) -> Slot | NoSlot:
        """Return a slot of it, as soon as there is one; do not block."""
        while True:
            version, pool = self._now()
            try:
                return await pool.aacquire(deadline)
            except PoolClosed:
                if not self._has_another(version, pool):
                    raise

    def _now(self) -> tuple[int, Pool]:
        known = self._known
        if known is None or known[0] != configured.version:
            version = configured.version  # before it is looked up: no change is to be missed
            known = self._known = version, configured.pool(self.name)
        return known

    def _has_another(self, version: int, closed: Pool) -> bool:
        """Return whether to look again: there may be another pool of that name by now."""
        if version != configured.version:
            return True
        try:
            pool = configured.pool(self.name)
        except ConfigurationError:  # none at all
            return False
        self._known = version, pool
        return pool is not closed

    def __repr__(self) -> str:
        return f"NamedPool({self.name!r})"


def options_of(name: str) -> Mapping[str, object]:
    """Return the options that are configured for a function.

    Args:
        name: Its name, ``"package.module:name"``.

    Returns:
        Those that are set: ``timeout`` in seconds, ``retry`` as a
        :class:`~ctxkit.Retry`, ``pool`` and ``engine`` by name; None for one that is
        to be off. It is not to be changed, and good until ``configured.version`` changes.

    Raises:
        ConfigurationError: The configuration cannot be used.
    """
    return configured.now().options_of(name)


def read_environment() -> Configuration:
    """Return what the file that ``CTXKIT_CONFIG`` names says; nothing, if it names none."""
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        return Configuration({}, {})
    from ctxkit.functions.configuring import read_file  # noqa: PLC0415 - where there is one alone

    return read_file(path, CONFIG_VARIABLE)


#: What is configured in this process.
configured: Final = Configured(read_environment)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=configured.restart)
