from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit import ConfigurationError, ScratchCache

if TYPE_CHECKING:
    from pathlib import Path


def json_cache(directory: Path, **options: Any) -> ScratchCache[Any]:
    return ScratchCache("rates", dumps=json.dumps, loads=json.loads, directory=directory, **options)


def test_value_is_there_for_the_next_process(tmp_path: Path) -> None:
    program = (
        "import json, sys, ctxkit\n"
        "cache = ctxkit.ScratchCache('rates', dumps=json.dumps, loads=json.loads,"
        " directory=sys.argv[1])\n"
        "assert cache.set('EUR', {'USD': 1.08})"
    )
    path = os.pathsep.join(map(str, sys.path))
    environ = {**os.environ, "PYTHONPATH": path}
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, timeout=30, env=environ
    )
    assert json_cache(tmp_path).get("EUR") == {"USD": 1.08}


def test_value_is_bytes_where_nothing_else_is_said(tmp_path: Path) -> None:
    cache = ScratchCache("pages", directory=tmp_path)
    assert cache.get("a") is None
    assert cache.get("a", b"nothing") == b"nothing"
    assert cache.set("a", b"\x00page")
    assert cache.get("a") == b"\x00page"
    assert cache.set("a", b"")
    assert cache.get("a") == b""
    assert cache.delete("a")
    assert not cache.delete("a")


def test_value_of_text_needs_no_more_than_two_methods_of_str(tmp_path: Path) -> None:
    cache = ScratchCache("texts", dumps=str.encode, loads=bytes.decode, directory=tmp_path)
    cache.set("a", "größer")
    assert cache.get("a") == "größer"


def test_none_is_a_value_like_any_other(tmp_path: Path) -> None:
    cache = json_cache(tmp_path)
    cache.set("a", None)
    assert cache.get("a", "nothing") is None
    assert cache.get_or_create("a", lambda: 1 / 0) is None


def test_value_counts_for_its_time(tmp_path: Path) -> None:
    cache = json_cache(tmp_path, ttl=0.05)
    cache.set("short", 1)
    cache.set("long", 2, ttl=60)
    time.sleep(0.06)
    assert cache.get("short") is None
    assert cache.get("long") == 2


def test_caches_of_different_names_are_apart(tmp_path: Path) -> None:
    one, two = (ScratchCache(name, directory=tmp_path) for name in ("one", "two"))
    one.set("a", b"1")
    assert two.get("a") is None
    two.clear()
    assert one.get("a") == b"1"
    one.clear()
    assert one.get("a") is None


def test_cache_stays_within_its_bytes(tmp_path: Path) -> None:
    cache = ScratchCache("pages", max_bytes=10_000, directory=tmp_path)
    for number in range(50):
        cache.set(str(number), b"x" * 1000)
    assert cache.get("49") == b"x" * 1000
    assert cache.get("0") is None
    assert not cache.set("huge", b"x" * 10_001)
    assert cache.get("49") == b"x" * 1000


def test_key_of_any_text_is_a_key(tmp_path: Path) -> None:
    cache = ScratchCache("pages", directory=tmp_path)
    keys = ["", "../../etc/passwd", "a/b", "\x00", "x" * 5000, "ü", "\ud800"]
    for key in keys:
        assert cache.set(key, key.encode("utf-8", "surrogatepass"))
    for key in keys:
        assert cache.get(key) == key.encode("utf-8", "surrogatepass")


def test_value_that_is_damaged_or_of_an_earlier_release_is_made_anew(tmp_path: Path) -> None:
    cache = json_cache(tmp_path)
    ScratchCache("rates", directory=tmp_path).set("old", b"not JSON")
    assert cache.get("old") is None
    assert cache.get_or_create("old", lambda: "new") == "new"
    assert cache.get("old") == "new"
    [file] = cache._folder.path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.get("old", "damaged") == "damaged"


def test_value_is_created_once_for_threads_that_ask_together(tmp_path: Path) -> None:
    cache = json_cache(tmp_path)
    began, go = threading.Event(), threading.Event()
    made: list[int] = []

    def factory() -> int:
        made.append(1)
        began.set()
        assert go.wait(20)
        return len(made)

    found: list[int] = []

    def ask() -> None:
        found.append(cache.get_or_create("a", factory))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert began.wait(20)
    assert cache.get_or_create("b", lambda: 7) == 7, "other keys do not wait"
    go.set()
    for thread in threads:
        thread.join(20)
    assert found == [1] * 5
    assert made == [1]
    assert cache._turns == {}


def test_factory_that_raises_is_asked_again(tmp_path: Path) -> None:
    cache = json_cache(tmp_path)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_create("a", lambda: 1 / 0)
    assert cache.get_or_create("a", lambda: 2) == 2
    assert cache._turns == {}


def test_factory_may_ask_the_cache_itself(tmp_path: Path) -> None:
    cache = json_cache(tmp_path)
    made = cache.get_or_create("a", lambda: cache.get_or_create("b", lambda: 1) + 1)
    assert made == 2
    assert cache.get_or_create("c", lambda: cache.get_or_create("c", lambda: 3)) == 3


def test_cache_that_cannot_write_creates_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = json_cache(tmp_path / "not there")
    assert [cache.get_or_create("a", lambda: 1) for _ in range(3)] == [1, 1, 1]
    assert not cache.set("a", 1)
    assert len(caplog.records) == 1
    assert "ctxkit.scratch.trouble" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_does_not_wait_for_a_thread_of_its_parent(tmp_path: Path) -> None:
    program = """
import os, sys, threading, ctxkit
cache = ctxkit.ScratchCache("pages", directory=sys.argv[1])
began, go = threading.Event(), threading.Event()
def factory():
    began.set()
    go.wait(20)
    return b"parent"
threading.Thread(target=cache.get_or_create, args=("a", factory)).start()
began.wait(20)
child = os.fork()
if child == 0:
    os._exit(cache.get_or_create("a", lambda: b"child") == b"child")
_, status = os.waitpid(child, 0)
go.set()
os._exit(7 if os.waitstatus_to_exitcode(status) == 1 else 1)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        check=False,
        timeout=15,
        env=environ,
    )
    assert run.returncode == 7


@pytest.mark.parametrize("name", ["", "a/b", "..", "ü", "a b"])
def test_name_that_is_no_name_of_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="must be letters, digits"):
        ScratchCache(name)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_time_that_is_none_is_refused(ttl: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="above zero"):
        ScratchCache("pages", ttl=ttl)
    with pytest.raises(ConfigurationError, match="above zero"):
        ScratchCache("pages", directory=tmp_path).set("a", b"", ttl=ttl)


def test_value_that_is_not_bytes_is_refused_with_advice(tmp_path: Path) -> None:
    cache: Any = ScratchCache("pages", directory=tmp_path)
    for value in ("text", {"a": 1}, None):
        with pytest.raises(ConfigurationError, match="dumps= and loads="):
            cache.set("a", value)
    with pytest.raises(ConfigurationError, match="belong together"):
        ScratchCache("pages", dumps=json.dumps)  # type: ignore[call-overload]
    odd: Any = ScratchCache("pages", dumps=dict, loads=dict, directory=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="has a dumps that returned a dict"):
        odd.set("a", {})
