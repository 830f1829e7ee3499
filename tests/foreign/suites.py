"""The tests of a package of somebody else's, fetched and run by a pytest of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from helpers.foreign import environment, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent


class Outcome(NamedTuple):
    """The tests that passed, the ones that failed, and what was printed."""

    passed: set[str]
    failed: set[str]
    printed: str


def fetched(distribution: str, folder: Path, *, needs: Sequence[str]) -> Path:
    """Return the source distribution of the version of a package that is installed.

    Args:
        distribution: Its name.
        folder: Where to put it.
        needs: The modules that its tests cannot do without.
    """
    for needed in (*needs, "pip", "pytest_asyncio"):
        if find_spec(needed) is None:
            missing(f"{needed} is not installed")
    wanted = f"{distribution}=={version(distribution)}"
    options = ["--quiet", "--no-deps", "--no-binary", distribution, "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"the tests of {wanted} could not be fetched: {done.stderr}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    [source] = [path for path in folder.iterdir() if path.is_dir()]
    return source


def copied(source: Path, folder: Path, *leave_out: str) -> Path:
    """Return a new folder with its tests alone, so that the installed package is what they test."""
    folder.mkdir()
    shutil.copytree(source / "tests", folder / "tests", ignore=shutil.ignore_patterns(*leave_out))
    return folder


def run(suite: Path, *arguments: str) -> Outcome:
    """Run pytest in ``suite``, which finds plugins beside this module."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml", *arguments],
        cwd=suite,
        env={**environment(), "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    report = suite / "report.xml"
    assert report.exists(), done.stdout + done.stderr
    ended = {
        f"{case.get('classname')}.{case.get('name')}": {child.tag for child in case}
        for case in ET.parse(report).getroot().iter("testcase")
    }
    failed = {test for test, marks in ended.items() if marks & {"failure", "error"}}
    passed = {test for test, marks in ended.items() if not marks}
    return Outcome(passed, failed, done.stdout[-5000:])


def check(suite: Path, tests: str, plugin: str, *, least: int) -> None:
    """Fail where tests fail with ``plugin`` and without it do not.

    Args:
        suite: Where they are.
        tests: Which.
        plugin: The name of a module beside this one.
        least: How many have to pass, or something else is wrong.
    """
    first = run(suite, "-p", plugin, tests)
    assert len(first.passed) > least, first.printed
    if first.failed:
        # Under load a test may fail for once, so: twice with it, and not without.
        again = run(suite, "-p", plugin, tests)
        assert first.failed & again.failed - run(suite, tests).failed == set(), again.printed
