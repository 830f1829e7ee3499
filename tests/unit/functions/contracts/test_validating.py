"""Validation: what pydantic checks, and what nobody learns of it."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import json
import pickle
import subprocess
import sys
import uuid
import weakref
from collections.abc import Callable, Sequence  # noqa: TC003 - read by pydantic
from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol, overload

import pytest

import ctxkit
from ctxkit.exceptions import (
    ConfigurationError,
    ContractViolation,
    InvalidTarget,
    MissingDependencyError,
)
from ctxkit.functions import schema_of
from ctxkit.functions.contracts import validate

pydantic: Any = pytest.importorskip("pydantic")

SECRET = "hunter2"


class Line(pydantic.BaseModel):
    sku: str
    count: Annotated[int, pydantic.Field(gt=0)]


class Customer:
    """Be known to nobody but this project."""


entered: list[Any] = []


@ctxkit.function(validate=True)
def order(
    number: int,
    lines: Sequence[Line] = (),
    *,
    total: Decimal = Decimal(1),
    **more: int,
) -> str:
    """Tell what has arrived."""
    entered.append(number)
    return f"{number!r} {[line.sku for line in lines]} {total!r} {more}"


@ctxkit.function(validate=True)
async def aorder(number: int) -> list[int]:
    await asyncio.sleep(0)
    entered.append(number)
    return [number, number] if number else SECRET


@pytest.fixture(autouse=True)
def _forget() -> None:
    entered.clear()


def violated(call: Callable[[], Any]) -> ContractViolation:
    with pytest.raises(ContractViolation) as raised:
        call()
    error = raised.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert SECRET not in str(error)
    assert SECRET not in repr(pickle.loads(pickle.dumps(error)).errors)
    return error


@pytest.mark.rule("F-84")
def test_arguments_arrive_as_the_annotations_say() -> None:
    assert order("7") == "7 [] Decimal('1') {}"
    lines = [{"sku": "a", "count": "2"}]
    assert order(7, lines, total="1.5", extra="3") == "7 ['a'] Decimal('1.5') {'extra': 3}"
    assert asyncio.run(aorder("7")) == [7, 7]


@pytest.mark.rule("F-84")
def test_wrong_argument_is_told_before_the_body() -> None:
    error = violated(lambda: order(SECRET))
    assert error.side == "input"
    assert error.function == f"{__name__}:order"
    assert not error.retryable
    (told,) = error.errors
    assert told.startswith("number: Input should be a valid integer")
    assert violated(lambda: asyncio.run(aorder(SECRET))).side == "input"
    assert entered == []


@pytest.mark.rule("F-84")
def test_wrong_result_is_told_after_the_body() -> None:
    error = violated(lambda: asyncio.run(aorder(0)))
    assert error.side == "output"
    assert error.errors == ("result: Input should be a valid list",)
    assert entered == [0]


@pytest.mark.rule("F-84")
def test_wrong_result_is_not_tried_again() -> None:
    @ctxkit.interceptor(order=60)
    def stubborn(call: Any) -> Any:
        for _ in range(3):
            try:
                return (yield call)
            except ContractViolation:
                entered.append("again")
        return None

    @ctxkit.function(validate=True, interceptors=[stubborn])
    def wrong() -> int:
        entered.append("body")
        return SECRET

    assert violated(wrong).side == "output"
    assert entered == ["body"]


@pytest.mark.rule("F-84")
def test_all_that_is_wrong_is_told_by_its_place_and_by_no_value() -> None:
    lines = [{"sku": "a", "count": 1}, {"sku": 7, "count": -1, SECRET: 1}]
    error = violated(lambda: order(SECRET, lines, total=SECRET, **{SECRET: SECRET}))
    assert [told.partition(":")[0] for told in error.errors] == [
        "number",
        "lines.1.sku",
        "lines.1.count",
        "total",
        "another argument",
    ]
    assert "Input should be greater than 0" in error.errors[2]


@pytest.mark.rule("F-84")
def test_call_that_does_not_fit_is_a_violation_too() -> None:
    assert violated(order).errors == ("number: Missing required argument",)
    assert "number" in violated(lambda: order(1, number=2)).errors[0]
    (told,) = violated(lambda: order(1, [], SECRET)).errors
    assert told.startswith("argument 3: ")


def _shout(value: int) -> int:
    msg = f"{SECRET} {value}"
    raise ValueError(msg)


def _own(value: int) -> int:
    kind: Any = importlib.import_module("pydantic_core").PydanticCustomError
    if value:
        raise kind("own_kind", "no {secret}", {"secret": SECRET})
    raise kind("own_kind", f"no {SECRET}")


@pytest.mark.rule("F-84")
@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (Annotated[int, pydantic.AfterValidator(_shout)], 1, "it: Not valid (value_error)"),
        (Annotated[int, pydantic.AfterValidator(_own)], 1, "it: Not valid (own_kind)"),
        (Annotated[int, pydantic.AfterValidator(_own)], 0, "it: Not valid (own_kind)"),
        (uuid.UUID, SECRET, "it: Not valid (uuid_parsing)"),
        (dict[str, int], {SECRET: "x"}, "it.*: Input should be a valid integer"),
        (Literal["a", "b"], SECRET, "it: Input should be 'a' or 'b'"),
        (Customer, SECRET, "it: Input should be an instance of Customer"),
        (Annotated[str, pydantic.Field(max_length=3)], SECRET, "it: String should have at most 3"),
    ],
)
def test_no_value_is_told_whoever_words_the_error(annotation: Any, value: Any, told: str) -> None:
    def body(it: Any) -> None: ...

    body.__annotations__ = {"it": annotation}
    error = violated(lambda: ctxkit.function(validate=True)(body)(value))
    assert error.errors[0].startswith(told)


def test_types_of_the_project_are_told_by_isinstance() -> None:
    @ctxkit.function(validate=True)
    def greet(customer: Customer) -> Customer:
        return customer

    customer = Customer()
    assert greet(customer) is customer


def test_error_of_the_body_goes_through_untouched() -> None:
    error = ValueError(SECRET)

    @ctxkit.function(validate=True)
    def fail(number: int) -> None:
        raise error

    with pytest.raises(ValueError) as raised:
        fail(1)
    assert raised.value is error


def test_validation_is_chosen_for_a_call_as_well() -> None:
    @ctxkit.function
    def plain(number: int) -> Any:
        return number

    assert plain("7") == "7"
    assert plain.using(validate=True)("7") == 7
    assert order.using(validate=None).__call__("7").startswith("'7'")


def test_method_is_validated_with_its_object() -> None:
    class Shop:
        @ctxkit.function(validate=True)
        def price(self, number: int) -> tuple[Any, int]:
            return self, number

    shop = Shop()
    assert shop.price("7") == (shop, 7)
    (told,) = violated(lambda: shop.price(SECRET)).errors
    assert told.startswith("number: ")


def test_what_is_not_annotated_is_not_checked() -> None:
    @ctxkit.function(validate=True)
    def anything(first, *rest, **more):  # noqa: ANN001, ANN002, ANN003, ANN202
        return first, rest, more

    assert anything(1, 2, c=3) == (1, (2,), {"c": 3})


def test_annotation_that_cannot_be_used_is_an_error_at_the_first_call() -> None:
    @ctxkit.function(validate=True)
    def lost(number: Nowhere) -> None:  # noqa: F821
        entered.append(number)

    with pytest.raises(ConfigurationError, match="'Nowhere' is not defined"):
        lost(1)
    assert entered == []


class Unfinished(pydantic.BaseModel):
    line: "Nowhere"  # noqa: F821, UP037


def test_model_that_is_not_finished_is_an_error_that_says_so() -> None:
    @ctxkit.function(validate=True)
    def lost(lines: list[Unfinished]) -> None: ...

    with pytest.raises(ConfigurationError, match="model_rebuild"):
        lost([])


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_validate_takes_true_and_nothing_else(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="validate="):
        validate(value)


def test_function_is_not_kept_alive_by_what_checks_it() -> None:
    def body(number: int) -> int:
        return number

    function: Any = ctxkit.function(validate=True)(body)
    assert function("7") == 7
    died = weakref.ref(body)
    del function, body
    gc.collect()
    assert died() is None


def test_callable_of_any_kind_is_validated() -> None:
    class Adder:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    made = ctxkit.function(name="adder:called", validate=True)(Adder())
    assert made("1", b="2") == 3
    partial = functools.partial(lambda a, b: (a, b), 1)
    assert ctxkit.function(name="adder:partial", validate=True)(partial)("2") == (1, "2")


# Contracts


class Stock(Protocol):
    """Know what is there."""

    def reserve(self, sku: str, count: int = ...) -> list[int]: ...

    async def arow(self, count: int, /, *more: int) -> None: ...


class Shelf:
    def reserve(self, sku: str, count: Any = 5) -> Any:
        return [count] if sku else SECRET

    async def arow(self, count: Any, *more: Any) -> Any:
        return None if count else SECRET


@pytest.mark.rule("F-84")
def test_contract_is_checked_by_the_annotations_of_the_protocol() -> None:
    with ctxkit.bind(ctxkit.provided(Stock, Shelf(), validate=True)):
        stock = ctxkit.use(Stock)
        assert stock.reserve("a", "7") == [7]
        assert stock.reserve("a") == [5]  # the default of the implementation
        asyncio.run(stock.arow("7"))
        error = violated(lambda: stock.reserve("a", SECRET))
        assert (error.side, error.function) == ("input", f"{__name__}:Stock.reserve")
        assert violated(lambda: stock.reserve("")).side == "output"
        assert violated(lambda: asyncio.run(stock.arow(0))).side == "output"
    with ctxkit.bind(ctxkit.provided(Stock, Shelf())):
        assert ctxkit.use(Stock).reserve("a", "7") == ["7"]


# Schemas


def test_schema_of_a_function_tells_what_it_takes_and_returns() -> None:
    schema = schema_of(order)
    assert schema == schema_of(f"{__name__}:order")
    assert json.loads(json.dumps(schema)) == schema
    assert schema["output"] == {"type": "string"}
    assert schema["input"]["required"] == ["number"]
    assert schema["input"]["properties"]["number"]["type"] == "integer"
    assert set(schema["input"]["$defs"]["Line"]["properties"]) == {"sku", "count"}


def test_schema_of_a_contract_tells_of_each_method() -> None:
    assert schema_of(Stock) == {
        "reserve": {
            "input": {
                "additionalProperties": False,
                "properties": {
                    "sku": {"title": "Sku", "type": "string"},
                    "count": {"title": "Count", "type": "integer"},
                },
                "required": ["sku"],
                "type": "object",
            },
            "output": {"items": {"type": "integer"}, "type": "array"},
        },
        "arow": {
            "input": {
                "additionalProperties": False,
                "properties": {
                    "count": {"title": "Count", "type": "integer"},
                    "more": {
                        "default": [],
                        "items": {"type": "integer"},
                        "title": "More",
                        "type": "array",
                    },
                },
                "required": ["count"],
                "type": "object",
            },
            "output": {"type": "null"},
        },
    }


class Finding(Protocol):
    @overload
    def find(self, key: int) -> int: ...
    @overload
    def find(self, name: str) -> str: ...


def test_schema_of_overloads_has_one_of_them() -> None:
    schema = schema_of(Finding)["find"]
    assert [each["required"] for each in schema["input"]["anyOf"]] == [["key"], ["name"]]
    assert schema["output"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def test_schema_describes_in_words_what_json_does_not_know() -> None:
    @ctxkit.function(name=f"{__name__}:welcome")
    def welcome(customer: Customer, call: Callable[[], int] = int) -> Customer:
        return customer

    schema = schema_of(welcome)
    assert schema["output"] == {"description": f"Not JSON: {__name__}.Customer"}
    assert "Not JSON" in schema["input"]["properties"]["call"]["description"]


def test_schema_of_a_method_leaves_its_object_out() -> None:
    assert set(schema_of(Till.open)["input"]["properties"]) == {"drawer"}


class Till:
    @ctxkit.function
    def open(self, drawer: int) -> None: ...


def test_schema_of_anything_else_is_refused() -> None:
    with pytest.raises(InvalidTarget):
        schema_of(len)
    with pytest.raises(ConfigurationError, match="must be a protocol"):
        schema_of(Customer)

    @ctxkit.function
    def lost(number: Nowhere) -> None: ...  # noqa: F821

    with pytest.raises(ConfigurationError, match="Nowhere"):
        schema_of(lost)


# Without pydantic

_WITHOUT = """
import sys
import ctxkit
from typing import Protocol

class Stock(Protocol):
    def reserve(self, sku: str) -> int: ...

class Shelf:
    @ctxkit.function
    def reserve(self, sku: str) -> int:
        return 1

ctxkit.provide(Stock, Shelf())
assert ctxkit.use(Stock).reserve("a") == 1
ctxkit.functions.describe()
assert "pydantic" not in sys.modules

sys.modules["pydantic"] = None
for attempt in (
    lambda: ctxkit.provided(Stock, Shelf(), validate=True),
    lambda: ctxkit.function(validate=True)(lambda: 1),
    lambda: ctxkit.functions.schema_of(Stock),
):
    try:
        attempt()
    except ctxkit.MissingDependencyError as error:
        assert "django-ctxkit[validation]" in str(error)
    else:
        raise AssertionError
"""


@pytest.mark.rule("F-84")
def test_pydantic_is_imported_where_it_is_asked_for_and_nowhere_else() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", _WITHOUT], check=True, timeout=50)
    assert issubclass(MissingDependencyError, ImportError)
