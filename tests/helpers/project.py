"""What the tests of the project itself look at: its files, its modules, its tables."""

from __future__ import annotations

import ast
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ctxkit"
_GENERATED = {"__pycache__", "_build", "htmlcov", "build", "dist"}


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def sources() -> tuple[Path, ...]:
    """Return every module of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def texts() -> tuple[Path, ...]:
    """Return every file of the project that somebody wrote."""
    return tuple(_written(ROOT))


def _written(folder: Path) -> Iterator[Path]:
    for folder_name, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_ours(name))
        for name in sorted(files):
            path = Path(folder_name, name)
            if not path.name.startswith(".coverage") and path.suffix not in {".pyc", ".sqlite3"}:
                yield path


def _is_ours(folder: str) -> bool:
    if folder.startswith("."):
        return folder == ".ci"
    return folder not in _GENERATED and not folder.endswith(".egg-info")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports when it runs, and whether it does so at its top.

    Imports below ``if TYPE_CHECKING`` are no imports.
    """
    yield from _imports(tree(path), at_top=True)


def _imports(node: ast.AST, *, at_top: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, at_top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if not child.level and child.module:
                yield child.module, at_top
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for branch in child.orelse:
                yield from _imports(ast.Module([branch], []), at_top=at_top)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_top=at_top and not inside)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


@cache
def front_door() -> dict[str, tuple[str, ...]]:
    """Return the public names of ctxkit by their room."""
    for node in ast.walk(tree(PACKAGE / "__init__.py")):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open_lazily":
            rooms: dict[str, tuple[str, ...]] = ast.literal_eval(node.args[1])
            return rooms
    raise LookupError("open_lazily")
