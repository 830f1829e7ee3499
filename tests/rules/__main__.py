"""Write the table of rules, their tests and how those ended: ``python tests/rules``.

What ends how is only known by a run: ``--run`` makes one of those tests alone, ``--results``
takes in those of ``tox``, from ``.tox/outcomes``. Without either the table keeps what it says about
rules whose tests are the same, and says "not run" about others.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.project import ROOT
from helpers.rules import FOLDER, VARIABLE, Rule, problems, read_outcomes, read_rules, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = FOLDER / "README.md"
_HEAD = """# Rules

What functions do, rule by rule, and the tests that are about each. Generated from
[rules.toml](rules.toml), the marks of the tests and their last run, by `python tests/rules`.
CI fails where a rule has no test, or one that passed in none of its environments.
"""
_ROW = re.compile(r"^\| (F-\w+) \| .+ \| (.+) \| (.+) \|$", re.MULTILINE)
_TESTS = "<br>"


def table(rules: Iterable[Rule], results: dict[str, str]) -> str:
    """Return the page."""
    parts, group = [_HEAD], None
    for rule in rules:
        if rule.group != group:
            group = rule.group
            head = "| Rule | What it says | Tests | Result |\n| --- | --- | --- | --- |\n"
            parts.append(f"\n## {group}\n\n{head}")
        cells = (rule.id, rule.statement, _cell(rule), results[rule.id])
        parts.append(f"| {' | '.join(cells)} |\n")
    others = [rule for rule in rules if rule.status != "kept"]
    head = "| Rule | Was | Reason |\n| --- | --- | --- |\n"
    rows = (f"| {rule.id} | {rule.status} | {rule.reason} |\n" for rule in others)
    return "".join((*parts, f"\n## Changed and dropped\n\n{head}", *rows))


def _cell(rule: Rule) -> str:
    links = (f"[{name.rpartition('::')[2]}](../{_file(name)})" for name in rule.tests)
    return _TESTS.join(links) or "-"


def _file(name: str) -> str:
    return name.partition("::")[0].removeprefix("tests/")


def known_results(rules: Iterable[Rule]) -> dict[str, str]:
    """Return what the page says now, as far as it is about the same tests."""
    text = PAGE.read_text() if PAGE.exists() else ""
    said = {match[1]: (match[2], match[3]) for match in _ROW.finditer(text)}
    results = {}
    for rule in rules:
        tests, result = said.get(rule.id, ("", ""))
        results[rule.id] = result if rule.tests and tests == _cell(rule) else result_of(rule, {})
    return results


def run(rules: Iterable[Rule]) -> dict[str, str]:
    """Run the tests of ``rules``, and return how each ended."""
    # By file: a module that skips itself has no tests of these names.
    files = dict.fromkeys(name.partition("::")[0] for rule in rules for name in rule.tests)
    with tempfile.TemporaryDirectory() as folder:
        # Some of the properties run where they are told how much of it.
        environ = {"CTXKIT_PROPERTY_EXAMPLES": "100", **os.environ, VARIABLE: folder}
        command = [sys.executable, "-m", "pytest", "-q", "-m", "rule", *files]
        subprocess.run(command, cwd=ROOT, env=environ, check=False)
        return read_outcomes(Path(folder))


def main() -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python tests/rules", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="what runs have recorded")
    parser.add_argument("--run", nargs="*", metavar="RULE", help="run the tests of these, or all")
    options = parser.parse_args()
    rules = read_rules()
    found = problems(rules)
    results = known_results(rules.values())
    if options.run is not None:
        chosen = [rules[each] for each in options.run or rules]
        outcomes = run(chosen)
        results |= {rule.id: result_of(rule, outcomes) for rule in chosen}
    if options.results is not None:
        outcomes = read_outcomes(options.results)
        results = {rule.id: result_of(rule, outcomes) for rule in rules.values()}
        bad = {each: result for each, result in results.items() if _is_bad(result)}
        found += [f"{each}: {result}" for each, result in bad.items()]
    page = table(rules.values(), results)
    if not options.check:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        found.append("tests/rules/README.md is stale. Run: python tests/rules --run")
    sys.stderr.write("".join(f"{each}\n" for each in found))
    return 1 if found else 0


def _is_bad(result: str) -> bool:
    return result not in {"passed", "-"}


if __name__ == "__main__":
    sys.exit(main())
