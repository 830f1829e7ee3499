"""What pydantic does: checking values, describing types. Private."""

from __future__ import annotations

import inspect
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final, cast, final, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ArgsKwargs

from ctxkit.exceptions import ConfigurationError, ContractViolation
from ctxkit.functions.contracts._signatures import signature_of, without_self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from inspect import Signature

# What pydantic does not know is checked by isinstance().
_CONFIG: Final = ConfigDict(arbitrary_types_allowed=True)
_POSITIONAL: Final = frozenset((Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD))
#: What an error may tell of: the limits that were set, not the values that broke them.
_LIMITS: Final = frozenset(
    (
        "actual_length", "class", "class_name", "decimal_places", "discriminator", "expected",
        "expected_schemas", "expected_tags", "field_type", "ge", "gt", "le", "lt", "max_digits",
        "max_length", "min_length", "multiple_of", "pattern", "tz_expected", "whole_digits",
    )
)  # fmt: skip
_NOT_GIVEN: Final = object()


@final
class Check:
    """Check calls of one function.

    Args:
        name: What it is called, for errors.
        function: The function.
    """

    __slots__ = ("_parameters", "_result", "_taken")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        signature, hints = _annotated(name, function)
        self._parameters = signature.parameters
        with _Telling(name):
            # The function fills in its defaults itself: a protocol may have others, or `...`.
            self._taken = _Type(_collector(signature, hints, keep_defaults=False))
            self._result = _Type(hints["return"]) if "return" in hints else None

    def arguments(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments as the annotations say.

        Raises:
            ContractViolation: They cannot be.
        """
        try:
            given, named = self._taken.validate(ArgsKwargs(args, dict(kwargs)))
        except ValidationError as error:
            told = tuple(self._told(error))
        else:
            return (
                tuple(value for value in given if value is not _NOT_GIVEN),
                {key: value for key, value in named.items() if value is not _NOT_GIVEN},
            )
        # Not where the other error is known: it holds the values.
        raise ContractViolation(name, "input", told)

    def result(self, name: str, result: Any) -> Any:
        """Return the result as the annotation says.

        Raises:
            ContractViolation: It cannot be.
        """
        if self._result is None:
            return result
        try:
            return self._result.validate(result)
        except ValidationError as error:
            told = tuple(_sentences(error, self._result, ("result",)))
        raise ContractViolation(name, "output", told)

    def _told(self, error: ValidationError) -> Iterator[str]:
        places = [each.name for each in self._parameters.values() if each.kind in _POSITIONAL]
        return _sentences(error, self._taken, (), places, self._parameters)


@final
class _Type:
    """Know how to check a type.

    An adapter of pydantic's holds the frame that has made it, and so everything that the first
    caller had in its variables. What it has made does not.

    Attributes:
        schema: What pydantic knows of it.
        validate: Returns a value as the type says, or raises.
    """

    __slots__ = ("schema", "validate")

    def __init__(self, type_: Any) -> None:
        adapter = _adapter(type_)
        self.schema: Any = adapter.core_schema
        self.validate: Callable[[Any], Any] = adapter.validator.validate_python


_checks: Final[WeakKeyDictionary[Any, Check]] = WeakKeyDictionary()


def check_of(name: str, function: Callable[..., Any]) -> Check:
    """Return what checks the calls of a function.

    Raises:
        ConfigurationError: An annotation cannot be resolved, or pydantic cannot use it.
    """
    try:
        known = _checks.get(function)
        if known is None:
            known = _checks[function] = Check(name, function)
    except TypeError:  # one that cannot be remembered
        return Check(name, function)
    return known


def schema(name: str, function: Callable[..., Any], *, bound: bool) -> dict[str, Any]:
    """Return the JSON Schema of what a function takes and returns.

    Args:
        name: What it is called, for errors.
        function: The function.
        bound: Whether its first parameter is the object it is called on.
    """
    signature, hints = _annotated(name, function)
    if bound:
        signature = without_self(signature)
    with _Telling(name):
        named = signature.replace(parameters=[*_named(signature, hints)])
        taken = _adapter(_collector(named, hints, keep_defaults=True))
        returned = _adapter(hints.get("return", Any))
        return {
            "input": taken.json_schema(schema_generator=_Schema),
            "output": returned.json_schema(schema_generator=_Schema, mode="serialization"),
        }


@final
class _Telling:
    """Say of which function it was that pydantic could not use something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, PydanticUserError) and error.code == "class-not-fully-defined":
            raise ConfigurationError(
                f"The annotations of {self._name}",
                "use a model of pydantic's that is not fully defined",
                "Import what it names, and call its model_rebuild().",
            ) from error
        if isinstance(error, (PydanticUserError, NameError)):
            problem, *_rest = str(error).splitlines()
            raise ConfigurationError(
                f"The annotations of {self._name}",
                f"cannot be used: {problem}",
                "Annotate it with types that can be imported at run time.",
            ) from error


