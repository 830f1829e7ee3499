"""A module can be read in one sitting, a function without scrolling."""

from __future__ import annotations

import ast

from helpers.project import module_name, sources, tree

MODULE = 450  # lines
FUNCTION = 50  # lines, its docstring not counted


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (body[0].end_lineno or 0) - body[0].lineno + 1
    return lines


def test_modules_are_short() -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{module_name(path)}.{node.name}": _length(node)
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION} == {}
