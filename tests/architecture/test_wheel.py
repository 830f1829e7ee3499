"""What is installed: the wheel, complete, and nothing of the checkout but the wheel."""

from __future__ import annotations

import os
from importlib.metadata import files, version
from pathlib import Path

import pytest
from helpers.project import ROOT, texts

import ctxkit

EXAMPLE = "ctxkit/demo/_example"
# Of the example, what a user of the demo has no use for.
_LEFT_OUT = ("tests/", ".gitignore", "README.md", "pytest.ini")

installed = [str(path) for path in files("django-ctxkit") or ()]
wheel = pytest.mark.skipif("ctxkit/__init__.py" not in installed, reason="an editable installation")


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="tox installs the wheel")
def test_package_under_test_is_the_wheel() -> None:
    assert Path(ctxkit.__file__).parent != ROOT / "ctxkit"
    assert "ctxkit/__init__.py" in installed


@wheel
def test_wheel_is_typed() -> None:
    assert "ctxkit/py.typed" in installed


@wheel
def test_wheel_holds_the_package_alone() -> None:
    tops = {path.partition("/")[0] for path in installed} - {".."}
    assert tops == {"ctxkit", f"django_ctxkit-{version('django-ctxkit')}.dist-info"}


@wheel
def test_wheel_holds_every_file_of_the_package() -> None:
    written = {
        path.relative_to(ROOT).as_posix()
        for path in texts()
        if path.is_relative_to(ROOT / "ctxkit")
    }
    assert written <= set(installed)


@wheel
def test_wheel_holds_the_example_without_its_tests_and_database() -> None:
    example = ROOT / "django_app_example"
    written = {
        path.relative_to(example).as_posix() for path in texts() if path.is_relative_to(example)
    }
    wanted = {name for name in written if not name.startswith(_LEFT_OUT)}
    held = {
        path.removeprefix(f"{EXAMPLE}/")
        for path in installed
        if path.startswith(EXAMPLE) and not path.endswith(".pyc")
    }
    assert held == wanted


def test_version_is_told_alike_everywhere() -> None:
    assert ctxkit.__version__ == version("django-ctxkit")
