"""Names of functions: what each is called, and how it is found."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ctxkit.exceptions import ConfigurationError, DuplicateName, FunctionNotFound, InvalidTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.functions.units import Unit

#: Every function that can be called by its name.
_units: dict[str, Unit] = {}
#: What the qualified name of a function has that nobody can import.
_LOCAL: Final = "<locals>"
#: How much of a name that anybody may have chosen gets into errors, in characters.
_LONGEST_SHOWN: Final = 128


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called if nobody says otherwise: ``"package.module:name"``.

    Raises:
        ConfigurationError: It has no name: it is a partial, or an object that can be called.
    """
    name = getattr(function, "__qualname__", None)
    if name is None:
        raise ConfigurationError(
            "function", f"got {function!r}, which has no name", "Give it one: function(name=...)."
        )
    return f"{function.__module__}:{name}"


def register(unit: Unit) -> Unit:
    """Have the function found by its name, unless that is a function inside of another.

    Returns:
        It.

    Raises:
        DuplicateName: Another function has it. One that was imported once more has not.
    """
    if _LOCAL in unit.name:
        return unit
    known = _units.get(unit.name)
    if known is None or _source(known) == _source(unit):
        if known is None or known.function is not unit.function:  # else the first one keeps it
            _units[unit.name] = unit
        return unit
    raise DuplicateName("function", unit.name)


def is_registered(name: str) -> bool:
    """Return whether there is a function of that name here."""
    return name in _units


def units() -> list[Unit]:
    """Return every function that can be called by its name, of what was imported so far."""
    return [*_units.values()]


def unit_of(target: object) -> Unit:
    """Return what is known of a function.

    Args:
        target: The function, or its name. A name is imported at its first use.

    Raises:
        InvalidTarget: It is neither.
        FunctionNotFound: There is no such function, or it was not made one by
            :func:`ctxkit.function`: nothing else can be called by a name.
    """
    if isinstance(target, str):
        return _units.get(target) or _imported(target)
    unit: Unit | None = getattr(target, "__ctxkit_unit__", None)
    if unit is None:
        raise InvalidTarget(target)
    return unit


def registered(name: object) -> Unit:
    """Return the function of a name that came in a message: nothing is imported for it.

    Raises:
        FunctionNotFound: This process has imported no such function.
    """
    unit = _units.get(name) if isinstance(name, str) else None
    if unit is None:
        raise FunctionNotFound(
            str(name)[:_LONGEST_SHOWN],
            "this process has not imported it, and imports nothing by request",
        )
    return unit


def _imported(name: str) -> Unit:
    module_name, colon, path = name.partition(":")
    parts = [*module_name.split("."), *path.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise InvalidTarget(name)
    try:
        module: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        # One that the module itself misses is its own trouble.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise FunctionNotFound(name, f"there is no module {error.name!r}") from None
    # Importing it has registered what it declares, also under names of its own choice.
    if name in _units:
        return _units[name]
    found = module
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise FunctionNotFound(name, f"{module_name} has no {path!r}")
    unit: Unit | None = getattr(found, "__ctxkit_unit__", None)
    if unit is None:
        raise FunctionNotFound(name, "it was not made a function of ctxkit")
    return unit


def _source(unit: Unit) -> tuple[object, ...]:
    function = unit.function
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", id(function))
    return getattr(function, "__module__", None), name, getattr(code, "co_filename", None)
