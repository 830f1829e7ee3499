"""Stages: the interceptors that a function's options stand for."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxkit.boundary.intercepting import CHAIN, checked_interceptor
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._configured import NamedPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctxkit.boundary.intercepting import Interceptor


class Stage(NamedTuple):
    """Say who makes an interceptor of an option. It is imported at the option's first use."""

    module: str
    factory: str
    #: Whether it takes what the option holds as so many arguments.
    spread: bool = False


#: The options that stand for an interceptor; each factory takes the value.
STAGES: Final[Mapping[str, Stage]] = {
    "permission": Stage("ctxkit.functions.security", "permission"),
    "actor": Stage("ctxkit.functions.security", "impersonation"),
    "scope": Stage("ctxkit.functions.security", "narrowing"),
    "requires": Stage("ctxkit.functions.interceptors", "requires", spread=True),
    "validate": Stage("ctxkit.functions.contracts", "validate"),
    "timeout": Stage("ctxkit.functions.interceptors", "timeout"),
    "retry": Stage("ctxkit.functions.interceptors", "retry"),
    "pool": Stage("ctxkit.functions.interceptors", "limit"),
}

#: The options about who acts and how far, and what to do instead of giving None: by mistake, it
#: would have the function act for its caller, and as far as that may.
ACTING: Final[Mapping[str, str]] = {
    "actor": "Leave it out; bind None around the call to have nobody act.",
    "scope": "Leave it out, or write Scope() for nothing.",
}


def chain_of(options: Mapping[str, Any]) -> tuple[Interceptor, ...]:
    """Return what is to be put around a call with these options, the outermost first.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    own = [checked_interceptor("interceptors=", each) for each in options.get("interceptors") or ()]
    return CHAIN.of("call", *own, *stages_of(options))


def stages_of(options: Mapping[str, Any]) -> tuple[Interceptor, ...]:
    """Return the interceptors that these options stand for, the outermost first.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    made: list[Interceptor] = []
    for option, stage in STAGES.items():
        value: Any = options.get(option)
        if option == "pool" and isinstance(value, str):
            value = NamedPool(value)
        if value is not None and value is not False:
            factory = getattr(import_module(stage.module), stage.factory)
            made.append(factory(*value) if stage.spread else factory(value))
    return tuple(sorted(made, key=attrgetter("order")))


def checked_options(setting: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given.

    Raises:
        ConfigurationError: One of them is unknown.
    """
    unknown = options.keys() - STAGES.keys() - {"interceptors", "engine"}
    if unknown:
        known = ", ".join(sorted({*STAGES, "interceptors", "engine"}))
        raise ConfigurationError(
            setting, f"got {', '.join(sorted(unknown))}", f"Known options are {known}."
        )
    for option, fix in ACTING.items():
        value = options.get(option, option)
        if value is None or value is False:
            raise ConfigurationError(setting, f"got {option}={value}", fix)
    return dict(options)


def laid_over(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options``, replaced by those that are given; but a scope only narrows.

    Raises:
        ConfigurationError: A scope is none.
    """
    laid = {**options, **given}
    if "scope" in options and "scope" in given:
        from ctxkit.functions._scope import checked_scope  # noqa: PLC0415 - few have any

        laid["scope"] = options["scope"] & checked_scope("using(scope=)", given["scope"])
    return laid
