"""Contracts: which protocols can be one."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

import pytest

import ctxkit
from ctxkit.exceptions import ConfigurationError, ContractMismatch, InvalidTarget
from ctxkit.functions import call

T = TypeVar("T")


class Reading(Protocol):
    def read(self, key: str) -> str: ...


class Storing(Reading, Protocol):
    @abstractmethod
    def store(self, key: str, value: str) -> None: ...

    def move(self, old: str, new: str) -> None:
        self.store(new, self.read(old))


class Store(Storing):
    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def read(self, key: str) -> str:
        return self.kept[key]

    def store(self, key: str, value: str) -> None:
        self.kept[key] = value


@pytest.mark.rule("F-80")
def test_methods_of_extended_protocols_belong_to_it() -> None:
    with pytest.raises(ContractMismatch) as raised:
        ctxkit.provided(Storing, {"read": lambda key: key})
    assert raised.value.problems == ("store is missing", "move is missing")
    with ctxkit.bind(ctxkit.provided(Storing, Store())):
        storing = ctxkit.use(Storing)
        storing.store("a", "1")
        storing.move("a", "b")  # which the protocol itself does
        assert storing.read("b") == "1"
        with pytest.raises(ctxkit.BindingNotFound):
            ctxkit.use(Reading)  # another contract


def test_protocol_that_is_called_is_a_contract() -> None:
    class Rate(Protocol):
        async def __call__(self, currency: str, /) -> float: ...

    async def rate(currency: str) -> float:
        return float(len(currency))

    class Rater:
        async def __call__(self, currency: str) -> float:
            return 2.0

    for implementation, expected in ((rate, 3.0), (Rater(), 2.0)):
        with ctxkit.bind(ctxkit.provided(Rate, implementation)):
            assert asyncio.run(ctxkit.use(Rate)("EUR")) == expected
    with pytest.raises(ContractMismatch, match="__call__ is missing"):
        ctxkit.provided(Rate, 7)


class Overloaded(Protocol):
    @overload
    def find(self, key: int) -> int: ...
    @overload
    def find(self, key: str, *, exact: bool) -> str: ...


@pytest.mark.rule("F-80")
def test_every_overload_has_to_be_taken() -> None:
    with pytest.raises(ContractMismatch) as raised:
        ctxkit.provided(Overloaded, {"find": lambda key: key})
    assert raised.value.problems == ("find takes no keyword 'exact'",)
    with ctxkit.bind(ctxkit.provided(Overloaded, {"find": lambda key, exact=False: (key, exact)})):
        found: Any = ctxkit.use(Overloaded).find("a", exact=True)
    assert found == ("a", True)


def test_overloads_beside_a_body_are_taken_too() -> None:
    class Bodied(Protocol):
        @overload
        def find(self, key: int) -> int: ...
        @overload
        def find(self, key: str) -> str: ...
        def find(self, key: Any, *, hint: Any = None) -> Any: ...

    ctxkit.provided(Bodied, {"find": lambda key: key})


def test_validation_of_overloads_is_refused() -> None:
    pytest.importorskip("pydantic")
    with pytest.raises(ConfigurationError, match="find of"):
        ctxkit.provided(Overloaded, {"find": lambda key, exact=False: key}, validate=True)


def test_generic_protocol_is_a_contract_for_all_its_types() -> None:
    class Repository(Protocol[T]):
        def load(self, key: int) -> T: ...

    class Orders(Repository[str]):
        def load(self, key: int) -> str:
            return f"order {key}"

    with ctxkit.bind(ctxkit.provided(Repository, Orders())):
        assert ctxkit.use(Repository).load(7) == "order 7"
    with pytest.raises(ConfigurationError, match="must be a protocol"):
        ctxkit.provided(Repository[str], Orders())


class Attribute(Protocol):
    def method(self) -> None: ...

    rate: float


class Constant(Protocol):
    rate: ClassVar[float] = 1.0


class Property(Protocol):
    @property
    def rate(self) -> float: ...


class Classmethod(Protocol):
    @classmethod
    def make(cls) -> None: ...


class Staticmethod(Protocol):
    @staticmethod
    def make() -> None: ...


class Private(Protocol):
    def _charge(self) -> None: ...


class Special(Protocol):
    def __len__(self) -> int: ...


class Empty(Protocol):
    """Ask for nothing."""


class NoProtocol:
    def charge(self) -> None: ...


class Implementation(Storing):
    def read(self, key: str) -> str: ...
    def store(self, key: str, value: str) -> None: ...


class Plain(Generic[T]):
    pass


@pytest.mark.rule("F-80")
@pytest.mark.parametrize(
    ("protocol", "problem"),
    [
        (Attribute, "rate, which is no method"),
        (Constant, "rate, which is"),
        (Property, "rate, which is a property"),
        (Classmethod, "make, which is a classmethod"),
        (Staticmethod, "make, which is a staticmethod"),
        (Private, "_charge, which is private or special"),
        (Special, "__len__, which is private or special"),
        (Empty, "asks for nothing"),
        (NoProtocol, "must be a protocol"),
        (Implementation, "must be a protocol"),
        (Plain, "must be a protocol"),
        (Protocol, "asks for nothing"),
        ("Payments", "must be a protocol"),
        ([], "must be a protocol"),
    ],
)
def test_what_asks_for_something_else_than_methods_is_refused(protocol: Any, problem: str) -> None:
    for attempt in (ctxkit.use, lambda given: ctxkit.provide(given, object())):
        with pytest.raises(ConfigurationError, match=problem):
            attempt(protocol)


def test_protocol_with_an_initialiser_or_a_hook_is_a_contract() -> None:
    made = []

    class Hooked(Protocol):
        def __init__(self, key: str) -> None: ...

        def __init_subclass__(cls, **options: Any) -> None:
            made.append(cls)
            super().__init_subclass__(**options)

        def read(self) -> int: ...

    with ctxkit.bind(ctxkit.provided(Hooked, {"read": lambda: 7})):
        assert ctxkit.use(Hooked).read() == 7


def test_method_of_a_contract_cannot_be_called_nor_spawned_by_a_name() -> None:
    with pytest.raises(ctxkit.FunctionNotFound):
        call(f"{__name__}:Reading.read", "a")
    with pytest.raises(InvalidTarget):
        call(Reading.read, "a")
    with ctxkit.bind(ctxkit.provided(Reading, {"read": lambda key: key})):
        read: Any = ctxkit.use(Reading).read
        with pytest.raises(ConfigurationError, match="nobody can find by its name"):
            read.spawn("a")