def _annotated(name: str, function: Callable[..., Any]) -> tuple[Signature, dict[str, Any]]:
    with _Telling(name):
        signature = signature_of(function)
        return signature, get_type_hints(_annotating(function), include_extras=True)


def _annotating(function: Any) -> Any:
    """Return the function that has the annotations."""
    while isinstance(function, partial):
        function = function.func
    return inspect.unwrap(function) if inspect.isroutine(function) else type(function).__call__


def _collector(signature: Signature, hints: Mapping[str, Any], *, keep_defaults: bool) -> Any:
    """Return a function of that signature that returns what it is given.

    Args:
        signature: The signature.
        hints: Its annotations.
        keep_defaults: Whether its defaults are the function's; if not, nothing given is marked.
    """

    def collect(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def default(of: Parameter) -> Any:
        if of.default is Parameter.empty or (keep_defaults and of.default is not ...):
            return of.default
        return _NOT_GIVEN

    parameters = [
        each.replace(annotation=hints.get(each.name, Any), default=default(each))
        for each in signature.parameters.values()
    ]
    made: Any = collect
    made.__signature__ = signature.replace(parameters=parameters, return_annotation=Any)
    made.__annotations__ = {each.name: each.annotation for each in parameters}
    return made


def _named(signature: Signature, hints: dict[str, Any]) -> Iterator[Parameter]:
    """Yield the parameters as the properties of an object, with their types in ``hints``."""
    for each in signature.parameters.values():
        if each.kind is Parameter.VAR_POSITIONAL:
            hints[each.name] = list[hints.get(each.name, Any)]  # type: ignore[misc]
            yield each.replace(kind=Parameter.KEYWORD_ONLY, default=[])
        elif each.kind is Parameter.POSITIONAL_ONLY:
            yield each.replace(kind=Parameter.POSITIONAL_OR_KEYWORD)
        else:
            yield each


def _adapter(type_: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(type_, config=_CONFIG)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(type_)  # a model, which has a configuration of its own


class _Schema(GenerateJsonSchema):
    """Describe in words what JSON does not know, rather than to give up."""

    ignored_warning_kinds: Any = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        kind = schema.get("cls")
        shown = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else error_info
        return {"description": f"Not JSON: {shown}"}


def _sentences(
    error: ValidationError,
    type_: _Type,
    start: tuple[str, ...],
    places: list[str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> Iterator[str]:
    """Yield what is wrong, without a value, nor a key of one."""
    names: set[str] | None = None
    for each in error.errors(include_input=False, include_url=True):
        location = [*each["loc"]]
        path = [*start]
        if parameters is not None and location:
            path.append(_parameter(location.pop(0), places or [], parameters))
        if location and names is None:
            names = set(_declared(_Schema().generate(type_.schema)))
        path += [
            str(part) if isinstance(part, int) or part in (names or ()) else "*"
            for part in location
        ]
        yield f"{'.'.join(path)}: {_message(cast('Any', each))}"


def _parameter(part: int | str, places: list[str], parameters: Mapping[str, Parameter]) -> str:
    if isinstance(part, int):
        return places[part] if part < len(places) else f"argument {part + 1}"
    return part if part in parameters else "another argument"


def _message(details: Mapping[str, Any]) -> str:
    # Only pydantic's own errors have an address; the sentences of others may tell the value.
    if "url" in details and _LIMITS.issuperset(details.get("ctx", ())):
        return str(details["msg"])
    return f"Not valid ({details['type']})"


def _declared(schema: object) -> Iterator[str]:
    """Yield the names of all fields in a schema: those were written by a programmer."""
    if isinstance(schema, dict):
        parts = cast("dict[str, object]", schema)
        if isinstance(properties := parts.get("properties"), dict):
            yield from cast("dict[str, object]", properties)
        for part in parts.values():
            yield from _declared(part)
    elif isinstance(schema, list):
        for part in cast("list[object]", schema):
            yield from _declared(part)
