from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.flushing.spooling import _files
from ctxkit.flushing.spooling._files import MOST_ATTEMPTS, Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path), max_bytes=100_000, max_age=60.0)


def contents(spool: Spool, destination: str = "here") -> list[bytes]:
    """Claim all that may be claimed, let it go again, and return it."""
    found = []
    for name, data in spool.claim(spool.waiting(destination)):
        found.append(data)
        spool.let_go(name)
    return found


def test_file_is_for_its_destination_alone_and_the_oldest_comes_first(spool: Spool) -> None:
    for data in (b"1", b"2"):
        spool.keep("here", data)
        time.sleep(0.002)  # names tell milliseconds
    spool.keep("there", b"3")
    assert contents(spool) == [b"1", b"2"]
    assert contents(spool, "there") == [b"3"]
    assert spool.kept == 3


def test_file_that_this_process_holds_is_not_waiting_until_it_is_let_go(
    spool: Spool, tmp_path: Path
) -> None:
    name = spool.keep("here", b"1", held=True)
    assert name is not None
    assert spool.waiting("here") == []
    # As of a process that had our number in a life before.
    assert contents(Spool(str(tmp_path), max_bytes=100_000, max_age=60.0)) == [b"1"]


def test_file_that_is_let_go_is_waiting(spool: Spool) -> None:
    name = spool.keep("here", b"1", held=True)
    assert name is not None
    spool.let_go(name, new=True)
    assert contents(spool) == [b"1"]
    assert spool.kept == 1


@pytest.mark.skipif(os.name != "posix", reason="asks for processes as POSIX does")
@pytest.mark.parametrize("fate", ["alive", "dead", "old", "elsewhere"])
def test_file_of_another_process_is_waiting_when_that_is_gone(
    fate: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.getppid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: other)
        if fate == "old":
            patch.setattr(_files, "time", lambda: time.time() - 301)
        if fate == "elsewhere":
            patch.setattr(_files, "_machine", lambda: "ffffffff")
        spool.keep("here", b"1", held=True)
    spool._held.clear()

    def kill(process: int, signal: int) -> None:
        assert (process, signal) == (other, 0)
        if fate != "alive":
            raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    assert contents(spool) == ([b"1"] if fate in ("dead", "old") else [])


def test_file_that_is_tried_in_vain_stands_behind_and_goes_in_the_end(spool: Spool) -> None:
    spool.keep("here", b"poison")
    time.sleep(0.002)
    spool.keep("here", b"good")
    for attempt in range(MOST_ATTEMPTS):
        assert contents(spool) == ([b"poison", b"good"] if attempt == 0 else [b"good", b"poison"])
        [poison] = [n for n, data in _claimed(spool) if data == b"poison"]
        spool.let_go(poison, tried=True)
    assert contents(spool) == [b"good"]
    assert spool.dropped == 1


def _claimed(spool: Spool) -> Iterator[tuple[str, bytes]]:
    for name, data in spool.claim(spool.waiting("here")):
        yield name, data
        if data != b"poison":
            spool.let_go(name)


def test_file_that_would_take_too_much_room_is_not_kept(spool: Spool) -> None:
    spool.keep("here", b"small")
    assert spool.keep("here", b"x" * 25_001) is None
    assert contents(spool) == [b"small"]


def test_files_that_are_none_of_ours_are_left_alone(spool: Spool) -> None:
    spool.keep("here", b"1")
    for name in ("here", "here-1-2-x", "here-1-2-3-4", "README"):
        (spool.folder.path / name).write_text("not ours")
    assert contents(spool) == [b"1"]
    assert len(list(spool.folder.path.iterdir())) == 5


def test_file_that_is_damaged_is_not_claimed_and_goes(spool: Spool) -> None:
    name = spool.keep("here", b"1")
    assert name is not None
    (spool.folder.path / name).write_text("cut")
    assert contents(spool) == []
    assert spool.folder.entries() == []


def test_file_is_held_before_others_can_see_it_and_until_they_cannot(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def watched(name: str) -> None:
        method = getattr(spool.folder, name)

        def watching(*args: Any) -> Any:
            seen.append(spool.waiting("here"))
            result = method(*args)
            seen.append(spool.waiting("here"))
            return result

        monkeypatch.setattr(type(spool.folder), name, staticmethod(watching))

    for each in ("write", "remove"):
        watched(each)
    name = spool.keep("here", b"1", held=True)
    assert name is not None
    spool.forget(name)
    assert seen == [[], [], [], []]
    monkeypatch.undo()

    spool.keep("here", b"2")
    monkeypatch.undo()
    watched("rename")
    [(name, _)] = spool.claim(spool.waiting("here"))
    assert seen[-1] == []
    spool.done(name)


def test_claim_that_the_clock_dates_far_ahead_is_over(spool: Spool) -> None:
    name = spool.keep("here", b"1")
    assert name is not None
    spool.folder.rename(name, f"{name}@1.elsewhere.{time.time() + 3600:.0f}")
    assert contents(spool) == [b"1"]


def test_child_holds_nothing_of_its_parents(spool: Spool) -> None:
    spool.keep("here", b"1", held=True)
    spool.begin_anew()
    assert contents(spool) == [b"1"]


def test_file_that_had_to_make_room_is_not_let_go(spool: Spool) -> None:
    name = spool.keep("here", b"1", held=True)
    assert name is not None
    spool.folder.remove(name)
    assert not spool.let_go(name, new=True)
    assert spool.kept == 0
