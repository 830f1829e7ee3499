"""Provide what implements a protocol, for the process or for a frame; and use it."""

from __future__ import annotations

from _thread import allocate_lock
from functools import update_wrapper
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast, final

from ctxkit.context import NO_FRAME, Key
from ctxkit.context._current import CURRENT
from ctxkit.exceptions import (
    BindingNotFound,
    ConfigurationError,
    ContractMismatch,
    DuplicateName,
)
from ctxkit.functions.contracts._protocols import CALL, methods_of, part_of, problems_of
from ctxkit.functions.naming import name_of
from ctxkit.functions.stages import checked_options
from ctxkit.functions.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ctxkit.functions.contracts._protocols import Method
    from ctxkit.functions.units import Bound

P = TypeVar("P")

_numbers: Final = count()
_lock: Final = allocate_lock()


@final
class Binding:
    """Know one implementation of a contract.

    Attributes:
        implementation: What was provided.
        instance: What :func:`use` returns without further values.
        options: What was chosen for its calls.
        units: Its methods, as functions.
    """

    __slots__ = ("implementation", "instance", "options", "units")

    def __init__(
        self, contract: Contract, implementation: object, options: Mapping[str, Any]
    ) -> None:
        problems = tuple(problems_of(contract.methods, implementation))
        if problems:
            raise ContractMismatch(contract.name, title_of(implementation), problems)
        overloaded = [name for name, each in contract.methods.items() if each.overloads]
        if overloaded and options.get("validate"):
            raise ConfigurationError(
                "validate=True",
                f"cannot check what has overloads: {', '.join(overloaded)} of {contract.name}",
                "Give it one signature, or leave validate= out.",
            )
        self.implementation: object = implementation
        self.options: Mapping[str, Any] = options
        # Not registered: a name would stand for those of all bindings.
        self.units: Mapping[str, Unit] = {
            name: Unit(
                _forwarding(method, part_of(implementation, name)),
                f"{contract.name}.{name}",
                options,
            )
            for name, method in contract.methods.items()
        }
        self.instance: Any = contract.instance({n: u.wrapper for n, u in self.units.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Binding):
            return NotImplemented
        return self.implementation is other.implementation and self.options == other.options

    __hash__: ClassVar[None]  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride]


@final
class Contract:
    """Know everything about one protocol.

    Attributes:
        protocol: The protocol.
        name: What it is called: ``"package.module:Protocol"``.
        methods: What it asks for.
        key: Under which a frame holds its binding.
        named: The bindings of the process that have a name.
        default: The binding of the process for whoever names none.
    """

    __slots__ = ("_instances", "default", "key", "methods", "name", "named", "protocol")

    def __init__(self, protocol: type) -> None:
        self.methods: Mapping[str, Method] = methods_of(protocol)
        self.protocol: type = protocol
        self.name: str = name_of(protocol)
        self.key: Key[Binding] = Key(f"contract_{next(_numbers)}_{protocol.__name__}")
        self.named: dict[str, Binding] = {}
        self.default: Binding | None = None
        # Derived, so that it is an instance to isinstance(), too.
        body: dict[str, Any] = {
            "__module__": protocol.__module__,
            "__setattr__": _refusing,
            "__delattr__": _refusing,
        }
        if CALL in self.methods:
            body[CALL] = _called
        title = f"{protocol.__qualname__} (provided)"
        made: Any = type(protocol)(title, (protocol,), body)
        made.__abstractmethods__ = frozenset()  # an instance brings its own
        self._instances: Any = made

    def instance(self, methods: Mapping[str, Callable[..., Any]]) -> Any:
        """Return an instance of the protocol that has these methods."""
        made = object.__new__(self._instances)
        made.__dict__.update(methods)
        return made


#: Every protocol that something was provided for, or asked for.
contracts: Final[dict[Any, Contract]] = {}


def contract_of(protocol: Any) -> Contract:
    """Return what is known about a protocol.

    Raises:
        ConfigurationError: It is no protocol, or none that can be a contract.
    """
    try:
        known = contracts.get(protocol)
    except TypeError:  # not hashable, so no class either
        known = None
    if known is not None:
        return known
    made = Contract(protocol)
    return contracts.setdefault(protocol, made)


def provide(  # noqa: PLR0913 - each has a default
    protocol: type[Any],
    implementation: object,
    *,
    name: str | None = None,
    default: bool = False,
    requires: Collection[str | Key[Any]] = (),
    validate: bool = False,
    **options: Any,
) -> None:
    """Have an implementation used wherever this process asks for the protocol.

    ::

        from typing import Protocol


        class Rates(Protocol):
            def rate(self, currency: str) -> float: ...


        class FixedRates:
            def rate(self, currency: str) -> float:
                return 1.25


        ctxkit.provide(Rates, FixedRates())
        assert ctxkit.use(Rates).rate("EUR") == 1.25

    For the length of a block, bind :func:`ctxkit.provided` instead.

    Args:
        protocol: A :class:`typing.Protocol` that has methods alone.
        implementation: An object, or a module, that has them; or a mapping of their names to
            functions, and no others. What else an object has cannot be reached through it.
        name: What to call it, where there are several; None makes it the default.
        default: Whether one with a name is the default as well.
        requires: Names or keys that have to be bound in the frame of whoever calls a method.
        validate: Whether pydantic checks arguments and results by the annotations of the
            protocol.
        options: Further options of :func:`ctxkit.function`, for all methods. For one method,
            make that of the implementation a function of its own.

    Raises:
        ContractMismatch: The implementation lacks a method, or one of them is of the other
            colour or cannot be called as the protocol says. It is a :exc:`TypeError`.
        DuplicateName: Another implementation has that name, or is the default.
        ConfigurationError: ``protocol`` is none, or an option cannot be used.

    Safety:
        Meant for the start of the process; may be called at any time. The same implementation
        may be provided again.
    """
    contract = contract_of(protocol)
    binding = _bound(contract, implementation, requires, options, validate=validate)
    with _lock:
        if (name is None or default) and contract.default not in (None, binding):
            raise DuplicateName("default binding", contract.name)
        if name is not None:
            if contract.named.get(name, binding) != binding:
                raise DuplicateName(f"binding of {contract.name}", name)
            contract.named[name] = binding
        if name is None or default:
            contract.default = binding


