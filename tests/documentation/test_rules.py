"""Every rule has tests, and every mark names a rule; what those tests do: ``tox run -e rules``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from helpers.project import ROOT
from helpers.rules import VARIABLE, Rule, problems, read_outcomes, read_rules, result_of

if TYPE_CHECKING:
    from pathlib import Path


def test_rules_have_tests_or_say_why_they_have_none() -> None:
    assert problems(read_rules()) == []


def test_table_of_rules_is_fresh() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/rules"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule("F-1", "It is.", "kept", "G"), "F-1 has no test"),
        (Rule("F-1", "It is.", "keep", "G", tests=["t"]), "F-1 is keep, which is no status"),
        (Rule("F-1", "It is.", "kept", "G", "Why not.", tests=["t"]), "and gives a reason"),
        (Rule("F-1", "It is.", "changed", "G", tests=["t"]), "and gives no reason"),
        (Rule("F-1", "It is.", "dropped", "G", "No.", tests=["t"]), "is dropped, and has tests"),
    ],
)
def test_rule_that_does_not_hold_together_is_named(rule: Rule, said: str) -> None:
    [problem] = problems({rule.id: rule})
    assert said in problem


def test_result_is_that_of_the_worst_test_in_the_best_of_runs(tmp_path: Path) -> None:
    runs = [
        {"a": ["passed", "skipped"], "b": ["skipped"], "c": ["passed"], "d": ["skipped"]},
        {"b": ["passed", "passed"], "c": ["passed", "failed"]},
    ]
    for number, outcomes in enumerate(runs):
        (tmp_path / f"{number}.json").write_text(json.dumps(outcomes))
    outcomes = read_outcomes(tmp_path)
    rule = Rule("F-1", "It is.", "kept", "G")
    for tests, result in (
        ("a", "passed"),
        ("ab", "passed"),
        ("abd", "skipped"),
        ("abde", "not run"),
    ):
        rule.tests = [*tests]
        assert result_of(rule, outcomes) == result
    rule.tests = ["e", "c"]
    assert result_of(rule, outcomes) == "failed"


def test_run_writes_down_how_tests_about_rules_end(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = rule(id)\n")
    (tmp_path / "test_them.py").write_text(_TESTS)
    environ = {**os.environ, VARIABLE: str(tmp_path / "results")}
    environ["PYTHONPATH"] = f"{ROOT / 'tests'}{os.pathsep}{environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, env=environ, check=False, capture_output=True)
    assert read_outcomes(tmp_path / "results") == {
        "test_them.py::test_good": "passed",
        "test_them.py::test_bad": "failed",
        "test_them.py::test_known_to_be_bad": "failed",
        "test_them.py::test_known_to_be_bad_and_good": "failed",
        "test_them.py::test_left_out": "skipped",
        "test_them.py::test_without_a_scene": "failed",
        "test_them.py::test_bad_afterwards": "failed",
    }


_TESTS = """
import pytest

pytestmark = pytest.mark.rule("F-1")

@pytest.fixture
def scene():
    assert False

@pytest.fixture
def litter():
    yield
    assert False

@pytest.mark.parametrize("number", [1, 2])
def test_good(number): pass

@pytest.mark.parametrize("number", [1, 2])
def test_bad(number): assert number == 1

@pytest.mark.xfail
def test_known_to_be_bad(): assert False

@pytest.mark.xfail
def test_known_to_be_bad_and_good(): pass

@pytest.mark.skip
def test_left_out(): pass

def test_without_a_scene(scene): pass

def test_bad_afterwards(litter): pass
"""
