"""The pytest fixtures: planted faults fail the test that made them, and no other."""

from __future__ import annotations

import importlib.util
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
import ctxkit.testing.plugin
from ctxkit.propagation._tracing import TRACING

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]

Outcome = dict[str, int]
HEAD = """
import asyncio, contextvars, threading
import pytest, ctxkit
KEPT = []
VARIABLE = contextvars.ContextVar("VARIABLE", default="none")
async def poll():
    await asyncio.sleep(3600)
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., tuple[Outcome, str]]:
    """Run a test module with the plugin; return the outcomes and the output."""
    pytester.makeconftest('pytest_plugins = ["ctxkit.testing.plugin"]')

    def run(tests: str, *args: str) -> tuple[Outcome, str]:
        pytester.makepyfile(HEAD + tests)
        arguments = ("--strict-markers", "-p", "no:asyncio", *args)
        # In a copy: what the tests leave behind is not ours.
        result = copy_context().run(pytester.runpytest_inprocess, *arguments)
        return counted(result), result.stdout.str()

    return run


def counted(result: pytest.RunResult) -> Outcome:
    outcomes = result.parseoutcomes()
    outcomes.pop("warnings", None)
    return outcomes


WATCHED = '\npytestmark = pytest.mark.usefixtures("context_leaks")\n'


def test_clean_tests_pass_and_nothing_is_watched_afterwards(run: Any) -> None:
    outcomes, _ = run(
        WATCHED
        + """
@pytest.fixture
def tenant():
    with ctxkit.bind(tenant="acme") as frame:
        yield frame

def test_bind():
    with ctxkit.bind(tenant="acme"):
        pass

def test_fixture(tenant):
    assert ctxkit.get("tenant") == "acme"

def test_error():
    with pytest.raises(ZeroDivisionError), ctxkit.bind(tenant="acme"):
        1 / 0

def test_variables():
    with ctxkit.bind(tenant="acme") as frame:
        snapshot, tasks = ctxkit.capture(), [frame]

def test_asyncio():
    async def main():
        with ctxkit.bind(tenant="acme"):
            async with asyncio.timeout(60):
                await asyncio.create_task(asyncio.sleep(0))
    asyncio.run(main())

def test_boundary():
    app = ctxkit.WSGIMiddleware(lambda environ, start: [b""])
    app({"REQUEST_METHOD": "GET"}, print)

@pytest.mark.parametrize("number", [1, 2])
class TestClass:
    def test_method(self, number):
        with ctxkit.bind(number=number):
            pass
"""
    )
    assert outcomes == {"passed": 8}
    assert not TRACING.on


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            "KEPT.append(ctxkit.capture())",
            "tenant by test_fault (*held by Snapshot, in the global*KEPT",
        ),
        (
            "KEPT.append(threading.Thread(target=contextvars.copy_context().run, args=(int,)))",
            "held by Thread 'Thread-*', which was not started",
        ),
        (
            "KEPT.append(asyncio.new_event_loop()); KEPT[0].call_later(3600, print)",
            "held by TimerHandle of builtins.print, due in 3",
        ),
    ],
)
def test_frame_that_is_held_fails_the_test_that_bound_it(run: Any, fault: str, told: str) -> None:
    outcomes, output = run(
        WATCHED
        + f"""
def test_fault():
    with ctxkit.bind(tenant="acme"):
        {fault}

def test_next():
    with ctxkit.bind(user=1):
        pass

def teardown_module():
    for each in KEPT:
        if hasattr(each, "close"):
            each.close()
"""
    )
    assert outcomes == {"failed": 1, "passed": 1}
    line = next(line for line in output.splitlines() if line.startswith("- "))
    for part in told.split("*"):
        assert part in line


def test_generator_that_is_suspended_in_its_bind_fails_the_test(run: Any) -> None:
    outcomes, output = run(
        WATCHED
        + """
def rows():
    with ctxkit.bind(row=1):
        yield

def test_fault():
    KEPT.append(rows())
    contextvars.copy_context().run(next, KEPT[0])
"""
    )
    assert outcomes == {"failed": 1}
    assert "row (set: row by rows (" in output
    assert "held by generator rows, suspended at " in output


def test_frame_that_is_still_current_fails_the_test(run: Any) -> None:
    outcomes, output = run(
        """
def test_fault(context_leaks):
    ctxkit.bind(tenant="acme").__enter__()

@pytest.fixture
def careless(context_leaks):
    yield
    ctxkit.bind(user="alice").__enter__()

def test_fixture(careless):
    pass
