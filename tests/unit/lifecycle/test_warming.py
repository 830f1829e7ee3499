from __future__ import annotations

import functools
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

import ctxkit
from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import run_after_restore, run_before_snapshot, run_shutdown, warming
from ctxkit.lifecycle._occasions import SHUTDOWN, SNAPSHOT, THAW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.lifecycle import Warm


@pytest.fixture(autouse=True)
def own_hooks(no_hooks: None) -> Iterator[None]:
    """Register what a first import registers, and close what a test leaves open."""
    THAW.add(warming._doubt_all)
    SNAPSHOT.add(warming.close_warm)
    SHUTDOWN.add(warming._close_at_the_end)
    yield
    warming.close_warm()


class Client:
    """A client that knows what has been done to it."""

    def __init__(self) -> None:
        self.closed = False
        self.good = True

    def ping(self) -> bool:
        return self.good

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made() -> list[Client]:
    """Every client that was made."""
    return []


@pytest.fixture
def client(made: list[Client]) -> Warm[Client]:
    @ctxkit.warm(check=Client.ping, close=Client.close)
    def client() -> Client:
        made.append(Client())
        return made[-1]

    return client


def test_warm_resource_is_made_at_its_first_use_and_kept(
    client: Warm[Client], made: list[Client]
) -> None:
    assert not made
    assert repr(client).startswith("<cold ")

    assert client() is client() is made[0]

    assert len(made) == 1
    assert repr(client).startswith("<warm ")


def test_warm_resource_has_the_name_of_its_function(client: Warm[Client]) -> None:
    assert client.__name__ == "client"  # type: ignore[attr-defined]


def test_warm_resource_that_many_threads_want_at_once_is_made_once() -> None:
    made: list[object] = []
    barrier = threading.Barrier(8)

    @ctxkit.warm
    def slow() -> object:
        threading.Event().wait(0.05)
        made.append(object())
        return made[-1]

    got: list[object] = []

    def use() -> None:
        barrier.wait(10)
        got.append(slow())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert got == made * 8


def test_warm_resource_that_cannot_be_made_is_tried_again() -> None:
    answers: list[Any] = [OSError("refused"), "connected"]

    @ctxkit.warm
    def connection() -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return str(answer)

    with pytest.raises(OSError, match="refused"):
        connection()
    assert connection() == "connected"


def test_warm_resource_that_needs_itself_says_so() -> None:
    @ctxkit.warm
    def hen() -> object:
        return hen()

    with pytest.raises(ConfigurationError, match="asks for itself while it is being created"):
        hen()


def test_warm_resources_that_need_each_other_say_so_to_two_threads() -> None:
    begun = threading.Event(), threading.Event()
    errors: list[Exception] = []

    @ctxkit.warm
    def first() -> object:
        begun[0].set()
        begun[1].wait(10)
        return second()

    @ctxkit.warm
    def second() -> object:
        begun[1].set()
        begun[0].wait(10)
        return first()

    def ask(resource: Warm[object]) -> None:
        try:
            resource()
        except ConfigurationError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ["asks for itself" in str(error) for error in errors] == [True, True]


def test_warm_resource_that_somebody_is_making_does_not_keep_the_process_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warming, "PATIENCE", 0.01)
    begun, over = threading.Event(), threading.Event()
    closed: list[str] = []
    slow: list[bool] = []

    @ctxkit.warm(close=closed.append)
    def quick() -> str:
        return "quick"

    @ctxkit.warm(check=lambda _: slow and (begun.set() or over.wait(10)), close=closed.append)
    def checked() -> str:
        return "checked"

    quick()
    checked()
    slow.append(True)
    checked.doubt(60)
    thread = threading.Thread(target=checked)
    thread.start()
    try:
        assert begun.wait(10)
        run_shutdown()
        assert closed == ["quick"]
    finally:
        over.set()
        thread.join(10)


def test_warm_generator_is_closed_after_its_yield_at_shutdown() -> None:
    events: list[str] = []

    @ctxkit.warm
    def resource() -> Iterator[str]:
        events.append("open")
        yield "resource"
        events.append("closed")

    assert resource() == "resource"
    assert resource() == "resource"
    assert events == ["open"]

    run_shutdown()
    run_shutdown()

    assert events == ["open", "closed"]


def test_warm_resources_are_closed_last_made_first() -> None:
    events: list[str] = []

    @ctxkit.warm(close=lambda _: events.append("pool"))
    def pool() -> object:
        return object()

    @ctxkit.warm(close=lambda _: events.append("client"))
    def client() -> object:
        return pool()

    client()
    run_shutdown()

    assert events == ["client", "pool"]


def test_warm_resource_after_its_close_is_made_anew(
    client: Warm[Client], made: list[Client]
) -> None:
    client()
    client.close()
    client.close()

    assert made[0].closed
    assert client() is made[1]


def test_warm_resource_whose_closing_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    @ctxkit.warm(close=lambda _: events.append("other"))
    def other() -> object:
        return object()

    @ctxkit.warm
    def resource() -> Iterator[int]:
        yield 1
        raise OSError("gone already")

    other(), resource()
    run_shutdown()

    assert events == ["other"]
    assert "ctxkit.warm.failed" in caplog.text
    assert "gone already" in caplog.text


