"""``ctxkit`` itself: what can be imported, and that checkers and Python agree about it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest
from helpers.project import PACKAGE, ROOT, front_door, module_name, sources, tree

import ctxkit

DOCS = ROOT / "docs"
NAMES = [(room, name) for room, names in front_door().items() for name in names]


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_public_name_is_the_room_s_own(room: str, name: str) -> None:
    module = importlib.import_module(f"ctxkit.{room}")
    assert getattr(ctxkit, name) is getattr(module, name)
    assert room == "exceptions" or name in module.__all__


def test_checkers_see_the_names_that_python_sees() -> None:
    declared = {
        (node.module.partition(".")[2], alias.name)
        for node in ast.walk(tree(PACKAGE / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ctxkit.")
        for alias in node.names
        if alias.asname == alias.name
    }
    assert declared == set(NAMES)
    assert set(ctxkit.__all__) == {name for _, name in NAMES} <= set(dir(ctxkit))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'flsh'"):
        getattr(ctxkit, "flsh")  # noqa: B009 - as a typo would do


def test_exported_names_are_no_module_names() -> None:
    """A folder replaces a function of the same name as soon as it is imported."""
    modules = {part for path in sources() for part in module_name(path).split(".")}
    exported = set(ctxkit.__all__)
    for path in sources():
        if path.name == "__init__.py" and "__all__" in path.read_text() and path.parent != PACKAGE:
            exported |= set(getattr(_import_or_skip(module_name(path)), "__all__", ()))
    assert exported & modules == set()


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_public_name_is_documented_with_an_imperative_sentence(room: str, name: str) -> None:
    documentation = inspect.getdoc(getattr(ctxkit, name)) or ""
    first = documentation.partition("\n")[0]
    assert first.endswith("."), f"ctxkit.{room}.{name}: {first!r}"


@pytest.mark.parametrize("name", ctxkit.__all__)
def test_public_name_stands_in_the_reference_and_in_the_glossary(name: str) -> None:
    directives = "".join(_directives())
    assert re.search(rf"^\.\. auto(class|exception|function):: {name}$", directives, re.MULTILINE)
    assert re.search(rf"^\|.*`{name}(\(\))?`", (DOCS / "glossary.md").read_text(), re.MULTILINE)


def test_reference_has_its_headings_outside_of_its_directives() -> None:
    assert "\n#" not in "".join(_directives())


def _directives() -> list[str]:
    """Return what stands in the fences of the page of names."""
    return (DOCS / "reference/api.md").read_text().split("```")[1::2]


def _import_or_skip(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ImportError:  # of an optional package
        return None
