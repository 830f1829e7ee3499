"""Contracts: what is provided for a protocol, and what is used."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from unittest.mock import AsyncMock, Mock

import pytest

import ctxkit
from ctxkit.exceptions import (
    BindingNotFound,
    ConfigurationError,
    ContractMismatch,
    DuplicateName,
)
from ctxkit.functions import withdraw

if TYPE_CHECKING:
    from collections.abc import Iterator


@runtime_checkable
class Payments(Protocol):
    """Take money."""

    def charge(self, order: int, *, rush: bool = False) -> Any:
        """Charge an order."""

    async def refund(self, order: int) -> Any:
        """Give it back."""


class Provider:
    """Take no money at all."""

    def __init__(self, name: str) -> None:
        self.name = name

    def charge(self, order: int, *, rush: bool = False) -> Any:
        return self.name, order, rush, ctxkit.get("tenant")

    async def refund(self, order: int) -> Any:
        await asyncio.sleep(0)
        return self.name, order, ctxkit.get("tenant")

    def close(self) -> None:
        """Be its own matter."""


STRIPE, ADYEN = Provider("stripe"), Provider("adyen")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    withdraw(Payments)
    withdraw(Payments, "stripe")
    withdraw(Payments, "adyen")


def name_in_use(name: str | None = None) -> str:
    """Return which provider is used."""
    charged: tuple[str, ...] = ctxkit.use(Payments, name).charge(7)
    return charged[0]


def test_methods_of_what_is_used_are_functions_of_either_colour() -> None:
    ctxkit.provide(Payments, STRIPE)
    payments = ctxkit.use(Payments)
    assert isinstance(payments, Payments)
    assert not inspect.iscoroutinefunction(payments.charge)
    assert inspect.iscoroutinefunction(payments.refund)
    with ctxkit.bind(tenant="acme"):
        assert payments.charge(7, rush=True) == ("stripe", 7, True, "acme")
        assert asyncio.run(payments.refund(7)) == ("stripe", 7, "acme")


def test_method_looks_like_that_of_the_protocol() -> None:
    ctxkit.provide(Payments, STRIPE)
    charge = ctxkit.use(Payments).charge
    assert str(inspect.signature(charge)) == "(order: 'int', *, rush: 'bool' = False) -> 'Any'"
    assert charge.__doc__ == "Charge an order."
    assert not hasattr(ctxkit.use(Payments), "close")


def test_method_is_a_boundary_which_interceptors_see_by_its_name() -> None:
    names = []

    @ctxkit.interceptor
    def seen(call: Any) -> Any:
        names.append(call.name)
        return (yield call)

    ctxkit.provide(Payments, STRIPE)
    ctxkit.add_interceptor(seen)
    try:
        ctxkit.use(Payments).charge(7)
        asyncio.run(ctxkit.use(Payments).refund(7))
    finally:
        ctxkit.remove_interceptor(seen)
    assert names == [f"{__name__}:Payments.charge", f"{__name__}:Payments.refund"]


def test_method_has_a_frame_of_its_own() -> None:
    class Meddler(Provider):
        def charge(self, order: int, *, rush: bool = False) -> Any:
            ctxkit.Key[str]("tenant").set("evil")
            return ctxkit.current()

    with ctxkit.bind(ctxkit.provided(Payments, Meddler("")), tenant="acme"):
        frame = ctxkit.current()
        assert ctxkit.use(Payments).charge(7) is not frame
        assert ctxkit.get("tenant") == "acme"


def test_values_are_seen_by_the_methods_and_by_nobody_else() -> None:
    ctxkit.provide(Payments, STRIPE)
    with ctxkit.bind(tenant="acme"):
        assert ctxkit.use(Payments, tenant="other").charge(7)[-1] == "other"
        assert asyncio.run(ctxkit.use(Payments, tenant="other").refund(7))[-1] == "other"
        assert ctxkit.use(Payments).charge(7)[-1] == "acme"


@pytest.mark.rule("F-71")
def test_to_have_methods_act_for_somebody_else_is_asked_for() -> None:
    ctxkit.provide(Payments, STRIPE)
    payments = ctxkit.use(Payments, actor="root")
    with pytest.raises(ConfigurationError, match=r"ctxkit\.impersonate"):
        payments.charge(7)
    with pytest.raises(ConfigurationError, match=r"ctxkit\.impersonate"):
        asyncio.run(payments.refund(7))
    with pytest.raises(ConfigurationError, match="actor=None"):
        ctxkit.use(Payments, actor=None)


def test_options_hold_for_all_methods() -> None:
    @ctxkit.interceptor
    def closed(call: Any) -> Any:
        return "closed"
        yield call

    with ctxkit.bind(ctxkit.provided(Payments, STRIPE, interceptors=[closed])):
        assert ctxkit.use(Payments).charge(7) == "closed"
        assert asyncio.run(ctxkit.use(Payments).refund(7)) == "closed"
    with pytest.raises(ConfigurationError, match="surprise"):
        ctxkit.provided(Payments, STRIPE, surprise=1)


# What is used


@pytest.mark.rule("F-81")
def test_frame_goes_before_a_name_and_a_name_before_the_default() -> None:
    ctxkit.provide(Payments, STRIPE)
    ctxkit.provide(Payments, ADYEN, name="adyen")
    assert name_in_use() == "stripe"
    assert name_in_use("adyen") == "adyen"
    with ctxkit.bind(ctxkit.provided(Payments, Provider("outer"))):
        with ctxkit.bind(ctxkit.provided(Payments, Provider("inner"))):
            assert name_in_use() == name_in_use("adyen") == "inner"
        assert name_in_use() == "outer"
    assert name_in_use() == "stripe"


@pytest.mark.rule("F-81")
def test_nothing_that_is_provided_is_an_error_that_says_so() -> None:
    with pytest.raises(BindingNotFound, match="Nothing is provided for Payments"):
        ctxkit.use(Payments)
    ctxkit.provide(Payments, ADYEN, name="adyen")
    with pytest.raises(BindingNotFound):
        ctxkit.use(Payments)
    ctxkit.provide(Payments, STRIPE)
    with pytest.raises(BindingNotFound, match="'paypal'"):  # not the default instead of it
        ctxkit.use(Payments, "paypal")


@pytest.mark.rule("F-81")
def test_second_default_and_second_of_a_name_are_refused() -> None:
    ctxkit.provide(Payments, STRIPE, name="stripe", default=True)
    assert name_in_use() == name_in_use("stripe") == "stripe"
    with pytest.raises(DuplicateName, match="default binding"):
        ctxkit.provide(Payments, ADYEN)
    with pytest.raises(DuplicateName, match="default binding"):
        ctxkit.provide(Payments, ADYEN, name="adyen", default=True)
    with pytest.raises(DuplicateName, match="'stripe'"):
        ctxkit.provide(Payments, ADYEN, name="stripe")
    with pytest.raises(BindingNotFound):
        ctxkit.use(Payments, "adyen")  # what was refused has left nothing
    ctxkit.provide(Payments, STRIPE, name="stripe", default=True)  # as it is


def test_what_was_withdrawn_is_provided_no_more() -> None:
    ctxkit.provide(Payments, STRIPE, name="stripe", default=True)
    withdraw(Payments)
    assert name_in_use("stripe") == "stripe"
    ctxkit.provide(Payments, STRIPE, name="stripe", default=True)
    withdraw(Payments, "stripe")
    withdraw(Payments, "stripe")
    with pytest.raises(BindingNotFound):
        ctxkit.use(Payments)
    ctxkit.provide(Payments, STRIPE)
    withdraw(Payments, "adyen")
    assert name_in_use() == "stripe"


def test_what_is_used_stays_what_it_is() -> None:
    ctxkit.provide(Payments, STRIPE)
    payments = ctxkit.use(Payments)
    with ctxkit.bind(ctxkit.provided(Payments, ADYEN)):
        assert payments.charge(7)[0] == "stripe"
    assert ctxkit.use(Payments) is payments


def test_what_is_used_cannot_be_changed_for_everybody() -> None:
    ctxkit.provide(Payments, STRIPE)
    payments: Any = ctxkit.use(Payments)
    with pytest.raises(AttributeError, match="everybody uses it"):
        payments.charge = Mock()
    with pytest.raises(AttributeError, match="'charge'"):
        del payments.charge
    assert name_in_use() == "stripe"


def test_what_is_provided_for_a_function_alone_is_seen_below_it() -> None:
    @ctxkit.function
    def outer() -> str:
        return inner()

    @ctxkit.function
    def inner() -> str:
        return name_in_use()

    ctxkit.provide(Payments, STRIPE)
    assert outer.using(ctxkit.provided(Payments, ADYEN))() == "adyen"
    assert outer() == "stripe"


@pytest.mark.rule("F-82")
def test_fake_of_a_test_is_not_seen_by_a_thread_beside_it() -> None:
    ctxkit.provide(Payments, STRIPE)
    both_bound = threading.Barrier(3, timeout=10)

    def test(fake: str) -> str:
        with ctxkit.bind(ctxkit.provided(Payments, Provider(fake))):
            both_bound.wait()
            name = name_in_use()
            both_bound.wait()
            return name

    with ThreadPoolExecutor(2) as pool:
        names = pool.map(test, ("first", "second"))
        both_bound.wait()
        assert name_in_use() == "stripe"
        both_bound.wait()
        assert list(names) == ["first", "second"]


@pytest.mark.rule("F-82")
def test_fake_of_a_test_is_not_seen_by_a_task_beside_it() -> None:
    ctxkit.provide(Payments, STRIPE)

    async def test(fake: str) -> str:
        with ctxkit.bind(ctxkit.provided(Payments, Provider(fake))):
            await asyncio.sleep(0)
            return str((await ctxkit.use(Payments).refund(7))[0])

    async def main() -> list[str]:
        tests = asyncio.gather(test("first"), test("second"))
        await asyncio.sleep(0)
        assert name_in_use() == "stripe"
        return await tests

    assert asyncio.run(main()) == ["first", "second"]


def test_what_a_frame_provides_goes_to_threads_and_over_no_wire() -> None:
    ctxkit.provide(Payments, STRIPE)
    with ctxkit.bind(ctxkit.provided(Payments, ADYEN)):
        with ctxkit.ThreadPoolExecutor() as pool:
            assert pool.submit(name_in_use).result() == "adyen"
        assert asyncio.run(ctxkit.to_thread(name_in_use)) == "adyen"
        carrier = ctxkit.inject({})
    with ctxkit.bind(ctxkit.extract(carrier, trusted=True)):
        assert name_in_use() == "stripe"


@pytest.mark.rule("F-83")
def test_what_a_binding_requires_is_told_all_at_once_before_the_body() -> None:
    pytest.importorskip("ctxkit.functions.interceptors")
    charged = Mock()
    region = ctxkit.Key[str]("region_of_contracts")
    asked = ctxkit.provided(
        Payments, {"charge": charged, "refund": STRIPE.refund}, requires=("tenant", region)
    )
    with ctxkit.bind(asked):
        with pytest.raises(ctxkit.MissingContext) as raised:
            ctxkit.use(Payments).charge(7)
        assert raised.value.missing == ("tenant", region.name)
        assert raised.value.function == f"{__name__}:Payments.charge"
        with pytest.raises(ctxkit.MissingContext):
            ctxkit.use(Payments, tenant="acme").charge(7)
        charged.assert_not_called()
        with ctxkit.bind({region: "eu"}):
            ctxkit.use(Payments, tenant="acme").charge(7)
        charged.assert_called_once()


# What implements a protocol


def refused(implementation: object, protocol: type[Any] = Payments) -> tuple[str, ...]:
    """Return why an implementation cannot be provided, neither way."""
    with pytest.raises(TypeError) as first:
        ctxkit.provide(protocol, implementation)
    with pytest.raises(ContractMismatch) as second:
        ctxkit.provided(protocol, implementation)
    assert str(first.value) == str(second.value)
    return second.value.problems


@pytest.mark.rule("F-80")
def test_method_that_is_missing_is_refused() -> None:
    class Half:
        def charge(self, order: int, *, rush: bool = False) -> None: ...

    class Heir(Payments):
        def charge(self, order: int, *, rush: bool = False) -> None: ...

    assert refused(Half()) == refused(Heir()) == ("refund is missing",)
    assert refused({"charge": STRIPE.charge}) == ("refund is missing",)
    assert refused(None) == ("charge is missing", "refund is missing")


@pytest.mark.rule("F-80")
def test_method_too_much_is_refused_of_a_mapping_alone() -> None:
    parts = {"charge": STRIPE.charge, "refund": STRIPE.refund}
    assert refused({**parts, "close": STRIPE.close}) == ("close is not in the contract",)
    with ctxkit.bind(ctxkit.provided(Payments, parts)):
        assert name_in_use() == "stripe"
    ctxkit.provide(Payments, STRIPE)  # which has close(), for whoever made it


@pytest.mark.rule("F-80")
def test_method_of_the_other_colour_is_refused() -> None:
    class Other:
        async def charge(self, order: int, *, rush: bool = False) -> None: ...

        def refund(self, order: int) -> None: ...

    assert refused(Other()) == (
        "charge is `async def`, and has to be `def`",
        "refund has to be `async def`",
    )


@pytest.mark.rule("F-80")
def test_class_is_refused_for_it_is_no_instance() -> None:
    (problem,) = refused(Provider)
    assert "Provider()" in problem
    with pytest.raises(ContractMismatch, match="has to be `async def`"):
        ctxkit.provide(Payments, {"charge": STRIPE.charge, "refund": iter})


def test_method_that_is_a_generator_is_refused() -> None:
    def charge(order: int, *, rush: bool = False) -> Any:
        yield order, rush

    told = refused({"charge": charge, "refund": Provider})
    assert told == (
        "charge is a class or a generator function, or cannot be called",
        "refund is a class or a generator function, or cannot be called",
    )


def places(a: int, b: int, /, c: int, *, d: int, e: int = 5, **f: int) -> None: ...


class Places(Protocol):
    def call(self, a: int, b: int, /, c: int, *, d: int, e: int = 5, **f: int) -> None: ...


@pytest.mark.rule("F-80")
@pytest.mark.parametrize(
    "taken",
    [
        places,
        lambda a, b, c, d, e=5, **f: None,
        lambda x, y, c, *, g=7, d, e=5, **f: None,
        lambda *args, **kwargs: None,
        lambda a, b, c, **kwargs: None,
        lambda x=1, *args, e=6, **kwargs: None,
        Mock(),
    ],
)
def test_parameters_that_take_every_call_are_accepted(taken: Any) -> None:
    with ctxkit.bind(ctxkit.provided(Places, {"call": taken})):
        ctxkit.use(Places).call(1, 2, 3, d=4)
        ctxkit.use(Places).call(1, 2, c=3, d=4, e=5, f=6)


@pytest.mark.rule("F-80")
@pytest.mark.parametrize(
    ("taken", "problem"),
    [
        (lambda a, c, *, d, e=5, **f: None, "call takes no 'c' at the same place"),
        (lambda a, b, z, *, d, e=5, **f: None, "call takes no 'c' at the same place"),
        (lambda a, b, c, /, *, d, e=5, **f: None, "call takes no 'c' at the same place"),
        (lambda a, b, c, *, e=5: None, "call takes no keyword 'd'"),
        (lambda a, b, c, *, d, e=5: None, "call takes no **f"),
        (lambda a, b, c, *, d, e, **f: None, "call has no default for 'e'"),
        (lambda a, b, c, *, d, e=5, g, **f: None, "call wants 'g' besides"),
        (lambda *, d, e=5, **f: None, "call takes no positional argument for 'a'"),
    ],
)
def test_parameters_that_do_not_are_refused(taken: Any, problem: str) -> None:
    assert problem in refused({"call": taken}, Places)


@pytest.mark.rule("F-80")
def test_positional_arguments_alone_may_be_taken_by_a_star() -> None:
    class Adding(Protocol):
        def add(self, a: int, b: int = 0, /) -> int: ...

    def add(*numbers: int) -> int:
        return sum(numbers)

    with ctxkit.bind(ctxkit.provided(Adding, {"add": add})):
        assert ctxkit.use(Adding).add(1, 2) == 3
    assert refused({"add": lambda **named: 0}, Adding) == (
        "add takes no positional argument for 'a'",
        "add takes no positional argument for 'b'",
    )


def test_refusal_names_all_problems_and_no_value() -> None:
    class Secretive:
        def __repr__(self) -> str:
            return "secret"

    with pytest.raises(ContractMismatch) as raised:
        ctxkit.provide(Payments, Secretive())
    assert "charge is missing; refund is missing" in str(raised.value)
    assert "Secretive does not implement" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_module_implements_a_protocol() -> None:
    module = ModuleType("module_of_payments")
    assert refused(module) == ("charge is missing", "refund is missing")
    module.charge, module.refund = ADYEN.charge, ADYEN.refund
    with ctxkit.bind(ctxkit.provided(Payments, module)):
        assert name_in_use() == "adyen"


def test_mocks_implement_every_protocol() -> None:
    fake = Mock(charge=Mock(return_value=["mock"]), refund=AsyncMock(return_value="back"))
    with ctxkit.bind(ctxkit.provided(Payments, fake)):
        assert name_in_use() == "mock"
        assert asyncio.run(ctxkit.use(Payments).refund(7)) == "back"
    fake.charge.assert_called_once_with(7)


def test_method_of_an_implementation_may_be_a_function_with_options_of_its_own() -> None:
    frames = []

    @ctxkit.interceptor
    def counted(call: Any) -> Any:
        frames.append(call.name)
        return (yield call)

    class Own(Provider):
        @ctxkit.function(name="own:charge", interceptors=[counted])
        def charge(self, order: int, *, rush: bool = False) -> Any:
            return (self.name,)

    with ctxkit.bind(ctxkit.provided(Payments, Own("own"))):
        assert name_in_use() == "own"
    assert frames == ["own:charge"]
