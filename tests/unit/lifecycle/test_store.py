from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from ctxkit.lifecycle import _store
from ctxkit.lifecycle._store import Folder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="about modes and links")
HEAD = 40  # bytes


def folder_in(parent: Path, **limits: Any) -> Folder:
    limits = {"max_bytes": 100_000, "max_files": 100, "max_age": 60.0, **limits}
    return Folder(str(parent), "spool", **limits)


def names(folder: Folder) -> list[str]:
    return [entry.name for entry in folder.entries()]


def test_file_reads_as_it_was_written(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)

    assert folder.write("a", b"one")
    assert folder.write("a", b"two")

    assert folder.read("a") == b"two"
    assert names(folder) == ["a"]
    assert folder.read("b") is None
    assert folder.troubles == 0


def test_folder_and_files_are_for_this_user_alone(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    before = os.umask(0)
    try:
        folder.write("a", b"one")
    finally:
        os.umask(before)

    assert stat.S_IMODE(folder.base.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("part", ["base", "path"])
@pytest.mark.parametrize("fault", ["link", "mode", "file", "owner"])
def test_folder_that_others_may_have_made_is_refused(
    part: str,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"mine")
    place: Path = getattr(folder, part)
    if fault == "link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    elif fault == "mode":
        place.chmod(0o750)
    elif fault == "file":
        place.rename(tmp_path / "elsewhere")
        place.write_text("in the way")
    else:
        monkeypatch.setattr(_store, "_owner", lambda: os.geteuid() + 1)

    assert not folder.write("b", b"secret")
    assert not folder.write("c", b"secret")
    assert folder.read("a") is None
    assert folder.entries() == []

    assert not list(tmp_path.rglob("b"))
    assert folder.troubles >= 3
    written = [r for r in caplog.records if "cannot write" in r.getMessage()]
    assert len(written) == 1, "told once, not each time"


def test_folder_below_one_in_which_anybody_may_rename_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert not folder_in(tmp_path).write("a", b"secret")
    tmp_path.chmod(0o1777)
    assert folder_in(tmp_path).write("a", b"secret")


def test_file_that_is_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"mine")
    victim = tmp_path / "victim"
    victim.write_bytes((folder.path / "a").read_bytes())
    (folder.path / "b").symlink_to(victim)

    assert folder.read("b") is None
    assert folder.write("b", b"new")
    assert folder.read("b") == b"new"
    assert victim.read_bytes().endswith(b"mine")


@pytest.mark.parametrize("kept", [0, 10, HEAD, HEAD + 50])
def test_file_that_is_cut_short_is_not_read_and_goes(kept: int, tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"x" * 100)
    path = folder.path / "a"
    path.write_bytes(path.read_bytes()[:kept])

    assert folder.read("a") is None
    assert not path.exists()


@pytest.mark.parametrize("at", [0, 8, 20, 30, HEAD + 5])
def test_file_with_a_wrong_bit_is_not_read(at: int, tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"x" * 100, expires=time.time() + 1000)
    path = folder.path / "a"
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)

    assert folder.read("a") is None


def test_file_out_of_time_is_not_read(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"old", expires=time.time() - 0.001)
    folder.write("b", b"new", expires=time.time() + 60)
    folder.write("c", b"aged")
    os.utime(folder.path / "c", (0, time.time() - 61))

    assert folder.read("a") is None
    assert folder.read("b") == b"new"
    assert names(folder) == ["b"]


def test_folder_stays_within_its_bytes_and_the_oldest_goes(tmp_path: Path) -> None:
    folder = folder_in(tmp_path, max_bytes=10 * (100 + HEAD))
    for number in range(25):
        assert folder.write(f"{number:02}", b"x" * 100)
        os.utime(folder.path / f"{number:02}", (0, time.time() - 30 + number))
        folder._reckoned = -1e9  # as other processes write too

    assert names(folder) == [f"{number:02}" for number in range(15, 25)]
    assert not folder.write("huge", b"x" * 10_000)
    assert len(names(folder)) == 10, "what can never fit pushes nothing out"


