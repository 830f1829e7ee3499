"""What operators say about functions and pools by their names: checked as a whole.

A configuration comes from :func:`configure`, from the settings of Django, or from the file that
``CTXKIT_CONFIG`` names; the first of these that is there. Functions that are only named are not
imported.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._configured import Configuration, configured
from ctxkit.functions._option_settings import read_options
from ctxkit.functions._pool_settings import PoolSettings, read_pool
from ctxkit.functions._reading import Place, close_to, dotted, entries, loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

_TABLES: Final = ("pools", "functions")
_IN_CODE: Final = Place("", dotted)


def configure(declared: Mapping[str, object]) -> None:
    """Say what holds for functions and pools, by their names.

    It takes the place of everything that was configured before.

    Args:
        declared: A mapping ``pools`` from names to what is said about each, a mapping
            ``functions`` from ``"package.module:name"``, or ``"package.module:*"`` for all of a
            module, to options, or both. See the reference of settings for what they take.

    Raises:
        ConfigurationError: Something cannot be used: all that cannot, each with its place and
            what to write instead. What was configured before stays.

    Context:
        For the whole process. Calls that have begun go on as they are.
    """
    configuration = checked(declared)
    configured.change(lambda: configuration)


def configure_from(path: str | os.PathLike[str]) -> None:
    """Say what holds for functions and pools by a TOML file: :func:`configure` with what is in it.

    Args:
        path: Where it is. Of a ``pyproject.toml`` the table ``tool.ctxkit`` counts.

    Raises:
        ConfigurationError: It cannot be read, or something in it cannot be used.
    """
    configuration = read_file(os.fspath(path), os.fspath(path))
    configured.change(lambda: configuration)


def override(declared: Mapping[str, object]) -> AbstractContextManager[None]:
    """Return a with-block in which :func:`configure` has said something else, for tests.

    Its pools are its own, and are shut down at its end.

    Raises:
        ConfigurationError: Something cannot be used.

    Context:
        For the whole process: two tests in two threads are in each other's way.
    """
    return configured.replaced(checked(declared))


def missing_functions(configuration: Configuration) -> list[str]:
    """Return which functions are configured that are not there, as far as can be seen.

    A module that is not imported is not looked into.
    """
    return [name for name in configuration.functions if _is_missing(name)]


def _is_missing(name: str) -> bool:
    module, _, path = name.partition(":")
    if module not in sys.modules or path == "*" or "<locals>" in path:
        return False
    return loaded(module, path) is None


def checked(
    declared: object, place: Place = _IN_CODE, tables: tuple[str, str] = _TABLES
) -> Configuration:
    """Return what is declared as a configuration.

    Args:
        declared: What :func:`configure` takes.
        place: Where it stands.
        tables: What the two tables are called there.

    Raises:
        ConfigurationError: The one thing that is wrong; if there are several, all of them.
    """
    found: list[ConfigurationError] = []
    configuration = read(declared, found, place, tables)
    if len(found) > 1:
        told = "".join(f"\n- {each}" for each in found)
        raise ConfigurationError(place.title, f"has {len(found)} mistakes", f"Mend each:{told}")
    if found:
        raise found[0]
    return configuration


def read(
    declared: object,
    found: list[ConfigurationError],
    place: Place = _IN_CODE,
    tables: tuple[str, str] = _TABLES,
) -> Configuration:
    """Return what is declared as a configuration, and note everything that is wrong with it."""
    pools: dict[str, PoolSettings] = {}
    functions: dict[str, Mapping[str, object]] = {}
    at = place
    for key, where, table in entries(place, declared, found, tables):
        if key == tables[0]:
            for name, spot, each in entries(where, table, found):
                pools[name] = read_pool(spot, each, found)
        else:
            at, functions = where, read_options(where, table, found)
    for name, options in functions.items():
        pool = options.get("pool")
        if isinstance(pool, str) and pool and pool not in pools:
            found.append(_no_pool(at.under(name).under("pool"), pool, pools))
    return Configuration(pools, functions)


def _no_pool(place: Place, pool: str, pools: Iterable[str]) -> ConfigurationError:
    close = close_to(pool, pools)
    fix = f"Did you mean {close}?" if close else f"Write a table for it: pools.{pool}."
    return place.refuse(f"names the pool {pool!r}, which is not configured", fix)


def read_file(path: str, setting: str) -> Configuration:
    """Return what a TOML file says.

    Args:
        path: Where it is.
        setting: What has named it, for the error that it cannot be read.

    Raises:
        ConfigurationError: It cannot, or something in it cannot be used.
    """
    import tomllib  # noqa: PLC0415 - where there is a file alone

    title = os.path.basename(path)  # noqa: PTH119 - a cold start need not pay for pathlib
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            declared: object = tomllib.load(file)
    except OSError as error:
        problem = f"names {path!r}, which cannot be read: {error.strerror}"
        raise ConfigurationError(setting, problem, "Write the path of a TOML file.") from None
    except ValueError as error:  # a UnicodeDecodeError or a TOMLDecodeError
        problem = f"is no TOML: {str(error).rstrip('.')}"
        raise ConfigurationError(path, problem, "Mend it there.") from None
    place = Place(f"{title}: ", dotted)
    if title == "pyproject.toml":
        declared, place = _tool_of(declared, place)
    return checked(declared, place)


def _tool_of(declared: Any, place: Place) -> tuple[object, Place]:
    """Return the table of a ``pyproject.toml`` that is ours."""
    place = place.under("tool").under("ctxkit")
    try:
        return declared["tool"]["ctxkit"], place
    except (KeyError, TypeError):
        raise place.refuse("is not there", "Write a table [tool.ctxkit.functions].") from None
