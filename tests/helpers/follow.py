"""Small parts for the tests of what follows where."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_plain_thread(f: Callable[..., Any], *args: Any) -> Any:
    """Return ``f(*args)``, called in a thread of the standard library with an empty context."""
    results: list[tuple[bool, Any]] = []

    def target() -> None:
        try:
            results.append((True, Context().run(f, *args)))
        except BaseException as error:
            results.append((False, error))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(30)
    (well, result), *_ = results
    if not well:
        raise result
    return result


def run_script(source: str, *args: str, options: tuple[str, ...] = ()) -> str:
    """Run ``source`` in an interpreter of its own and return what it prints.

    For what cannot be taken back in a process: patches of SDKs, imports, settings.
    """
    done = subprocess.run(
        [sys.executable, *options, "-c", source, *args],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
