"""CPython's own tests pass with ``ctxkit.install()`` as they do without it.

One process for each module, two at a time. What fails is run once more, with and without: a
test that fails only with it is our failure, one that fails without it is not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from helpers.foreign import environment, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNING = Path(__file__).with_name("running.py")
TIMEOUT = 150  # seconds, for one process


class Module(NamedTuple):
    """A module of CPython's tests, and what of it counts.

    Attributes:
        name: Its dotted name.
        classes: What is in the names of the classes that count.
        leave_out: A test that does not.
        since: The Python that it came with.
    """

    name: str
    classes: str = ""
    leave_out: str = ""
    since: tuple[int, int] = (3, 11)


# The slowest first. Left out of test_concurrent_futures: test_deadlock, and the classes for pools
# of processes other than in test_process_pool. They take minutes and pass by nothing of ours.
MODULES = (
    Module("test.test_threading"),
    Module("test.test_asyncio.test_tasks"),
    Module("test.test_logging"),
    Module("test.test_queue"),
    # With patches or without, test_terminate may wait for ten thousand sleeps of a thread.
    Module("test.test_multiprocessing_fork.test_threads", "TestPool", "test_terminate"),
    Module("test.test_concurrent_futures.test_as_completed", "Thread"),
    Module("test.test_concurrent_futures.test_future"),
    Module("test.test_concurrent_futures.test_init", "Thread"),
    Module("test.test_concurrent_futures.test_interpreter_pool", since=(3, 14)),
    Module("test.test_concurrent_futures.test_process_pool", "ForkProcess"),
    Module("test.test_concurrent_futures.test_shutdown", "Thread"),
    Module("test.test_concurrent_futures.test_thread_pool"),
    Module("test.test_concurrent_futures.test_wait", "Thread"),
    Module("test.test_asyncio.test_taskgroups"),
    Module("test.test_asyncio.test_futures"),
    Module("test.test_asyncio.test_runners"),
    Module("test.test_asyncio.test_threads"),
    Module("test.test_context"),
    Module("test.test_decimal", "Threading"),
    Module("test.test_thread"),
    Module("test.test_threading_local"),
)
#: Folders of tests that the installation of some releases forgets (3.11.7 and 3.12.1 for two).
FORGOTTEN = ("test_concurrent_futures", "test_multiprocessing_fork")


class Outcome(NamedTuple):
    """How a run ended: what each test did, what went wrong, what was printed."""

    chosen: list[str]
    ended: dict[str, str]
    problems: dict[str, str]
    printed: str


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _run(folder: Path, install: str, module: Module, *arguments: str) -> Outcome:
    folder.mkdir()
    report = folder / "report.json"
    command: list[object] = [sys.executable, RUNNING, report, install, module.name]
    command += ["--classes", module.classes, "--leave-out", module.leave_out]
    output = folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*map(str, command), *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    printed = output.read_text(errors="replace")[-5000:]
    if not report.exists():
        return Outcome([], {}, {module.name: f"ended early: {process.returncode}"}, printed)
    return Outcome(**json.loads(report.read_text()), printed=printed)


def _judge(folder: Path, module: Module, *borrowed: str) -> Outcome:
    """Run ``module`` with the patches and leave in ``problems`` what is due to them."""
    folder.mkdir()
    outcome = _run(folder / "with", "with", module, *borrowed)
    if not outcome.problems:
        return outcome
    if not outcome.chosen:  # it ended early, and may be the slowness of a loaded machine
        return _run(folder / "again", "with", module, *borrowed)
    # Under load a test may fail for once, so: twice with them, and not without.
    only = (*borrowed, "--only", *outcome.problems)
    again = _run(folder / "again", "with", module, *only)
    without = _run(folder / "without", "without", module, *only)
    ours = {test: text for test, text in again.problems.items() if test not in without.problems}
    return outcome._replace(problems=ours)


@pytest.fixture(scope="session")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder with the tests that were forgotten, from the next Python that has them."""
    if all(_has(f"test.{name}") for name in FORGOTTEN):
        return None
    folder = tmp_path_factory.mktemp("borrowed")
    for minor in range(sys.version_info.minor + 1, 20):
        python = shutil.which(f"python3.{minor}")
        program = "import os, test; print(os.path.dirname(test.__file__))"
        found = python and subprocess.run(
            [python, "-c", program], capture_output=True, text=True, check=False
        )
        home = Path(found.stdout.strip()) if found else Path()
        if found and all((home / name).is_dir() for name in FORGOTTEN):
            for name in FORGOTTEN:
                shutil.copytree(home / name, folder / name)
            return folder
    return None


@pytest.fixture(scope="session")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, lender: Path | None, request: pytest.FixtureRequest
) -> Iterator[dict[Module, Future[Outcome]]]:
    """What becomes of each module that is to be tested, running already."""
    wanted = {item.callspec.params["module"] for item in request.session.items if _of_module(item)}
    folder = tmp_path_factory.mktemp("cpython")
    with ThreadPoolExecutor(2) as pool:
        yield {
            module: pool.submit(_judge, folder / module.name, module, *_borrowed(module, lender))
            for module in MODULES
            if module in wanted and (_has(module.name) or _borrowed(module, lender))
        }
        pool.shutdown(cancel_futures=True)


def _of_module(item: Any) -> bool:
    return hasattr(item, "callspec") and "module" in item.callspec.params


def _borrowed(module: Module, lender: Path | None) -> tuple[str, ...]:
    if lender is None or _has(module.name) or module.name.split(".")[1] not in FORGOTTEN:
        return ()
    return ("--borrow", str(lender))


@pytest.mark.timeout(3 * TIMEOUT)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_tests_of_cpython_pass_with_the_patches_as_without(
    module: Module, outcomes: dict[Module, Future[Outcome]]
) -> None:
    if sys.version_info[:2] < module.since:
        pytest.skip("came with a later Python")
    if module not in outcomes:
        missing(f"this Python came without {module.name}")
    outcome = outcomes[module].result()
    assert outcome.problems == {}, outcome.printed
    assert set(outcome.ended) == set(outcome.chosen)
    assert "passed" in outcome.ended.values()
