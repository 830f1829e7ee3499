"""The lines that the page on adopting gives, each with its real package, and without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from helpers import adopting
from helpers.project import ROOT, pyproject

LINES = adopting.lines()
# A package keeps the name, or only that somebody is there.
ALICE, BOB = {"alice", "marked"}, {"bob", "marked"}


@cache
def _reports(*lines: str) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/helpers/adopted_packages.py"), json.dumps(lines)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reports: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return reports


def _report_of(package: str, *lines: str) -> dict[str, Any]:
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    return _reports(*lines)[package]


@pytest.mark.parametrize("package", LINES)
def test_package_without_its_line_mistakes_one_request_for_another(package: str) -> None:
    told = _report_of(package)
    assert told["stranger"] in ALICE
    assert told["thread"] is None


@pytest.mark.parametrize("package", LINES)
def test_package_with_its_line_keeps_requests_apart_and_follows_them(package: str) -> None:
    told = _report_of(package, *LINES.values())
    assert told["stranger"] is None
    assert told["bob"] in BOB
    assert told["alice"] in ALICE
    assert told["thread"] == told["alice"]
    assert told["afterwards"] is None


def test_page_gives_a_line_for_each_of_many_packages() -> None:
    assert len(LINES) >= 11
    assert len({*LINES.values()}) == len(LINES)


def test_packages_of_the_page_are_installed_where_servers_are_tested() -> None:
    group = [each for each in pyproject()["dependency-groups"]["servers"] if isinstance(each, str)]
    assert set(LINES) <= {re.split(r"[^\w-]", each)[0] for each in group}


def test_lines_in_the_block_of_the_page_are_those_of_its_table() -> None:
    block = re.search(r"```python\n(.*?)```", adopting.PAGE.read_text(), re.DOTALL)
    assert block
    scope: dict[str, Any] = {}
    exec(block[1], scope)
    assert set(scope["CTXKIT"]["ADOPT"]) <= set(LINES.values())
