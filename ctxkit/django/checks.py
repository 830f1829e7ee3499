"""System checks: what can be wrong with ctxkit in a Django project, each under its id."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.core.checks import ERROR, WARNING, CheckMessage
from django.utils.module_loading import import_string

from ctxkit.django import conf
from ctxkit.django.middleware import ContextMiddleware
from ctxkit.exceptions import AdoptionError, ConfigurationError
from ctxkit.functions import configured
from ctxkit.functions.configuring import missing_functions
from ctxkit.propagation import adopt

if TYPE_CHECKING:
    from collections.abc import Iterator


class Check(NamedTuple):
    """Describe one check; the checks reference is made from these.

    Attributes:
        id: Stable: projects silence checks by it.
        level: :data:`django.core.checks.ERROR` or ``WARNING``.
        title: What is wrong, ``{}`` standing for the particulars.
        hint: What to do about it.
    """

    id: str
    level: int
    title: str
    hint: str

    def message(self, *particulars: object, hint: str | None = None) -> CheckMessage:
        """Return the message that Django shows."""
        return CheckMessage(
            self.level, self.title.format(*particulars), hint=hint or self.hint, id=self.id
        )


BAD_SETTING = Check(
    "ctxkit.E001",
    ERROR,
    "{} {}.",
    "Write a value that the settings reference allows.",
)
NOT_ADOPTABLE = Check(
    "ctxkit.E002",
    ERROR,
    'CTXKIT["ADOPT"] names something that cannot be adopted: {}',
    "Name a threading.local in an importable module.",
)
NO_MIDDLEWARE = Check(
    "ctxkit.W001",
    WARNING,
    "ctxkit.django is installed, but its middleware is not: requests have no frame, and "
    "nothing is flushed before a response leaves.",
    'Put "ctxkit.django.ContextMiddleware" first in MIDDLEWARE.',
)
TWICE = Check(
    "ctxkit.W002",
    WARNING,
    "ContextMiddleware is in MIDDLEWARE {} times. Only the first does anything.",
    "Remove all but the first.",
)
NO_FUNCTION = Check(
    "ctxkit.W004",
    WARNING,
    "What is configured for the function {} holds for nothing: its module has nothing of that "
    "name.",
    'Write the name as "package.module:name".',
)
FOREIGN_CTXKIT = Check(
    "ctxkit.W003",
    WARNING,
    "The distribution ctxkit {} is installed. It is another project, and it shares the "
    "package ctxkit with django-ctxkit: each overwrites files of the other.",
    "Run: python -m pip uninstall --yes ctxkit && "
    "python -m pip install --force-reinstall --no-deps django-ctxkit",
)

CHECKS = (BAD_SETTING, NOT_ADOPTABLE, NO_MIDDLEWARE, TWICE, FOREIGN_CTXKIT, NO_FUNCTION)


def check_settings(*_: object, **__: object) -> list[CheckMessage]:
    """Check ``CTXKIT`` and the environment variables behind it."""
    found = [
        BAD_SETTING.message(problem.setting, problem.problem, hint=problem.fix)
        for problem in conf.problems()
    ]
    return found or list(_adoptions())


def _adoptions() -> Iterator[CheckMessage]:
    for module, name in conf.adoptions():
        error = _refusal(module, name)
        if error is not None:
            yield NOT_ADOPTABLE.message(error)


def _refusal(module: str, name: str) -> Exception | None:
    try:
        # To match nothing is no error, but what stands before the first wildcard is there.
        known = ".".join(takewhile(str.isidentifier, module.split(".")))
        if known and find_spec(known) is None:
            return AdoptionError(module, name, "there is no such module")
        adopt(module, name)
    except (AdoptionError, ImportError) as error:
        return error
    return None


def check_functions(*_: object, **__: object) -> list[CheckMessage]:
    """Check that functions that are configured are there, where their modules are imported."""
    try:
        return [NO_FUNCTION.message(name) for name in missing_functions(configured.now())]
    except ConfigurationError:  # another check says so
        return []


def check_middleware(*_: object, **__: object) -> list[CheckMessage]:
    """Check that ``ContextMiddleware``, or a subclass, is in ``MIDDLEWARE`` once."""
    count = sum(map(_is_ours, settings.MIDDLEWARE))
    if count == 0:
        return [NO_MIDDLEWARE.message()]
    return [TWICE.message(count)] if count > 1 else []


def _is_ours(path: str) -> bool:
    try:
        middleware: object = import_string(path)
    except ImportError:  # Django itself says so, and where
        return False
    return isinstance(middleware, type) and issubclass(middleware, ContextMiddleware)


def check_distributions(*_: object, **__: object) -> list[CheckMessage]:
    """Check that the unrelated distribution named ``ctxkit`` is not installed over ours."""
    try:
        return [FOREIGN_CTXKIT.message(distribution("ctxkit").version)]
    except PackageNotFoundError:
        return []
