"""Ending by SIGTERM: always in a process of its own."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from helpers.uncovered import UNCOVERED

from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import drain_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINNING = """
import os, signal, sys, threading, time
from ctxkit.lifecycle import on_shutdown, drain_on_sigterm
def say(word):
    os.write(1, f"{word} ".encode())
def end():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
on_shutdown(lambda: say("drained"))
"""


def ended(program: str) -> tuple[list[str], int]:
    """Run a program; return what it said, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", BEGINNING + program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in UNCOVERED},
    )
    assert not done.stderr
    return done.stdout.split(), done.returncode


@pytest.fixture
def former() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_program_that_asks_for_it_drains_and_ends_by_the_signal() -> None:
    assert ended("end(); say('still here')") == ([], -signal.SIGTERM)
    assert ended("drain_on_sigterm(); end(); say('still here')") == (["drained"], -signal.SIGTERM)


def test_handler_that_was_there_is_called_first_and_decides() -> None:
    program = """
signal.signal(signal.SIGTERM, lambda number, frame: say(f"server-{number}"))
drain_on_sigterm()
end()
say("goes-on")
os._exit(7)
"""
    assert ended(program) == (["server-15", "drained", "goes-on"], 7)


def test_handler_that_exits_is_drained_all_the_same() -> None:
    program = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
drain_on_sigterm()
end()
"""
    said, code = ended(program)
    assert said[0] == "drained"
    assert code == 5


def test_signal_that_is_ignored_stays_ignored() -> None:
    program = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
drain_on_sigterm()
end()
say("goes-on")
os._exit(0)
"""
    assert ended(program) == (["drained", "goes-on"], 0)


def test_main_thread_that_holds_a_lock_which_the_end_wants_is_not_waited_for_for_ever() -> None:
    program = """
lock = threading.Lock()
on_shutdown(lambda: say("locked" if not lock.acquire(timeout=20) else "free"))
drain_on_sigterm(0.1)
with lock:
    end()
"""
    assert ended(program) == ([], -signal.SIGTERM)


def test_main_thread_that_makes_what_the_end_closes_keeps_nobody_from_draining() -> None:
    program = """
import ctxkit
from ctxkit.lifecycle import warming
from ctxkit.lifecycle._occasions import SHUTDOWN
warming.PATIENCE = 0.01
@ctxkit.warm
def one():
    return 1
one()
SHUTDOWN.hooks = SHUTDOWN.hooks[::-1]
drain_on_sigterm(20)
one._turn.take()
with ctxkit.environment()._sentinel._lock:
    end()
"""
    assert ended(program) == (["drained"], -signal.SIGTERM)


def test_forked_child_drains_by_itself() -> None:
    program = """
drain_on_sigterm()
pid = os.fork()
if not pid:
    end()
    os._exit(0)
say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0)
"""
    assert ended(program) == (["drained", "-15"], 0)


def test_child_of_a_fork_without_hooks_drains_by_itself() -> None:
    program = """
import ctypes
drain_on_sigterm()
pid = ctypes.PyDLL(None).fork()
if not pid:
    end()
    os._exit(0)
say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0)
"""
    assert ended(program) == (["drained", "-15"], 0)


def test_removal_puts_the_former_handler_back_unless_somebody_came_later(former: None) -> None:
    def server(number: int, frame: object) -> None: ...

    signal.signal(signal.SIGTERM, server)
    remove = drain_on_sigterm()
    assert drain_on_sigterm() == remove  # once is enough
    remove()
    assert signal.getsignal(signal.SIGTERM) is server
    remove = drain_on_sigterm()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    remove()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_removal_ends_the_thread_here_and_in_children() -> None:
    program = """
drain_on_sigterm()()
while threading.active_count() > 1:
    time.sleep(0.001)
pid = os.fork()
if not pid:
    os._exit(threading.active_count())
say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0)
"""
    assert ended(program) == (["1"], 0)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "3", None])
def test_timeout_that_is_no_time_is_refused(timeout: float, former: None) -> None:
    with pytest.raises(ConfigurationError, match="above zero"):
        drain_on_sigterm(timeout)


def test_other_threads_and_other_handlers_are_told_what_to_do(
    former: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ConfigurationError] = []

    def install() -> None:
        try:
            drain_on_sigterm()
        except ConfigurationError as error:
            told.append(error)

    thread = threading.Thread(target=install)
    thread.start()
    thread.join(10)
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    install()
    monkeypatch.undo()
    assert ["main thread" in str(error) for error in told] == [True, False]
    assert "die-on-term" in str(told[1])
    assert str(pickle.loads(pickle.dumps(told[0]))) == str(told[0])
