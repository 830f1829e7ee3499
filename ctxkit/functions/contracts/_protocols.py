"""What protocols ask for, and whether an implementation has it. Private."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, cast, get_overloads

from ctxkit.boundary._callables import is_coroutine_function
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.contracts._signatures import (
    annotations_of,
    misfits,
    signature_of,
    without_self,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from inspect import Signature

#: The one special method that a contract may have: that of protocols that are called.
CALL: Final = "__call__"
_TYPING: Final = frozenset(("typing", "typing_extensions"))
# What a class has by itself, written by nobody.
_MADE: Final = frozenset(("__annotate__", "__annotate_func__", "__init__", "__class_getitem__"))
_OVERLOAD: Final = "_overload_dummy"


class Method(NamedTuple):
    """Be one method that a protocol asks for.

    Attributes:
        function: As the protocol has it.
        asynchronous: Whether a call of it is awaited.
        overloads: The functions that say how it may be called, where they are several.
    """

    function: Callable[..., Any]
    asynchronous: bool
    overloads: tuple[Callable[..., Any], ...]

    @property
    def signatures(self) -> list[Signature]:
        """The ways in which it may be called."""
        return [without_self(signature_of(each)) for each in self.overloads or (self.function,)]


def methods_of(protocol: Any) -> dict[str, Method]:
    """Return the methods of a protocol, those of the protocols it extends included.

    Raises:
        ConfigurationError: It is no protocol, or it asks for something else than methods.
    """
    # An attribute of every protocol since PEP 544; classes that implement one have it as False.
    if not isinstance(protocol, type) or not getattr(protocol, "_is_protocol", False):
        raise ConfigurationError(
            "A contract",
            f"must be a protocol, not {protocol!r}",
            "Derive a class of its own from typing.Protocol, and give that.",
        )
    found: dict[str, Method] = {}
    problems: list[str] = []
    for base in reversed(protocol.__mro__):
        if base in {object, Protocol, Generic} or base.__module__ in _TYPING:
            continue
        problems += [f"{name}, which is no method" for name in annotations_of(base)]
        for name, value in vars(base).items():
            if problem := _refused(name, value):
                problems.append(f"{name}, {problem}")
            elif isinstance(value, FunctionType) and (not name.startswith("_") or name == CALL):
                found[name] = _method(base, name, value)
    if problems or not found:
        raise ConfigurationError(
            f"The contract {protocol.__qualname__}",
            f"asks for {'; '.join(problems) or 'nothing'}",
            "Have it declare methods, `def` or `async def`, and nothing else.",
        )
    return found


def _refused(name: str, value: object) -> str | None:
    """Return why something cannot be a part of a contract."""
    if name.startswith("_"):
        if name == CALL or name in _MADE or not isinstance(value, FunctionType):
            return None
        return None if value.__module__ in _TYPING else "which is private or special"
    if isinstance(value, FunctionType):
        return None
    return f"which is a {type(value).__name__}"


def _method(base: type, name: str, function: Callable[..., Any]) -> Method:
    if function.__name__ == _OVERLOAD and function.__module__ in _TYPING:
        # A protocol has no further `def` below its overloads, by which they would be found.
        title = SimpleNamespace(
            __module__=base.__module__, __qualname__=f"{base.__qualname__}.{name}"
        )
        overloads = tuple(get_overloads(cast("Any", title)))
        function = overloads[0]
    else:
        overloads = tuple(get_overloads(function))
    return Method(function, is_coroutine_function(name, function), overloads)


def part_of(implementation: Any, name: str) -> Any:
    """Return what an implementation has under the name of a method; None where nothing."""
    if isinstance(implementation, Mapping):
        return cast("Mapping[str, Any]", implementation).get(name)
    if name == CALL:
        return implementation if callable(implementation) else None
    return getattr(implementation, name, None)


def problems_of(methods: Mapping[str, Method], implementation: Any) -> Iterator[str]:
    """Yield why an implementation does not do what a protocol asks for."""
    if isinstance(implementation, type):
        yield f"it is a class; give an instance, as by {implementation.__name__}()"
        return
    if isinstance(implementation, Mapping):
        extra = cast("Mapping[str, Any]", implementation).keys() - methods.keys()
        yield from (f"{name} is not in the contract" for name in sorted(map(str, extra)))
    for name, method in methods.items():
        part = part_of(implementation, name)
        if part is None or _is_inherited_stub(part, method):
            yield f"{name} is missing"
        else:
            yield from (f"{name} {problem}" for problem in _differences(method, name, part))


def _differences(method: Method, name: str, part: Any) -> Iterator[str]:
    try:
        asynchronous = is_coroutine_function(name, part)
    except ConfigurationError:  # whose words show it
        yield "is a class or a generator function, or cannot be called"
        return
    if asynchronous is not method.asynchronous:
        yield "is `async def`, and has to be `def`" if asynchronous else "has to be `async def`"
    try:
        given = signature_of(part)
    except (TypeError, ValueError):  # a function in C that does not tell; some mocks on 3.11
        return
    told = [problem for wanted in method.signatures for problem in misfits(wanted, given)]
    yield from dict.fromkeys(told)


def _is_inherited_stub(part: Any, method: Method) -> bool:
    """Return whether a class has derived a method from its protocol, where that is empty."""
    function = getattr(part, "__func__", None)
    code = getattr(function, "__code__", None)
    return function is method.function and code is not None and code.co_code in _EMPTY


def _pass() -> Any: ...


def _documented() -> Any:
    """Say something."""


async def _apass() -> Any: ...


async def _adocumented() -> Any:
    """Say something."""


_EMPTY: Final = {each.__code__.co_code for each in (_pass, _documented, _apass, _adocumented)}
