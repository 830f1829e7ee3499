"""Foreign packages: each imported in one place, at its top, and only when asked for."""

from __future__ import annotations

import sys
from collections import defaultdict

from helpers.project import PACKAGE, runtime_imports, sources

# Django is a framework, and has a room; every other package has one file at most.
_STANDARD = sys.stdlib_module_names | {"annotationlib"}  # since Python 3.14
ROOMS = {"django": "django", "asgiref": "django"}


def _foreign_imports() -> dict[str, dict[str, bool]]:
    """Return the files that import each foreign package, and whether at their top."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for path in sources():
        for module, at_top in runtime_imports(path):
            package = module.partition(".")[0]
            if package != "ctxkit" and package not in _STANDARD:
                found[package][path.relative_to(PACKAGE).as_posix()] = at_top
    return dict(found)


def test_foreign_package_has_one_home() -> None:
    crowded = {
        package: set(files)
        for package, files in _foreign_imports().items()
        if len(files) > 1
        and not (package in ROOMS and all(f.split("/", 1)[0] == ROOMS[package] for f in files))
    }
    assert crowded == {}


def test_foreign_package_is_imported_at_the_top_of_its_home() -> None:
    hidden = {
        package: [file for file, at_top in files.items() if not at_top]
        for package, files in _foreign_imports().items()
    }
    assert {package: files for package, files in hidden.items() if files} == {}


def test_foreign_packages_are_declared() -> None:
    from helpers.project import pyproject  # noqa: PLC0415 - read in this test alone

    extras = pyproject()["project"]["optional-dependencies"]
    declared = " ".join(requirement for extra in extras.values() for requirement in extra)
    homes = {
        "billiard": "celery",  # which depends on it
        "google": "opentelemetry",
        "pydantic_core": "pydantic",
        "sentry_sdk": "sentry-sdk",
        "snapshot_restore_py": "awslambdaric",  # which depends on it
    }
    undeclared = {
        package for package in _foreign_imports() if homes.get(package, package) not in declared
    }
    assert undeclared == set()
