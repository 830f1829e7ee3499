"""Processes of multiprocessing, which before Python 3.13 end without atexit."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import multiprocessing, os
import ctxkit.flushing
from ctxkit.lifecycle import on_shutdown

def work():
    on_shutdown(lambda: os.write(1, b"ended "))
    on_shutdown(lambda: os.write(1, b"first "))

process = multiprocessing.get_context({way!r}).Process(target=work)
if __name__ == "__main__":
    process.start()
    process.join()
    os.write(1, b"parent")
"""


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_process_of_multiprocessing_calls_what_waits_for_its_end(way: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(way=way))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr
    said = done.stdout.split()
    assert said[:2] == ["first", "ended"]
    assert said[-1] == "parent"
