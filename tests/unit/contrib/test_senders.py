from __future__ import annotations

import os
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.contrib import _senders
from ctxkit.contrib._senders import Senders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Gate:
    """What is sent waits here; it knows who is inside, and who was together."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)
        self.sent: list[list[Any]] = []

    def __call__(self, loads: list[Any]) -> None:
        self.sent.append(loads)
        self.entered.release()
        assert self.opened.acquire(timeout=20)

    def await_entered(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=10)

    def open(self, count: int = 1) -> None:
        self.opened.release(count)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open(100)


def senders(work: Callable[[list[Any]], None], **options: Any) -> Senders[Any]:
    settings: dict[str, Any] = {"senders": 2, "room": 0, "fail": repr, "renew": list, **options}
    return Senders("test", work, **settings)


def test_loads_are_sent_by_as_many_threads_as_there_are_loads_up_to_the_most(gate: Gate) -> None:
    crew = senders(gate, senders=3)

    crew.put(1)
    gate.await_entered()
    assert crew._crew().alive == 1
    for load in (2, 3, 4, 5):
        crew.put(load)
    gate.await_entered(2)

    assert crew._crew().alive == 3
    assert crew.unfinished == 5
    assert not gate.entered.acquire(timeout=0.05)
    gate.open(5)
    assert crew.wait(crew.mark(), 10)
    assert crew.unfinished == 0
    crew.kill()


def test_threads_that_are_idle_are_used_again_before_more_are_started(gate: Gate) -> None:
    crew = senders(gate, senders=8)
    gate.open(10)
    for load in range(10):
        crew.put(load)
        assert crew.wait(crew.mark(), 10)
        deadline = time.monotonic() + 10
        while not crew._crew().idle:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    assert crew._crew().alive == 1
    crew.kill()


def test_wait_is_over_when_what_came_before_is_done_whatever_comes_later(gate: Gate) -> None:
    crew = senders(gate)
    crew.put("first")
    gate.await_entered()
    mark = crew.mark()
    crew.put("later")
    gate.await_entered()
    assert not crew.wait(mark, 0.01)

    waited = threading.Thread(target=lambda: crew.wait(mark, 20))
    waited.start()
    gate.open()
    waited.join(10)

    # Which of the two passed the gate is its own affair; then the other has to.
    if waited.is_alive():
        gate.open()
        waited.join(10)
    assert not waited.is_alive()
    crew.kill()


def test_wait_for_a_mark_does_not_wait_for_an_endless_stream_of_others() -> None:
    sent = threading.Event()
    crew = senders(lambda loads: time.sleep(0.001), senders=2)

    def keep_busy() -> None:
        while not sent.is_set():
            if crew.unfinished < 20:
                crew.put("other")

    others = threading.Thread(target=keep_busy)
    others.start()
    try:
        for _ in range(5):
            crew.put("mine")
            assert crew.wait(crew.mark(), 10)
    finally:
        sent.set()
        others.join()
        crew.kill()


def test_ordered_loads_are_sent_one_at_a_time_and_overtaken_by_others(gate: Gate) -> None:
    crew = senders(gate, senders=3)
    crew.put("session 1", ordered=True)
    crew.put("session 2", ordered=True)
    crew.put("event")
    gate.await_entered(2)

    assert not gate.entered.acquire(timeout=0.05)
    assert sorted(load for [load] in gate.sent) == ["event", "session 1"]
    gate.open(3)
    assert crew.wait(crew.mark(), 10)
    assert gate.sent[-1] == ["session 2"]
    crew.kill()


def test_full_queue_refuses_or_waits_for_room(gate: Gate) -> None:
    crew = senders(gate, senders=1, room=1)
    assert crew.put(1)
    gate.await_entered()
    assert crew.put(2)

    assert crew.full()
    assert not crew.put(3)
    assert not crew.put(3, timeout=0.01)
    opening = threading.Timer(0.02, gate.open)
    opening.start()
    assert crew.put(3, timeout=10)
    gate.open(2)
    assert crew.wait(crew.mark(), 10)
    assert gate.sent == [[1], [2], [3]]
    opening.join()
    crew.kill()


def test_loads_that_wait_are_sent_together_up_to_the_weight_that_is_allowed(gate: Gate) -> None:
    crew = senders(gate, senders=1, weight=len, most=4)
    crew.put("a")
    gate.await_entered()
    for load in ("bb", "c", "dd", "e"):
        crew.put(load)
    gate.open(9)

    assert crew.wait(crew.mark(), 10)
    assert gate.sent == [["a"], ["bb", "c"], ["dd", "e"]]
    crew.kill()


def test_loads_that_come_while_another_is_sent_are_gathered(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = senders(gate, senders=3, weight=len, most=9, linger=0.002)
    lingered: list[float] = []

    def linger(seconds: float) -> None:
        lingered.append(seconds)
        crew.put("c")
        crew.put("d")

    monkeypatch.setattr(_senders, "sleep", linger)
    crew.put("a")
    gate.await_entered()
    crew.put("b")
    gate.await_entered()

    assert gate.sent == [["a"], ["b", "c", "d"]]
    assert lingered == [0.002]
    gate.open(9)
    assert crew.wait(crew.mark(), 10)
    crew.kill()


def test_work_that_raises_is_told_and_ends_nothing() -> None:
    told: list[Exception] = []
    crew = senders(lambda loads: loads.index("no such load"), fail=told.append)
    for load in range(5):
        crew.put(load)

    assert crew.wait(crew.mark(), 10)
    assert len(told) == 5
    assert crew.is_alive
    crew.kill()


def test_work_that_ends_its_thread_leaves_the_rest_to_another(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    done: list[int] = []
    threads: list[threading.Thread] = []

    def work(loads: list[int]) -> None:
        threads.append(threading.current_thread())
        gate([])
        if not done:
            done.extend(loads)
            raise SystemExit
        done.extend(loads)

    crew = senders(work, senders=1)
    crew.put(1)
    gate.await_entered()
    crew.put(2)
    gate.open(2)

    assert crew.wait(crew.mark(), 10)
    assert done == [1, 2]
    threads[0].join(10)
    crew.kill()


def test_kill_lets_go_what_waits_and_ends_the_threads(gate: Gate) -> None:
    before = set(threading.enumerate())
    crew = senders(gate, senders=1)
    crew.put(1)
    crew.put(2)
    gate.await_entered()
    [thread] = set(threading.enumerate()) - before

    crew.kill()

    assert not crew.is_alive
    gate.open(2)
    thread.join(10)
    assert not thread.is_alive()
    assert gate.sent == [[1], [2]]
    gate.open()
    crew.put(3)
    assert crew.wait(crew.mark(), 10)
    crew.kill()


def test_threads_start_in_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that patch threads would carry along the context that they are started in."""
    request: ContextVar[str] = ContextVar("request", default="nobody's")
    seen: list[str] = []
    start = threading.Thread.start

    def carry(thread: threading.Thread) -> None:
        seen.append(request.get())
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", carry)
    crew = senders(lambda loads: seen.append(request.get()))
    token = request.set("mine")
    try:
        crew.put(1)
        assert crew.wait(crew.mark(), 10)
    finally:
        request.reset(token)
    assert seen == ["nobody's", "nobody's"]
    crew.kill()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.usefixtures("no_threads")