@pytest.mark.parametrize("verdict", [False, OSError("gone")])
def test_warm_resource_that_fails_its_check_after_a_thaw_is_made_anew(
    made: list[Client], verdict: object
) -> None:
    def check(client: Client) -> object:
        if client is made[0]:
            if isinstance(verdict, OSError):
                raise verdict
            return verdict
        return None

    @ctxkit.warm(check=check, close=Client.close)
    def client() -> Client:
        made.append(Client())
        return made[-1]

    client()
    THAW.run(60.0)

    assert client() is made[1]
    assert made[0].closed
    THAW.run(60.0)
    assert client() is made[1]


def test_warm_resource_is_checked_once_and_only_after_a_long_enough_freeze() -> None:
    checks: list[object] = []

    @ctxkit.warm(check=checks.append, after=30)
    def client() -> str:
        return "client"

    THAW.run(60.0)
    client()
    THAW.run(29.0)
    client()
    assert checks == []

    THAW.run(30.0)
    client()
    client()
    assert checks == ["client"]


def test_warm_resource_that_nobody_can_check_is_kept(made: list[Client]) -> None:
    client = ctxkit.warm(Client)
    first = client()

    THAW.run(3600.0)

    assert client() is first


def test_warm_resource_is_dropped_before_a_snapshot(
    client: Warm[Client], made: list[Client]
) -> None:
    client()

    run_before_snapshot()

    assert made[0].closed
    assert client() is made[1]


def test_warm_resource_in_a_forked_child_is_another_and_the_parents_stays_open(
    client: Warm[Client], made: list[Client]
) -> None:
    mine = client()

    def use() -> object:
        theirs = client()
        run_shutdown()
        return (theirs is not mine, len(made), mine.closed, theirs.closed)

    assert in_child(use) == [True, 2, False, True]
    assert client() is mine


def test_warm_resource_that_was_in_the_making_at_a_fork_can_be_made_in_the_child() -> None:
    making, go_on = threading.Event(), threading.Event()

    @ctxkit.warm
    def slow() -> str:
        making.set()
        assert go_on.wait(10)
        return "made"

    thread = threading.Thread(target=slow)
    thread.start()
    assert making.wait(10)

    def use() -> object:
        go_on.set()
        return (slow(),)

    try:
        assert in_child(use) == ["made"]
    finally:
        go_on.set()
        thread.join()


def test_warm_resource_after_a_fork_without_hooks_is_another(
    client: Warm[Client], made: list[Client]
) -> None:
    """What uWSGI does, which forks in C."""
    mine = client()
    held = client._held
    assert held is not None
    held.pid = -1

    assert client() is made[1]
    assert not mine.closed


def test_warm_generator_of_the_parent_is_not_finished_when_a_child_ends() -> None:
    program = """
import os, sys, ctxkit

class Connection:
    def __del__(self):
        print("goodbye", flush=True)

@ctxkit.warm
def connection():
    try:
        yield Connection()
    finally:
        print("closed", os.getpid() == parent, flush=True)

parent = os.getpid()
connection()
if os.fork():
    os.wait()
    print("parent ends", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=True, text=True
    )

    assert done.stdout.splitlines() == ["parent ends", "closed True", "goodbye"]
    assert done.stderr == ""


def test_warm_resource_belongs_to_no_request() -> None:
    @ctxkit.warm
    def seen() -> Iterator[object]:
        yield ctxkit.get("tenant", None)

    with ctxkit.bind(tenant="acme"):
        assert seen() is None


def test_warm_resource_that_is_eager_is_made_when_the_process_begins() -> None:
    def serve() -> object:
        made: list[int] = []
        ctxkit.warm(eager=True)(lambda: made.append(1))
        before = len(made)
        ctxkit.environment().begun({}, "never")
        return (before, len(made))

    assert in_child(serve) == [0, 1]


def test_warm_takes_whatever_can_be_called_without_arguments() -> None:
    assert ctxkit.warm(lambda url="localhost": url)() == "localhost"
    assert ctxkit.warm(functools.partial(int, "7"))() == 7
    assert ctxkit.warm(Client().ping)() is True
    assert isinstance(ctxkit.warm(Client)(), Client)


def test_warm_resource_that_is_eager_is_made_in_each_clone_of_a_snapshot() -> None:
    made: list[int] = []
    client = ctxkit.warm(eager=True)(lambda: made.append(1))
    client()
    run_before_snapshot()
    assert len(made) == 1

    run_after_restore()

    assert len(made) == 2


def empty() -> Iterator[int]:
    yield from ()


def double() -> Iterator[int]:
    yield 1
    yield 2


def test_warm_generator_without_a_yield_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"warm\(empty\) has yielded nothing"):
        ctxkit.warm(empty)()


def test_warm_generator_with_two_yields_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    resource = ctxkit.warm(double)
    assert resource() == 1

    resource.close()

    assert "has yielded a second time" in caplog.text


async def later() -> int:
    return 1


@pytest.mark.parametrize(
    ("factory", "options", "problem"),
    [
        (7, {}, "which cannot be called"),
        (lambda url: url, {}, "which needs arguments"),
        (lambda *, url: url, {}, "which needs arguments"),
        (double, {"close": print}, "this one yields it"),
        (later, {"eager": True}, "before there is an event loop"),
        (double, {"after": -1}, "zero or more"),
    ],
)
def test_warm_refuses_what_cannot_be_used(
    factory: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        ctxkit.warm(**options)(factory)