def test_folder_stays_within_its_number_of_files(tmp_path: Path) -> None:
    folder = folder_in(tmp_path, max_files=5)
    for number in range(30):
        folder.write(str(number), b"")
    assert len(names(folder)) == 5


def test_full_disk_is_counted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"before")
    full = OSError(28, "No space left on device")

    class FullDisk:
        def __init__(self, descriptor: int, mode: str) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def write(self, data: bytes) -> int:
            os.write(self.descriptor, data[:3])
            raise full

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", FullDisk)
        assert not folder.write("a", b"after")
        assert not folder.write("a", b"after")

    assert folder.troubles == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert os.listdir(folder.path) == ["a"]  # noqa: PTH208 - hidden ones too
    assert folder.read("a") == b"before"


CRASH = """
import os, sys
from ctxkit.lifecycle import _store
folder = _store.Folder(sys.argv[1], "spool", max_bytes=100000, max_files=10, max_age=60.0)
folder.write("a", b"whole")
class Crash:
    def __init__(self, descriptor, mode): self.descriptor = descriptor
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def write(self, data):
        os.write(self.descriptor, data[:10])
        os.kill(os.getpid(), 9)
os.fdopen = Crash
folder.write("a", b"never")
"""


def test_crash_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False, timeout=30)
    assert run.returncode == -9
    folder = folder_in(tmp_path)

    assert folder.read("a") == b"whole"
    assert names(folder) == ["a"]
    [left] = [path for path in folder.path.iterdir() if path.name != "a"]
    os.utime(left, (0, time.time() - 61))
    folder.entries()
    assert not left.exists(), "and what was begun goes after a while"


RACE = """
import sys
from ctxkit.lifecycle._store import Folder
folder = Folder(sys.argv[1], "spool", max_bytes=1000000, max_files=1000, max_age=60.0)
print("ready", flush=True)
sys.stdin.readline()
won = [name for name in map(str, range(200)) if folder.rename(name, f"{name}.{sys.argv[2]}")]
print(*won)
"""


def test_several_processes_that_claim_a_file_are_told_apart(tmp_path: Path) -> None:
    folder = folder_in(tmp_path, max_bytes=1_000_000, max_files=1000)
    for number in range(200):
        folder.write(str(number), b"x")
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for run in runs:
        assert run.stdout
        assert run.stdout.readline() == "ready\n"
    won: list[str] = []
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        won += run.communicate(timeout=30)[0].split()
    assert sorted(won, key=int) == list(map(str, range(200)))


def test_machine_without_a_temporary_folder_is_told_by_its_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert _store.scratch_directory() == "/"


def test_file_that_another_process_is_writing_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_in(tmp_path)
    folder.write("a", b"one")
    monkeypatch.setattr(os, "urandom", bytes)  # as in another container
    others = folder.path / f".{bytes(8).hex()}.new"
    others.write_bytes(b"half of it")

    assert not folder.write("b", b"two")
    monkeypatch.undo()
    assert folder.write("b", b"two")

    assert others.read_bytes() == b"half of it"
    assert names(folder) == ["a", "b"]


def test_folder_that_is_full_is_not_listed_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_in(tmp_path, max_files=64, spare=1 / 8)
    for number in range(64):
        folder.write(f"{number:03}", b"one")
    listings: list[int] = []
    entries = Folder.entries

    def counted(folder: Folder) -> list[_store.Entry]:
        listings.append(1)
        return entries(folder)

    monkeypatch.setattr(Folder, "entries", counted)
    for number in range(64, 128):
        assert folder.write(f"{number:03}", b"one")
    assert len(listings) <= 64 / 8 + 1
    monkeypatch.undo()
    assert 64 - 8 <= len(names(folder)) <= 64
    assert names(folder)[-1] == "127"
