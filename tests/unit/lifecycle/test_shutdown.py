from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ctxkit.lifecycle import on_shutdown, run_shutdown
from ctxkit.lifecycle._occasions import SHUTDOWN

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def no_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SHUTDOWN, "hooks", ())


def noting(calls: list[str], name: str) -> Callable[[], None]:
    return lambda: calls.append(name)


def test_run_shutdown_calls_the_last_registered_first() -> None:
    calls: list[str] = []
    for name in "abc":
        on_shutdown(noting(calls, name))

    run_shutdown()

    assert calls == ["c", "b", "a"]


def test_on_shutdown_twice_registers_once() -> None:
    calls: list[str] = []
    callback = noting(calls, "once")
    on_shutdown(callback)
    on_shutdown(callback)

    run_shutdown()

    assert calls == ["once"]


def test_run_shutdown_again_calls_again() -> None:
    """Some servers run their lifespan for each invocation."""
    calls: list[str] = []
    on_shutdown(noting(calls, "drain"))

    run_shutdown()
    run_shutdown()

    assert calls == ["drain", "drain"]


def test_on_shutdown_returns_what_takes_the_callback_off() -> None:
    calls: list[str] = []
    hook = on_shutdown(noting(calls, "gone"))

    hook.remove()
    hook.remove()
    run_shutdown()

    assert calls == []


def test_run_shutdown_with_a_failing_callback_logs_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []

    def fail() -> None:
        raise ValueError("cannot end")

    on_shutdown(noting(calls, "first"))
    on_shutdown(fail)

    run_shutdown()

    assert calls == ["first"]
    assert "ctxkit.shutdown.failed" in caplog.text
    assert "cannot end" in caplog.text


def test_run_shutdown_passes_an_exit_on_when_all_have_run() -> None:
    calls: list[str] = []
    stop = SystemExit(3)

    def leave() -> None:
        raise stop

    on_shutdown(noting(calls, "first"))
    on_shutdown(leave)

    with pytest.raises(SystemExit) as raised:
        run_shutdown()

    assert raised.value is stop
    assert calls == ["first"]


def test_on_shutdown_runs_at_the_interpreters_exit() -> None:
    script = """
from ctxkit.lifecycle import on_shutdown
on_shutdown(lambda: print("drained", flush=True))
print("ending", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=30, check=True
    )

    assert done.stdout.split() == [b"ending", b"drained"]