def test_wait_without_a_thread_says_so_at_once() -> None:
    crew = senders(list)

    assert crew.put(1)
    started = time.monotonic()

    assert not crew.wait(crew.mark(), 30)
    assert time.monotonic() - started < 10
    assert not crew.is_alive


@pytest.mark.usefixtures("no_threads")
def test_work_off_does_in_this_thread_what_waits() -> None:
    request: ContextVar[str] = ContextVar("request", default="nobody's")
    sent: list[Any] = []
    crew = senders(lambda loads: sent.append((loads, request.get(), request.set("lost"))[:2]))
    crew.put(1)
    crew.put(2)
    request.set("mine")

    crew.work_off()

    assert sent == [([1], "nobody's"), ([2], "nobody's")]
    assert request.get() == "mine"
    assert crew.wait(crew.mark(), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_has_nothing_of_its_parents(gate: Gate) -> None:
    """Nor does it hang on a lock that was held: no at-fork hook is needed."""
    renewed: list[int] = []
    crew = senders(gate, senders=1, renew=lambda: renewed.append(os.getpid()))
    crew.put("in flight")
    gate.await_entered()
    crew.put("queued")
    reading, writing = os.pipe()
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with crew.lock:
            holding.set()
            let_go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(10)
    child = _fork()
    if child == 0:
        gate.sent.clear()
        gate.opened = threading.Semaphore(9)
        crew.put("child's")
        through = crew.wait(crew.mark(), 10)
        os.write(writing, repr((through, gate.sent, renewed == [os.getpid()])).encode())
        os._exit(0)
    let_go.set()
    holder.join()
    os.waitpid(child, 0)

    assert os.read(reading, 100) == repr((True, [["child's"]], True)).encode()
    gate.open(2)
    assert crew.wait(crew.mark(), 10)
    assert gate.sent == [["in flight"], ["queued"]]
    assert renewed == []
    os.close(reading)
    os.close(writing)
    crew.kill()


def _fork() -> int:
    import warnings  # noqa: PLC0415 - of this function alone

    with warnings.catch_warnings():  # it is multi-threaded, which is the point
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