def provided(
    protocol: type[Any],
    implementation: object,
    *,
    requires: Collection[str | Key[Any]] = (),
    validate: bool = False,
    **options: Any,
) -> Mapping[str | Key[Any], object]:
    """Return what to bind to have an implementation used in one frame.

    ::

        from typing import Protocol


        class Rates(Protocol):
            def rate(self, currency: str) -> float: ...


        class NoRates:
            def rate(self, currency: str) -> float:
                return 1.0


        with ctxkit.bind(ctxkit.provided(Rates, NoRates())):
            assert ctxkit.use(Rates).rate("EUR") == 1.0

    Args:
        protocol: As for :func:`ctxkit.provide`.
        implementation: Likewise.
        requires: Likewise.
        validate: Likewise.
        options: Likewise.

    Returns:
        A mapping of one value, for :func:`ctxkit.bind` or ``function.using()``. It may be bound
        any number of times: the implementation is looked at once, now.

    Raises:
        ContractMismatch: As for :func:`ctxkit.provide`.

    Context:
        It goes wherever a frame goes in this process, to functions, tasks and threads, and never
        over a wire: what is spawned finds what its own process provides.
    """
    contract = contract_of(protocol)
    binding = _bound(contract, implementation, requires, options, validate=validate)
    return {contract.key: binding}


def withdraw(protocol: type[Any], name: str | None = None) -> None:
    """Take back what :func:`ctxkit.provide` has provided; nothing happens where nothing was.

    Args:
        protocol: The protocol.
        name: The name of the implementation, which is the default no more if it was; None for
            the default, whatever it is called.
    """
    contract = contract_of(protocol)
    with _lock:
        taken = contract.default if name is None else contract.named.pop(name, None)
        if taken is contract.default:
            contract.default = None


# A protocol cannot be had where mypy wants a type[P]; as what returns an instance, it can.
def use(protocol: Callable[..., P], name: str | None = None, **values: object) -> P:
    """Return what is provided for a protocol: its methods are functions of ctxkit.

    That which the current frame has bound by :func:`ctxkit.provided`, whatever ``name`` says;
    else the one of that name; else the default.

    Args:
        protocol: A :class:`typing.Protocol`.
        name: The name of an implementation.
        values: What the methods find in their frames, by name, over what their caller has. As
            with ``function.using()``, ``actor`` asks for a permission, and ``scope`` narrows.

    Returns:
        An instance of the protocol. A call of ``method`` is called
        ``"package.module:Protocol.method"``, has a frame of its own, and passes through
        interceptors. Nothing else of the implementation can be reached.

    Raises:
        BindingNotFound: Nothing is provided; or nothing under that name.

    Context:
        What is returned stays what it is, also where something else is bound later. Ask again
        in each call or request, do not keep it.
    """
    contract = contract_of(protocol)
    binding: Binding | None = CURRENT.get(NO_FRAME).get(contract.key)
    if binding is None:
        binding = contract.default if name is None else contract.named.get(name)
        if binding is None:
            raise BindingNotFound(contract.protocol.__qualname__, name or "")
    if not values:
        return cast("P", binding.instance)
    named: dict[str | Key[Any], object] = {}
    named.update(values)
    methods: dict[str, Bound[..., Any]] = {
        method: unit.using(named) for method, unit in binding.units.items()
    }
    return cast("P", contract.instance(methods))


def _bound(
    contract: Contract,
    implementation: object,
    requires: Collection[str | Key[Any]],
    options: Mapping[str, Any],
    *,
    validate: bool,
) -> Binding:
    given = checked_options("provide()", options)
    if requires:
        given["requires"] = tuple(requires)
    if validate:
        given["validate"] = True
    return Binding(contract, implementation, given)


def _forwarding(method: Method, part: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``part`` and says of itself what the protocol says."""
    forward: Any = _awaiting(part) if method.asynchronous else _calling(part)
    if method.overloads:
        forward.__name__, forward.__doc__ = method.function.__name__, method.function.__doc__
    else:
        update_wrapper(forward, method.function)
        forward.__signature__ = method.signatures[0]
    function: Callable[..., Any] = forward
    return function


def _awaiting(part: Callable[..., Any]) -> Callable[..., Any]:
    async def forward(*args: Any, **kwargs: Any) -> Any:
        return await part(*args, **kwargs)

    return forward


def _calling(part: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return part(*args, **kwargs)

    return forward


def _called(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    return self.__dict__[CALL](*args, **kwargs)


def _refusing(self: Any, name: str, *_: object) -> None:
    msg = (
        f"Cannot change {name!r} of what is provided: everybody uses it. "
        "Bind ctxkit.provided(...) for a block instead."
    )
    raise AttributeError(msg, name=name, obj=self)


def title_of(implementation: Any) -> str:
    """Return what an implementation is called; never its repr, which may tell secrets."""
    if isinstance(implementation, ModuleType):
        return implementation.__name__
    named = hasattr(implementation, "__qualname__")
    return name_of(implementation if named else cast("Any", type(implementation)))
