"""A page of documentation, made of what is registered."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.intercepting import Interceptor
from ctxkit.context import Key
from ctxkit.functions.contracts._signatures import written
from ctxkit.functions.contracts.providing import Contract, contracts, title_of
from ctxkit.functions.contracts.validating import is_method, schema_of
from ctxkit.functions.naming import units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def describe(*, schemas: bool = False) -> str:
    """Return a page about every function and contract that this process has imported.

    Args:
        schemas: Whether to add the JSON Schema of what each takes and returns.

    Returns:
        Markdown: names, signatures, docstrings, options; of contracts also what is provided.
        The same for the same code, whatever the order of imports.

    Raises:
        MissingDependencyError: Schemas are wanted, and pydantic is not installed.
    """
    lines: list[str] = []
    known = sorted(units(), key=lambda unit: unit.name)
    if known:
        lines.append("# Functions")
    for unit in known:
        lines.append(f"## `{unit.name}`")
        lines += _callable(unit.function, asynchronous=unit.asynchronous, bound=is_method(unit))
        lines += [f"- {line}" for line in _options(unit.options)]
        if schemas:
            lines += _schemas(schema_of(unit.wrapper))
    chosen = sorted(contracts.values(), key=lambda contract: contract.name)
    if chosen:
        lines.append("# Contracts")
    for contract in chosen:
        lines += _contract(contract, schemas=schemas)
    return _joined(lines)


def _contract(contract: Contract, *, schemas: bool) -> Iterator[str]:
    yield f"## `{contract.name}`"
    yield from _documentation(contract.protocol)
    described = schema_of(contract.protocol) if schemas else {}
    for name, method in contract.methods.items():
        yield f"### `{name}`"
        for function in method.overloads or (method.function,):
            yield from _callable(function, asynchronous=method.asynchronous, bound=True)
        if schemas:
            yield from _schemas(described[name])
    bindings = {f"`{name}`": binding for name, binding in sorted(contract.named.items())}
    if contract.default is not None and contract.default not in bindings.values():
        bindings["the default"] = contract.default
    yield "### Provided" if bindings else "Nothing is provided."
    for name, binding in bindings.items():
        also = ", the default" if binding is contract.default and name[0] == "`" else ""
        told = "; ".join(_options(binding.options))
        yield f"- {name}{also}: `{title_of(binding.implementation)}`{told and f' ({told})'}"


def _callable(function: Any, *, asynchronous: bool, bound: bool) -> Iterator[str]:
    signature = written(function, bound=bound)
    keyword = "async def" if asynchronous else "def"
    name = getattr(function, "__name__", "function")
    yield f"```python\n{keyword} {name}{signature}: ...\n```"
    yield from _documentation(function)


def _documentation(documented: Any) -> Iterator[str]:
    text = vars(documented).get("__doc__") if isinstance(documented, type) else documented.__doc__
    if text:  # its own: typing documents every protocol
        yield inspect.cleandoc(text)


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        values: list[Any] = [*value] if isinstance(value, tuple) else [value]
        yield f"{name}: {', '.join(f'`{_shown(each)}`' for each in values)}"


def _shown(value: Any) -> str:
    if isinstance(value, (Key, Interceptor)):
        return value.name
    if isinstance(value, str):
        return value
    told = repr(value)
    # An address would be another one each time.
    return str(getattr(value, "name", type(value).__name__)) if told.startswith("<") else told


def _schemas(schema: Mapping[str, Any]) -> Iterator[str]:
    for side, told in schema.items():
        yield f"{side.capitalize()}:"
        yield f"```json\n{json.dumps(told, indent=2)}\n```"


def _joined(parts: list[str]) -> str:
    """Return the parts, with a blank line between all but the items of a list."""
    text = ""
    before = ""
    for part in parts:
        if text:
            text += "\n" if before.startswith("- ") and part.startswith("- ") else "\n\n"
        text += part
        before = part
    return f"{text}\n" if text else ""
