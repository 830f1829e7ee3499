"""The rules of ``tests/rules/rules.toml``, the tests that are about them, and how those ended.

Tests are found by their marks, without importing them. How they ended is written by each run of
pytest into the folder that ``CTXKIT_RULE_RESULTS`` names, and put together from all of them.
"""

from __future__ import annotations

import ast
import json
import os
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from helpers.project import ROOT, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pytest

FOLDER = ROOT / "tests/rules"
VARIABLE = "CTXKIT_RULE_RESULTS"
#: From what a test is, to what it would be at worst.
OUTCOMES = ("passed", "skipped", "not run", "failed")
_TEST = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Rule:
    """One rule, and the tests about it."""

    id: str
    statement: str
    status: str
    group: str
    reason: str = ""
    tests: list[str] = field(default_factory=list)


def read_rules() -> dict[str, Rule]:
    """Return every rule by its id, with its tests."""
    table = tomllib.loads((FOLDER / "rules.toml").read_text())
    rules = {
        rule["id"]: Rule(**rule, group=group["title"])
        for group in table["groups"]
        for rule in group["rules"]
    }
    assert len(rules) == sum(len(group["rules"]) for group in table["groups"]), "an id twice"
    for name, ids in marked_tests():
        for each in ids:
            assert each in rules, f"{name} is about {each}, which is no rule"
            rules[each].tests.append(name)
    return rules


def problems(rules: Mapping[str, Rule]) -> list[str]:
    """Return what is wrong with the rules themselves."""
    return [f"{rule.id} {problem}" for rule in rules.values() if (problem := _problem(rule))]


def _problem(rule: Rule) -> str | None:
    if rule.status not in {"kept", "changed", "dropped"}:
        return f"is {rule.status}, which is no status"
    if bool(rule.reason) is (rule.status == "kept"):
        return f"is {rule.status}, and gives {'a' if rule.reason else 'no'} reason"
    if rule.status == "dropped":
        return "is dropped, and has tests" if rule.tests else None
    return None if rule.tests else "has no test"


def marked_tests() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the tests that are about rules, with the ids of those."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.rule(" in path.read_text():
            module = tree(path)
            yield from _marked_in(module.body, path.relative_to(ROOT).as_posix(), _listed(module))


def _marked_in(
    body: Iterable[ast.stmt], place: str, outer: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            inner = (*outer, *_ids(node.decorator_list), *_listed(node))
            yield from _marked_in(node.body, f"{place}::{node.name}", inner)
        elif isinstance(node, _TEST) and node.name.startswith("test_"):
            ids = tuple(dict.fromkeys((*outer, *_ids(node.decorator_list))))
            if ids:
                yield f"{place}::{node.name}", ids


def _listed(node: ast.Module | ast.ClassDef) -> tuple[str, ...]:
    """Return the ids of a ``pytestmark``."""
    return tuple(
        each
        for statement in node.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
        for each in _ids([statement.value])
    )


def _ids(nodes: Iterable[ast.expr]) -> tuple[str, ...]:
    return tuple(
        ast.literal_eval(argument)
        for node in nodes
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.rule"
        for argument in call.args
    )


class Recorder:
    """A plugin of pytest: write down how the tests about rules ended.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._about: set[str] = set()
        self._outcomes: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._about.update(item.nodeid for item in items if item.get_closest_marker("rule"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._about and (report.when == "call" or not report.passed):
            expected = hasattr(report, "wasxfail")  # what is known to fail does not hold
            outcome = "failed" if expected else report.outcome
            self._outcomes[report.nodeid.partition("[")[0]].append(outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._outcomes:
            # A run takes the place of its like, not of another part of its environment.
            arguments = repr(session.config.invocation_params.args).encode()
            name = f"{os.environ.get('TOX_ENV_NAME', 'run')}-{sha256(arguments).hexdigest()[:8]}"
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{name}.json").write_text(json.dumps(self._outcomes))


def read_outcomes(folder: Path) -> dict[str, str]:
    """Return how each test ended, over all runs whose records are in ``folder``."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in folder.glob("*.json"):
        record: dict[str, Any] = json.loads(path.read_text())
        for name, outcomes in record.items():
            found[name].update(outcomes)
    # Skipped here and passed there is passed: not every test is for every Python.
    order = ("failed", "passed", "skipped")
    return {name: next(each for each in order if each in seen) for name, seen in found.items()}


def result_of(rule: Rule, outcomes: Mapping[str, str]) -> str:
    """Return how the tests of a rule ended, all in all: as the worst of them did."""
    ends = [outcomes.get(name, "not run") for name in rule.tests]
    return max(ends, key=OUTCOMES.index) if ends else "-"
