from __future__ import annotations

import subprocess
import sys
import time

import pytest
from helpers.demo import counting_server, eventually

from ctxkit.exceptions import HostError
from ctxkit.testing import FreezingServer
from ctxkit.testing._processes import state

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@linux
def test_server_is_stopped_with_all_its_children_when_the_response_is_complete() -> None:
    with FreezingServer(counting_server()) as server:
        assert not server.frozen
        exchange = server.request("GET", "/")
        child = int(exchange.body.split()[1])
        assert server.frozen
        assert eventually(lambda: state(server.pid) == state(child) == "T")
    assert eventually(lambda: state(child) in ("", "Z"))


def test_server_is_continued_for_the_next_request_and_did_not_run_in_between() -> None:
    with FreezingServer(counting_server()) as server:
        before = server.request("GET", "/")
        time.sleep(0.5)
        after = server.request("GET", "/")
    ticks = int(after.body.split()[0]) - int(before.body.split()[0])
    assert ticks < 250  # of about 500 that it would have made
    assert before.times.thawed is None
    assert after.times.thawed is not None


def test_server_that_is_not_to_freeze_keeps_running() -> None:
    with FreezingServer(counting_server(), freeze=False) as server:
        first = int(server.request("GET", "/").body.split()[0])
        assert not server.frozen
        assert eventually(lambda: int(server.request("GET", "/").body.split()[0]) > first + 20)


def test_times_are_in_the_order_in_which_things_happen() -> None:
    with FreezingServer(counting_server()) as server:
        server.request("GET", "/")
        times = server.request("GET", "/").times
    assert times.thawed is not None
    assert times.stopped is not None
    assert times.thawed <= times.sent <= times.first_byte <= times.complete <= times.stopped
    assert times.latency == times.complete - times.sent


def test_server_that_ends_at_start_is_an_error_that_shows_what_it_printed() -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such settings')"]
    with pytest.raises(HostError, match=r"(?s)exit code 1.*no such settings") as caught:
        FreezingServer(argv).__enter__()
    assert "import sys" in caught.value.command


def test_server_that_never_accepts_is_an_error_and_is_killed() -> None:
    server = FreezingServer(
        [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"],
        start_timeout=1.0,
    )
    with pytest.raises(HostError, match="did not accept"):
        server.__enter__()
    assert "up" in server.output()


def test_command_that_does_not_exist_is_a_file_not_found_error() -> None:
    with pytest.raises(FileNotFoundError):
        FreezingServer(["/no/such/server"]).__enter__()


@pytest.mark.parametrize(("path", "problem"), [("/exit", "closed"), ("/half", "closed")])
def test_response_that_breaks_off_is_an_error(path: str, problem: str) -> None:
    with FreezingServer(counting_server()) as server, pytest.raises(HostError, match=problem):
        server.request("GET", path)


def test_request_to_a_server_that_has_ended_is_an_error_with_its_exit_code() -> None:
    with FreezingServer(counting_server()) as server:
        with pytest.raises(HostError):
            server.request("GET", "/exit")
        problems: list[str] = []

        def asked_again() -> bool:
            with pytest.raises(HostError) as caught:
                server.request("GET", "/")
            problems.append(caught.value.problem)
            return "exit code 3" in problems[-1]

        assert eventually(asked_again), problems
        assert "going away" in server.output()


def test_response_that_takes_too_long_is_a_timeout_and_the_server_is_frozen() -> None:
    with FreezingServer(counting_server()) as server:
        with pytest.raises(TimeoutError, match="/slow"):
            server.request("GET", "/slow", timeout=0.2)
        assert server.frozen


def test_request_before_the_with_block_is_an_error() -> None:
    with pytest.raises(HostError, match="with-block"):
        FreezingServer(counting_server()).request("GET", "/")


def test_environment_is_inherited_changed_and_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("GONE", "gone")
    program = (
        "import os, sys; e = os.environ; sys.exit(str([e['KEPT'], e.get('GONE'), e['NEW'],"
        " e['PORT'] == sys.argv[1]]))"
    )
    argv = [sys.executable, "-c", program, "{port}"]
    with pytest.raises(HostError) as caught:
        FreezingServer(argv, env={"NEW": "new", "GONE": None}).__enter__()
    assert "['kept', None, 'new', True]" in caught.value.output


@linux
def test_server_is_killed_when_the_interpreter_ends_without_leaving_the_block() -> None:
    program = (
        "import sys\n"
        "from ctxkit.testing import FreezingServer\n"
        f"server = FreezingServer({counting_server()!r}).__enter__()\n"
        "print(server.pid, server.request('GET', '/').body.split()[1].decode())\n"
        "raise KeyboardInterrupt\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    assert "KeyboardInterrupt" in done.stderr
    assert eventually(lambda: all(state(pid) in ("", "Z") for pid in pids))
