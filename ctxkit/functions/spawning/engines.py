"""Engines: who runs what was spawned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast, runtime_checkable

from ctxkit.exceptions import ConfigurationError, DuplicateName

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The engine that is in this process.
EMBEDDED: Final = "embedded"


class Work(NamedTuple):
    """Say what is to be called, where and whenever an engine gets to it.

    Attributes:
        name: The name of a function, which is found by it on the other side.
        args: Its positional arguments. What they may be depends on the engine: what JSON knows
            goes everywhere.
        kwargs: Its keyword arguments.
        carrier: What :func:`ctxkit.inject` has written: the context that goes along.
        options: What was chosen for the call, under the names of :func:`ctxkit.function`.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    carrier: dict[str, str]
    options: Mapping[str, Any]


@runtime_checkable
class Engine(Protocol):
    """Take work, and have it run later, perhaps elsewhere.

    On the other side, the work is to be run as an invocation of its own with what the carrier
    holds, and the function called by its name: :func:`ctxkit.call`.
    """

    @property
    def name(self) -> str:
        """What it is called in options and settings."""
        ...

    def send(self, work: Work) -> Any:
        """Take the work, and return a handle of the engine's own."""
        ...

    async def asend(self, work: Work) -> Any:
        """Do the same without blocking the event loop."""
        ...


class _Engines:
    """Hold the engines of this process."""

    __slots__ = ("default", "known")

    def __init__(self) -> None:
        self.known: dict[str, Engine] = {}
        self.default: str = EMBEDDED


_engines: Final = _Engines()


def add_engine(engine: Engine, /) -> None:
    """Let an engine be chosen by its name.

    Raises:
        ConfigurationError: It is no engine.
        DuplicateName: Another one has its name.
    """
    checked = _checked(engine)
    known = _engines.known.setdefault(checked.name, checked)
    if known is not checked:
        raise DuplicateName("engine", checked.name)


def set_engine(engine: Engine | str, /) -> None:
    """Choose who runs what is spawned by functions that do not choose themselves.

    Args:
        engine: An engine, or the name of one; adapters of task queues add theirs when they are
            set up. Without a choice it is ``"embedded"``.

    Raises:
        ConfigurationError: It is no engine. A name is looked up at the first use.
    """
    if isinstance(engine, str):
        _engines.default = engine
        return
    _engines.known[_checked(engine).name] = engine
    _engines.default = engine.name


def engine_of(choice: object) -> Engine:
    """Return the engine of a choice: an engine, a name, or None for the default.

    Raises:
        ConfigurationError: There is no such engine.
    """
    if choice is not None and not isinstance(choice, str):
        return _checked(choice)
    name = choice or _engines.default
    if name == EMBEDDED and name not in _engines.known:
        from ctxkit.functions.spawning.embedded import EmbeddedEngine  # noqa: PLC0415 - brings pools

        _engines.known.setdefault(name, EmbeddedEngine())
    engine = _engines.known.get(name)
    if engine is None:
        raise ConfigurationError(
            "engine",
            f"is {name!r}, which nobody has set up",
            f"Known are {', '.join(sorted({EMBEDDED, *_engines.known}))}. Set up the adapter of "
            "a task queue where the process starts.",
        )
    return engine


def _checked(engine: object) -> Engine:
    if isinstance(engine, Engine) and isinstance(cast("Any", engine).name, str):
        return engine
    raise ConfigurationError(
        "engine", f"is {engine!r}", "Give an engine, with name, send() and asend()."
    )
