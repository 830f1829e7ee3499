# ruff: noqa: N802 - unittest names its methods so
"""Run the tests of one module of CPython's own, with ``ctxkit.install()`` or without.

    python running.py REPORT {with,without} MODULE [--only ID ...]

A program of its own: what a test hangs in, crashes or leaves behind is one process's affair.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outcomes(unittest.TestResult):
    """Keep how each test ended, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def addSuccess(self, test: Any) -> None:
        self.ended.setdefault(test.id(), "passed")

    def addSkip(self, test: Any, reason: str) -> None:
        self.ended.setdefault(_id(test), "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self.ended.setdefault(test.id(), "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._fail(test, "succeeded unexpectedly")

    def addFailure(self, test: Any, err: Any) -> None:
        text: Any = self._exc_info_to_string  # type: ignore[attr-defined]
        self._fail(test, text(err, test))

    addError = addFailure  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addFailure(test, err)

    def _fail(self, test: Any, problem: str) -> None:
        self.ended[_id(test)] = "failed"
        self.problems[_id(test)] = problem


def _id(test: Any) -> str:
    return str(getattr(test, "test_case", test).id())


def _cases(suite: Any) -> Iterator[Any]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _cases(each)
        else:
            yield each


def _borrow(folder: str) -> None:
    """Take tests from ``folder`` that this interpreter came without."""
    import test  # noqa: PLC0415 - CPython's
    from test import support  # noqa: PLC0415

    test.__path__.append(folder)
    # What the lender's tests ask about the build, and this one's support does not know yet.
    support.Py_GIL_DISABLED = False
    support.check_sanitizer = lambda **_: False
    support.skip_if_sanitizer = support.requires_gil_enabled = lambda *_, **__: lambda test: test


def main() -> None:
    """Run what the command line says and write the outcomes as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("report")
    parser.add_argument("install", choices=["with", "without"])
    parser.add_argument("module")
    parser.add_argument("--classes", default="")
    parser.add_argument("--leave-out")
    parser.add_argument("--borrow")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    faulthandler.enable()
    if arguments.install == "with":
        import ctxkit  # noqa: PLC0415 - the plain run does without

        ctxkit.install()
    from test import support  # noqa: PLC0415 - CPython's

    support.use_resources = ()  # neither the network nor long computations
    if arguments.borrow:
        _borrow(arguments.borrow)
    outcomes = Outcomes()
    loaded = unittest.defaultTestLoader.loadTestsFromName(arguments.module)
    chosen = [
        case
        for case in _cases(loaded)
        if arguments.classes in type(case).__name__
        and case.id().rpartition(".")[2] != arguments.leave_out
        and (arguments.only is None or case.id() in arguments.only)
    ]
    ids = [case.id() for case in chosen]
    unittest.TestSuite(chosen).run(outcomes)
    report = {"chosen": ids, "ended": outcomes.ended, "problems": outcomes.problems}
    Path(arguments.report).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
