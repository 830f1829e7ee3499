"""CPython's own tests of ``threading.local``, with ``Local`` in its place.

They are taken from the interpreter that runs. Debian's packages leave them out; the same
contract stands in ``test_local.py`` in our own words, for every interpreter.
"""

from __future__ import annotations

import doctest
import unittest
from typing import Any

import pytest

from ctxkit import Local

theirs: Any = pytest.importorskip(
    "test.test_threading_local", reason="this interpreter comes without CPython's own tests"
)


class ThreadBound(Local, scope="thread"): ...


class LocalTest(unittest.TestCase, theirs.BaseLocalTest):  # type: ignore[misc]  # found at run time
    _local = Local


class ThreadBoundTest(unittest.TestCase, theirs.BaseLocalTest):  # type: ignore[misc]
    _local = ThreadBound


def test_doctest_of_threading_local_holds_for_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import _threading_local  # noqa: PLC0415 - its docstring is a test of CPython's

    monkeypatch.setattr(_threading_local, "local", Local)
    suite = doctest.DocTestSuite("_threading_local")
    result = unittest.TestResult()
    suite.run(result)
    if result.testsRun == 0:
        pytest.skip("the docstring of this interpreter's has no examples")
    assert not [*result.failures, *result.errors]