"""
    )
    assert outcomes == {"failed": 1, "passed": 1, "errors": 1}
    assert "tenant by test_fault (" in output
    assert "user by careless (" in output
    assert "held by the current context of Thread 'MainThread'" in output


def test_failing_test_fails_by_its_own_error_alone(run: Any) -> None:
    outcomes, output = run(
        WATCHED
        + """
def test_fault():
    ctxkit.bind(user="alice").__enter__()
    with ctxkit.bind(tenant="acme"):
        KEPT.append(ctxkit.capture())
        assert 0
"""
    )
    assert outcomes == {"failed": 1}
    assert "left behind" not in output


def test_fixture_gives_the_watch_to_the_test(run: Any) -> None:
    outcomes, _ = run(
        """
def test_watch(context_leaks):
    with ctxkit.bind(tenant="acme"):
        KEPT.append(ctxkit.capture())
    [leak] = context_leaks.leaks()
    assert leak.kind == "snapshot"
    KEPT.clear()
    del leak
"""
    )
    assert outcomes == {"passed": 1}


FAULTS = """
def test_fault():
    with ctxkit.bind(tenant="acme"):
        KEPT.append(ctxkit.capture())

@pytest.mark.allow_context_leaks
def test_allowed():
    with ctxkit.bind(tenant="acme"):
        KEPT.append(ctxkit.capture())
"""


def test_ini_option_watches_each_test_but_the_marked(run: Any, pytester: pytest.Pytester) -> None:
    assert run(FAULTS)[0] == {"passed": 2}
    pytester.makeini("[pytest]\ncontext_leaks = true")
    assert run(FAULTS)[0] == {"failed": 1, "passed": 1}


FRESH = """
pytestmark = pytest.mark.usefixtures("fresh_context")

@pytest.fixture
def colour():
    token = VARIABLE.set("red")
    yield
    VARIABLE.reset(token)

@pytest.mark.parametrize("_", [1, 2])
class TestBody:
    def test_sees_its_fixtures_and_leaves_nothing(self, colour, _):
        assert VARIABLE.get() == "red"
        VARIABLE.set("blue")
        ctxkit.bind(tenant="acme").__enter__()

    def test_begins_without(self, _):
        assert VARIABLE.get() == "none"
        assert ctxkit.get("tenant") is None
        VARIABLE.set("blue")
"""


def test_fresh_context_forgets_what_a_body_sets(run: Any) -> None:
    assert run(FRESH)[0] == {"passed": 4}
    assert run(FRESH.replace("fresh_context", "colour"))[0].get("failed", 0) > 0


ASYNC = """
{head}

@pytest.mark.usefixtures("context_leaks")
async def test_clean():
    with ctxkit.bind(tenant="acme"):
        await asyncio.create_task(asyncio.sleep(0))

@pytest.mark.usefixtures("context_leaks")
async def test_fault():
    with ctxkit.bind(tenant="acme"):
        asyncio.create_task(poll(), name="poll")
    await asyncio.sleep(0)

@pytest.mark.usefixtures("fresh_context")
@pytest.mark.parametrize("_", [1, 2])
async def test_fresh(_):
    assert VARIABLE.get() == "none"
    VARIABLE.set("blue")
    await asyncio.sleep(0)
    assert VARIABLE.get() == "blue"
"""


ANYIO = """
pytestmark = pytest.mark.anyio
@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"
"""
ONE_LOOP = """
@pytest.fixture(scope="module", autouse=True)
async def one_loop_and_one_context_for_all(anyio_backend):
    yield
"""


@pytest.mark.parametrize("head", [ANYIO, ANYIO + ONE_LOOP], ids=["a loop each", "one loop"])
def test_async_tests_of_anyio_are_watched_and_fresh(run: Any, head: str) -> None:
    pytest.importorskip("anyio")
    outcomes, output = run(ASYNC.format(head=head))
    assert outcomes == {"failed": 1, "passed": 3}
    assert "held by Task 'poll' of poll, made at " in output


def test_async_tests_of_pytest_asyncio_are_watched_and_fresh(
    run: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("pytest_asyncio") is None:
        pytest.skip("pytest-asyncio is not installed")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(HEAD + ASYNC.format(head=""))
    monkeypatch.setenv("PYTHONPATH", str(Path(ctxkit.__file__).parents[1]))
    result = pytester.runpytest_subprocess("-p", "asyncio")
    assert counted(result) == {"failed": 1, "passed": 3}
    result.stdout.fnmatch_lines(["*held by Task 'poll' of poll, made at *"])
