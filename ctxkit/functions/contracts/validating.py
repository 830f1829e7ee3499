"""Validation: arguments and results, checked by their annotations. pydantic does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ctxkit.boundary.intercepting import interceptor
from ctxkit.exceptions import ConfigurationError, MissingDependencyError
from ctxkit.functions.naming import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan

_ORDER: Final = 30


def validate(chosen: object = True, /) -> Interceptor:  # noqa: FBT002 - the value of the option
    """Return the interceptor that the option ``validate=True`` stands for.

    It checks the arguments before the call is admitted anywhere, and the result when all
    attempts are over, so that a wrong result is not tried again. What pydantic converts, a
    ``"7"`` for an ``int``, arrives converted. Annotations are read at the first call.

    Args:
        chosen: The value of the option.

    Raises:
        ConfigurationError: It is not True.
        MissingDependencyError: pydantic is not installed: ``django-ctxkit[validation]``.
    """
    if chosen is not True:
        raise ConfigurationError(
            "validate=", f"must be True or False, not {chosen!r}", "Say which."
        )
    check_of = _pydantic().check_of

    @interceptor(order=_ORDER, name="ctxkit.validate")
    def validating(call: Call) -> Plan:
        check = check_of(call.name, call.function)
        args, kwargs = check.arguments(call.name, call.args, call.kwargs)
        result: Any = yield call.replace(args=args, kwargs=kwargs)
        return check.result(call.name, result)

    return validating


def schema_of(target: Callable[..., object] | str, /) -> dict[str, Any]:
    """Return the JSON Schema of what a function, or a contract, takes and returns.

    Args:
        target: A function of ctxkit, its name, or a protocol.

    Returns:
        For a function, ``{"input": ..., "output": ...}``: an object with its parameters, and its
        result. For a protocol, such a mapping for each of its methods. A type that JSON does not
        know is described by a sentence.

    Raises:
        MissingDependencyError: pydantic is not installed: ``django-ctxkit[validation]``.
        ConfigurationError: An annotation cannot be resolved, or pydantic cannot use it.
        FunctionNotFound: There is no function of that name.
        InvalidTarget: It is none of these.
    """
    schema = _pydantic().schema
    if isinstance(target, type):
        from ctxkit.functions.contracts.providing import contract_of  # noqa: PLC0415 - knows more

        contract = contract_of(target)
        described: dict[str, Any] = {}
        for name, method in contract.methods.items():
            each = [
                schema(f"{contract.name}.{name}", function, bound=True)
                for function in method.overloads or (method.function,)
            ]
            described[name] = each[0] if len(each) == 1 else _any_of(each)
        return described
    unit = unit_of(target)
    told: dict[str, Any] = schema(unit.name, unit.function, bound=is_method(unit))
    return told


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of what has overloads."""
    return {side: {"anyOf": [each[side] for each in schemas]} for side in ("input", "output")}


def is_method(unit: Any) -> bool:
    """Return whether the first parameter of a function is the object it is called on."""
    code = getattr(unit.function, "__code__", None)
    names = () if code is None else code.co_varnames[: code.co_argcount]
    return "." in unit.name.partition(":")[2] and names[:1] == ("self",)


def _pydantic() -> Any:
    try:
        from ctxkit.functions.contracts import _pydantic  # noqa: PLC0415 - imports it
    except ModuleNotFoundError as error:
        if error.name != "pydantic":
            raise
        raise MissingDependencyError("pydantic", "validation") from None
    return _pydantic
