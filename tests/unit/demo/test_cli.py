from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from helpers.demo import lane_report

import ctxkit
import ctxkit.demo
from ctxkit import cli
from ctxkit.demo.journey import Journey, Step, Where
from ctxkit.exceptions import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LANDED = [("otel.span", "a", 0.01)]
LOST = [("otel.span", "a", None)]


@pytest.fixture(autouse=True)
def _keep_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_help_says_in_one_sentence_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    _, purpose, _ = capsys.readouterr().out.split("\n\n", 2)
    assert " ".join(purpose.split()) == (ctxkit.__doc__ or "").splitlines()[0]
    assert "imported" not in purpose


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the servers: what is returned is what they report, to be changed by the test."""
    result: list[Any] = [
        lane_report("gunicorn", LOST, with_ctxkit=False),
        lane_report("gunicorn", LANDED, with_ctxkit=True),
    ]

    def rehearse(servers: Any, requests: int, say: Any) -> tuple[list[Any], Journey]:
        say(f"{','.join(servers)} {requests}")
        if isinstance(result[0], BaseException):
            raise result[0]
        sent = result[1].requests[0].sent
        step = Step("GET <shop>", "Main", Where.VIEW, None, (), 0.0, 0.1, None, None, ())
        return result, Journey(sent, (step,), 1, True, 0, 0, ())  # noqa: FBT003

    monkeypatch.setattr(ctxkit.demo, "rehearse", rehearse)
    monkeypatch.setattr(ctxkit.demo, "require_packages", lambda _: None)
    return result


def test_demo_prints_a_table_writes_the_page_and_succeeds(
    rehearsed: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["demo", "--lanes", "gunicorn", "--requests", "3", "--output", str(page)]) == 0
    printed = capsys.readouterr()
    assert "3 of 3 (100 %)" in printed.out
    assert "One request, one trace" in printed.out
    assert page.as_uri() in printed.out
    assert "gunicorn 3" in printed.err
    assert page.read_text().startswith("<!doctype html>")


def test_demo_that_does_not_prove_the_claim_fails(rehearsed: list[Any], tmp_path: Path) -> None:
    rehearsed[1] = lane_report("gunicorn", LOST, with_ctxkit=True)
    assert cli.main(["demo", "--output", str(tmp_path / "page.html")]) == 1


def test_demo_as_json_prints_nothing_else_on_standard_output(
    rehearsed: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["demo", "--json", "--output", str(tmp_path / "page.html")]) == 0
    assert json.loads(capsys.readouterr().out)["proven"] is True


def test_demo_whose_server_does_not_start_says_why(
    rehearsed: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsed[0] = HostError("gunicorn", "ended with exit code 3", "no module named shop")
    assert cli.main(["demo", "--output", str(tmp_path / "page.html")]) == 2
    assert "no module named shop" in capsys.readouterr().err


def test_demo_that_is_interrupted_ends_as_a_shell_expects(
    rehearsed: list[Any], tmp_path: Path
) -> None:
    rehearsed[0] = KeyboardInterrupt()
    assert cli.main(["demo", "--output", str(tmp_path / "page.html")]) == 130


def test_demo_with_an_unknown_lane_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--lanes", "apache"]) == 2
    assert "apache" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["demo", "--requests", "0"], ["demo", "--requests", "x"]]
)
def test_unusable_arguments_are_told_by_the_parser(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: ctxkit" in capsys.readouterr().err


def test_configuration_without_a_mistake_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ctxkit.toml"
    path.write_text('[functions."shop:charge"]\ntimeout = "2s"\n[functions."shop:*"]\nretry = 3\n')
    assert cli.main(["check-config", str(path)]) == 0
    told = capsys.readouterr().out
    assert told == "pools       -\nfunctions   shop:charge, shop:*\n"
    monkeypatch.setenv("CTXKIT_CONFIG", str(path))
    assert cli.main(["check-config"]) == 0
    assert capsys.readouterr().out == told


def test_mistakes_in_a_configuration_are_told_and_the_command_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ctxkit.toml"
    path.write_text("[functions.charge]\ntimeout = 2\n")
    assert cli.main(["check-config", str(path)]) == 1
    assert capsys.readouterr().out.startswith("ctxkit.toml has 2 mistakes. Mend each:\n- ctxkit")
    assert cli.main(["check-config", str(tmp_path / "absent.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().out
    monkeypatch.delenv("CTXKIT_CONFIG", raising=False)
    assert cli.main(["check-config"]) == 2
    assert "name a file, or set CTXKIT_CONFIG" in capsys.readouterr().err


def test_command_line_runs_as_a_module() -> None:
    argv = [sys.executable, "-m", "ctxkit.cli", "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == f"ctxkit {ctxkit.__version__}\n"


def test_termination_unwinds_the_command(rehearsed: list[Any], tmp_path: Path) -> None:
    class Terminated:
        def __getattr__(self, name: str) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError(name)

    rehearsed[0] = Terminated()
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "--output", str(tmp_path / "page.html")])
    assert caught.value.code == 128 + signal.SIGTERM
