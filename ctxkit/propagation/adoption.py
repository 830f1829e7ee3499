"""Adoption: a third party's ``threading.local`` becomes a :class:`ctxkit.Local`."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from ctxkit.context import Local
from ctxkit.exceptions import AdoptionError, ConfigurationError
from ctxkit.propagation._import_hook import (
    after_import,
    forget,
    is_under_way,
    loaded_matching,
    names_of,
    told_later,
)
from ctxkit.propagation._transplant import is_class, is_named_by_its_methods, replacement, roots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Whose locals no pattern takes: they are bound to their thread, or ours already.
_OWNERS: Final = sys.stdlib_module_names | {"asgiref", "ctxkit", "django"}
_WILDCARD: Final = re.compile(r"[*?]|\[[^]]+\]")


def adopt(module: str, name: str = "*") -> None:
    """Replace a third party's ``threading.local`` by a :class:`ctxkit.Local`.

    For packages that keep the request in a ``threading.local``, where one thread serves
    many requests at once::

        ctxkit.adopt("crum", "_thread_locals")
        ctxkit.adopt("edx_django_utils.*")  # whatever is in its modules

    Args:
        module: The module's dotted name, or a pattern of :mod:`fnmatch` for some. It is
            not imported: if it was not yet, the adoption happens when it is.
        name: The name in that module of a ``threading.local``, of an instance of a
            subclass, or of a subclass. Dotted for an attribute of a class or an object. Or
            a pattern, for all such at the top of the module; a subclass is taken where
            it is defined.

    Raises:
        AdoptionError: There is no such name, or it is something else, or its class cannot
            be built anew. If the module is imported later, its import raises this. To match
            nothing is no error.
        ConfigurationError: ``module`` or ``name`` is not a Python name; or it is a pattern
            that takes in every package, or one of the standard library, Django, asgiref or
            ctxkit. Their locals are bound to a thread, and no pattern takes them.

    Context:
        Values that the old object holds are left behind, but for its ``__slots__``: call
        it at start-up. Each context starts like a new thread; a subclass's ``__init__``
        runs in it at the first use. What the package sets is visible where ``Local`` says.

    Safety:
        From any thread, any number of times; in force for the life of the process, also
        where a module is executed again. Wherever else in a loaded module the same object
        is bound by name, it is replaced there as well, and with a subclass its subclasses
        and instances are too, as they are where its methods name it; what sits in
        attributes, closures and defaults is not found. Nothing tells a request's state
        from a handle that is bound to its thread or to the thread's database connection:
        a pattern is for packages whose locals you know.
    """
    if validate(module, name):
        after_import(module, name, lambda loaded: _adopt_matching(loaded, module, name))
        for each in loaded_matching(module):
            _adopt_loaded(each, module, name)
        return
    after_import(module, name, lambda loaded: _adopt_named(loaded, module, name, executed=True))
    if module in sys.modules and not told_later(sys.modules[module]):
        # Does not import anything any more, but waits for a thread that is at it.
        _adopt_named(import_module(module), module, name, executed=False)


def validate(module: object, name: object) -> bool:
    """Check what :func:`adopt` is called with; return whether a pattern is in it.

    Raises:
        ConfigurationError: As there.
    """
    wild = _is_wild("module", module), _is_wild("name", name)
    if not any(wild):
        return False
    if "." in str(name):
        raise ConfigurationError(
            "adopt(name=)",
            f"must be of one part where a pattern is used, not {name!r}",
            "Adopt an attribute by the module's name and its own.",
        )
    package = str(module).partition(".")[0]
    if _WILDCARD.match(package):
        raise ConfigurationError(
            "adopt(module=)",
            f"must begin with the name of a package, not {module!r}: that takes in every package, "
            "with handles that are bound to their thread, as those of GEOS and of database drivers",
            'Write it like adopt("crum") or adopt("django_*.middleware").',
        )
    if package in _OWNERS:
        raise ConfigurationError(
            "adopt(module=)",
            f"must not be {module!r} with a pattern: what {package} keeps by thread is bound to it",
            "Name what you mean, if you are sure.",
        )
    return True


def _is_wild(what: str, name: object) -> bool:
    parts = name.split(".") if isinstance(name, str) else [""]
    if not all(_WILDCARD.sub("x", part).isidentifier() for part in parts):
        raise ConfigurationError(
            f"adopt({what}=)",
            f"must be a dotted Python name or a pattern of one, not {name!r}",
            'Write it like adopt("crum", "_thread_locals").',
        )
    return any(map(_WILDCARD.search, parts))


def _adopt_named(loaded: ModuleType, module: str, name: str, *, executed: bool) -> None:
    try:
        *path, last = name.split(".")
        owner: Any = loaded
        for step in path:
            owner = _attribute(owner, step, module, name)
        old = _attribute(owner, last, module, name)
        if not issubclass(_class_of(old), Local):
            _check(old, module, name)
            [new] = _replace([(name, old)], loaded, module)
            if getattr(owner, last, None) is not new:
                setattr(owner, last, new)
    except AdoptionError as error:
        forget(module, name)
        if error.problem.startswith("there is no") and not executed and is_under_way(loaded):
            problem = f"{error.problem} yet, as its import is still under way"
            raise AdoptionError(module, name, problem) from None
        raise


def _attribute(owner: Any, name: str, module: str, path: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        problem = f"there is no {name!r} in {getattr(owner, '__name__', owner)!r}"
        raise AdoptionError(module, path, problem) from None


def _check(old: Any, module: str, name: str) -> None:
    if not issubclass(_class_of(old), roots()):
        raise AdoptionError(module, name, f"it is a {type(old).__name__}")
    if old in roots():
        raise AdoptionError(module, name, "it is threading.local itself")


def _class_of(old: Any) -> Any:
    return old if is_class(old) else cast("object", type(old))


def _adopt_loaded(each: str, module: str, name: str) -> None:
    loaded = sys.modules.get(each)
    if told_later(loaded):
        return
    # A thread that is at it is waited for.
    _adopt_matching(import_module(each) if is_under_way(loaded) else loaded, module, name)


def _adopt_matching(loaded: ModuleType | None, module: str, name: str) -> None:
    names = names_of(loaded)
    found = [
        (each, value)
        for each, value in names.copy().items()
        if fnmatchcase(each, name) and _is_adoptable(value, module)
    ]
    owned = set(_owned()) if found else set[int]()
    found = [(each, value) for each, value in found if id(value) not in owned]
    if found:
        _replace(found, loaded, str(names.get("__name__", module)))


def _is_adoptable(value: object, module: str) -> bool:
    # By type(), as to ask a lazy object for its __class__ makes it.
    kind = type(value)
    if is_class(value):
        found = cast("type[object]", value)
        is_below = issubclass(found, roots()) and found not in roots()
        return is_below and fnmatchcase(str(found.__module__), module)
    return issubclass(kind, roots()) and (kind in roots() or not _is_owned(kind.__module__))


def _is_owned(module: str) -> bool:
    return module.partition(".")[0] in _OWNERS


def _owned() -> Iterator[int]:
    """Yield the ids of what an owner has at the top of a module."""
    for name, module in sys.modules.copy().items():
        if _is_owned(name):
            yield from (id(value) for value in names_of(module).copy().values())


def _replace(found: list[tuple[str, Any]], loaded: object, module: str) -> list[Any]:
    """Replace what was found wherever a module binds it by name; return what takes its place."""
    kinds = {id(kind) for _, old in found for kind in _kinds(old)}
    wanted = {id(old) for _, old in found} | kinds
    try:
        new = [replacement(old) for _, old in found]
        # The module need not be in sys.modules, or something else may be there for it.
        plan = [
            (names, name, value, replacement(value))
            for names in map(names_of, [loaded, *sys.modules.copy().values()])
            for name, value in names.copy().items()
            if id(value) in wanted or id(cast("object", type(value))) in kinds
        ]
    except Exception as error:
        which = ", ".join(name for name, _ in found)
        problem = f"it cannot be built anew, {type(error).__name__}: {error}"
        raise AdoptionError(module, which, problem) from error
    for names, name, old, successor in plan:
        if names.get(name) is old:
            names[name] = successor
    return new


def _kinds(old: Any) -> Iterator[type[Any]]:
    """Yield the classes that are replaced by name along with ``old``."""
    if is_class(old):
        yield from _with_subclasses(old)
        return
    for kind in type(old).__mro__:
        if issubclass(kind, roots()) and kind not in roots() and is_named_by_its_methods(kind):
            yield from _with_subclasses(kind)


def _with_subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in type.__subclasses__(kind):
        yield from _with_subclasses(each)
