"""Every example in the README, in the docs and in docstrings runs."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from importlib.metadata import entry_points
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from helpers.pages import CHECKS, blocks, has_check, name_of, pages, run_page
from helpers.project import PACKAGE, ROOT, module_name, pyproject, sources, tree

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("django")
pytest.importorskip("starlette")

PYTHON_PAGES = [page for page in pages() if any(b.language == "python" for b in blocks(page))]
ALL_BLOCKS = [block for page in pages() for block in blocks(page)]
SHELL = {"console", "sh"}
LANGUAGES = {"python", "text"} | SHELL


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    run = run_page(page, tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_claims_of_a_page_are_checked(page: Path) -> None:
    asserted = any("assert" in block.code for block in blocks(page))
    assert asserted or has_check(page)


def test_checks_belong_to_pages() -> None:
    assert {path.stem for path in CHECKS.iterdir()} <= {name_of(page) for page in PYTHON_PAGES}


def test_blocks_have_a_language_that_is_tested() -> None:
    untested = {
        f"{block.page.relative_to(ROOT)}:{block.line}: {block.language}"
        for block in ALL_BLOCKS
        if block.language not in LANGUAGES
    }
    fences = sum(page.read_text().count("\n```") for page in pages())
    directives = sum(page.read_text().count("\n```{") for page in pages())
    assert untested == set()
    assert fences == 2 * (len(ALL_BLOCKS) + directives), "a fence without a language, or not closed"


def _docstring_examples() -> Iterator[tuple[str, str]]:
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for number, code in enumerate(_literal_blocks(ast.get_docstring(node) or "")):
                    name = getattr(node, "name", "")
                    yield f"{module_name(path)}:{name}:{number}", code


def _literal_blocks(docstring: str) -> Iterator[str]:
    for match in re.finditer(r"::\n\n((?:(?:    .*)?\n)*(?:    .*))", docstring):
        yield textwrap.dedent(match[1])


DOCSTRING_EXAMPLES = dict(_docstring_examples())


@pytest.mark.parametrize("name", DOCSTRING_EXAMPLES)
def test_example_of_a_docstring_runs(name: str) -> None:
    code = DOCSTRING_EXAMPLES[name]
    if name.startswith("ctxkit.testing"):
        compile(code, name, "exec")  # needs a server; the tests of that room run the like
        return
    program = f"{_SCENERY}\n{code}"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, f"{program}\n{run.stderr}"


# What an example may take for granted.
_SCENERY = """
import ctxkit, types
scheduler = types.SimpleNamespace(call_at=lambda when, f: f())
noon, send_report = 12, lambda: None
legacy = types.SimpleNamespace(state=object())
rows, export = (1, 2), lambda row: None
"""


def _commands() -> Iterator[tuple[str, list[str]]]:
    for block in ALL_BLOCKS:
        if block.language in SHELL:
            for line in block.code.replace("\\\n", " ").splitlines():
                for command in line.split("&&"):
                    words = shlex.split(command, comments=True)
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words.pop(0)
                    if words:
                        yield f"{name_of(block.page)}:{block.line}", words


COMMANDS = list(_commands())


def _tox_environments() -> set[str]:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return {section.partition(":")[2] for section in tox.sections()} | {"py313-django61-asgi"}


@pytest.mark.parametrize(("place", "words"), COMMANDS)
def test_command_exists(place: str, words: list[str]) -> None:
    program = words[0].rpartition("/")[2]
    arguments = words[1:]
    if program in {"python", "python3"} and arguments[:1] == ["-m"]:
        program, arguments = arguments[1], arguments[2:]
    check = _CHECKED.get(program)
    assert check is not None, f"{place}: nobody knows how to check {words}"
    check(arguments)


def _check_pip(arguments: list[str]) -> None:
    extras = set(pyproject()["project"]["optional-dependencies"])
    for argument in arguments:
        match = re.fullmatch(r"(?:django-ctxkit|\.)\[(.+)\]", argument)
        assert match is None or set(match[1].split(",")) <= extras


def _check_ctxkit(arguments: list[str]) -> None:
    [script] = entry_points(group="console_scripts", name="ctxkit")
    assert script.value == "ctxkit.cli:main"
    run = subprocess.run(
        [sys.executable, "-m", "ctxkit.cli", *arguments, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert all(option in run.stdout for option in options)


def _check_tox(arguments: list[str]) -> None:
    assert arguments[0] in {"run", "run-parallel", "list"}
    for flag, value in pairwise(arguments):
        if flag == "-e":
            assert set(value.split(",")) <= _tox_environments()


def _check_path(arguments: list[str]) -> None:
    assert any((folder / arguments[0]).exists() for folder in (ROOT, ROOT / "django_app_example"))


def _check_nothing(arguments: list[str]) -> None:
    """A program of somebody else, with arguments of somebody else."""


_CHECKED = {
    "awslambdaric": _check_nothing,
    "bash": _check_path,
    "cd": _check_path,
    "ctxkit": _check_ctxkit,
    "curl": _check_nothing,
    "gunicorn": _check_nothing,
    "pip": _check_pip,
    "pytest": _check_nothing,
    "python": _check_path,
    "tox": _check_tox,
    "uvicorn": _check_nothing,
    "venv": _check_nothing,
}


def test_generated_tables_are_fresh() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_every_variable_of_ctxkit_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference/settings.md").read_text()
    used = {
        name
        for path in sources()
        for name in re.findall(r"\"(CTXKIT_[A-Z_]+)\"", path.read_text())
        if not path.is_relative_to(PACKAGE / "demo")
    }
    assert {name for name in used if f"`{name}`" not in reference} == set()


def test_every_public_name_has_a_row_in_the_glossary() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text()
    missing = {name for name in ctxkit.__all__ if not re.search(rf"`{name}\b", glossary)}
    assert missing == set()
