"""Sending work: asked for here, with the rights of its caller, and run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ctxkit.boundary.intercepting import Call, arun, run
from ctxkit.context import bind
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.naming import is_registered
from ctxkit.functions.spawning.engines import Work, engine_of
from ctxkit.functions.stages import stages_of
from ctxkit.propagation import inject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctxkit.context import Key
    from ctxkit.functions.units import Unit

#: The options that are asked here; all others hold where the work runs.
_HERE: Final = ("permission", "actor", "scope", "requires")


#: The options that hold where the work runs, and do not go there.
_THERE: Final = ("timeout", "retry", "pool", "validate", "interceptors")


def refuse_unsent(chosen: Mapping[str, Any]) -> None:
    """Refuse what was chosen for one call and would be lost on the way.

    Raises:
        ConfigurationError: There is any.
    """
    unsent = [option for option in _THERE if option in chosen]
    if unsent:
        raise ConfigurationError(
            "spawn()",
            f"was asked for with using({', '.join(f'{each}=' for each in unsent)}), which does not "
            "go along",
            "Choose it where the function is declared, or in the settings of the function.",
        )


def spawn(
    unit: Unit, options: Mapping[str, Any], values: Mapping[str, object], args: Any, kwargs: Any
) -> Any:
    """Hand a call to its engine; see :meth:`ctxkit.functions.Bound.spawn`."""
    engine = engine_of(options.get("engine"))
    call = _call(unit, options, values, args, kwargs, asynchronous=False)
    return run(_chain(options), call, lambda call: engine.send(_work(call)))


async def aspawn(
    unit: Unit, options: Mapping[str, Any], values: Mapping[str, object], args: Any, kwargs: Any
) -> Any:
    """Do what :func:`spawn` does, without blocking the event loop."""
    engine = engine_of(options.get("engine"))

    async def send(call: Call) -> Any:
        return await engine.asend(_work(call))

    call = _call(unit, options, values, args, kwargs, asynchronous=True)
    return await arun(_chain(options), call, send)


def _chain(options: Mapping[str, Any]) -> Any:
    return stages_of({option: options[option] for option in _HERE if option in options})


def _call(  # noqa: PLR0913 - all of one call
    unit: Unit,
    options: Mapping[str, Any],
    values: Mapping[str, object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    asynchronous: bool,
) -> Call:
    if not is_registered(unit.name):
        raise ConfigurationError(
            "spawn()",
            f"was asked for {unit.name}, which nobody can find by its name",
            "Spawn a function that stands at the top of a module, and have that call it.",
        )
    return unit.told(options, values, args, kwargs, asynchronous=asynchronous)


def _work(call: Call) -> Work:
    carrier: dict[str, str] = {}
    values: dict[str | Key[Any], object] = {}
    values.update(call.values)
    with bind(values):
        inject(carrier)
    return Work(call.name, call.args, {**call.kwargs}, carrier, call.options)
