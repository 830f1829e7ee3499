"""asgiref's own tests pass with ``ctxkit.install()`` as they do without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from helpers.foreign import environment, missing

HERE = Path(__file__).parent


class Outcome(NamedTuple):
    """The tests that ran, the ones that failed, and what was printed."""

    ran: set[str]
    failed: set[str]
    printed: str


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with the tests of the version that is installed, from its source distribution."""
    for needed in ("asgiref", "pip", "pytest_asyncio"):
        if find_spec(needed) is None:
            missing(f"{needed} is not installed")
    name = f"asgiref-{version('asgiref')}"
    fetch = ["download", "--quiet", "--no-deps", "--no-binary", "asgiref", "--dest", str(tmp_path)]
    command = [sys.executable, "-m", "pip", *fetch, name.replace("-", "==")]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    if fetched.returncode:
        missing(f"the tests of {name} could not be fetched: {fetched.stderr}")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    # Without asgiref itself, so that the installed one is what is tested.
    folder = tmp_path / "suite"
    folder.mkdir()
    shutil.copytree(tmp_path / name / "tests", folder / "tests")
    shutil.copy(tmp_path / name / "setup.cfg", folder)
    return folder


def _run(suite: Path, *options: str) -> Outcome:
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml", *options, "tests"],
        cwd=suite,
        env={**environment(), "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    cases = ET.parse(suite / "report.xml").getroot().iter("testcase")
    ended = {
        f"{case.get('classname')}.{case.get('name')}": {child.tag for child in case}
        for case in cases
    }
    failed = {test for test, marks in ended.items() if marks & {"failure", "error"}}
    return Outcome(set(ended), failed, done.stdout[-5000:])


@pytest.mark.timeout(600)
def test_tests_of_asgiref_pass_with_the_patches_as_without(suite: Path) -> None:
    first = _run(suite, "-p", "installed")
    assert len(first.ran) > 50, first.printed
    if not first.failed:
        return
    # Under load a test may fail for once, so: twice with them, and not without.
    again = _run(suite, "-p", "installed")
    assert first.failed & again.failed - _run(suite).failed == set(), again.printed
