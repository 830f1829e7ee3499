from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ctxkit.demo import lanes
from ctxkit.demo.lanes import (
    HOSTS,
    Lane,
    choose_servers,
    installed_servers,
    open_host,
    require_packages,
)
from ctxkit.demo.rehearsal import in_time
from ctxkit.demo.verdict import Sent
from ctxkit.exceptions import ConfigurationError, MissingDependencyError
from ctxkit.testing import FreezingServer, LambdaHost, Times


def test_choose_servers_returns_them_once_and_in_order() -> None:
    assert choose_servers([" uvicorn", "gunicorn", "uvicorn"]) == ("gunicorn", "uvicorn")


@pytest.mark.parametrize(
    ("names", "problem"), [(["apache", "uvicorn"], "apache"), ([""], "none|no")]
)
def test_choose_servers_refuses_what_it_does_not_know(names: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        choose_servers(names)


def test_require_packages_names_the_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_NEEDED", {"json": "json", "nothing.at.all": "nothing-at-all"})
    with pytest.raises(MissingDependencyError, match=r"nothing-at-all.*\[demo\]"):
        require_packages([])


def test_require_packages_asks_only_for_the_servers_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "_NEEDED", {})
    hosts = {"here": replace(HOSTS["uvicorn"], needs=("json", "json"))}
    hosts["absent"] = replace(HOSTS["uvicorn"], needs=("no.such", "no-such-server"))
    monkeypatch.setattr(lanes, "HOSTS", hosts)
    require_packages(["here"])
    assert installed_servers() == ("here",)
    with pytest.raises(MissingDependencyError, match="no-such-server"):
        require_packages(["absent"])


@pytest.mark.parametrize("server", HOSTS)
def test_open_host_knows_each_server(server: str) -> None:
    host = open_host(Lane(server, with_ctxkit=True), env={}, cwd=Path())
    assert isinstance(host, FreezingServer if HOSTS[server].argv else LambdaHost)


def test_lanes_that_would_come_out_the_same_are_one_experiment() -> None:
    without = {Lane(server, with_ctxkit=False).experiment for server in HOSTS}
    assert len(without) == len(HOSTS) - 2  # the three of Lambda
    assert len({Lane(server, with_ctxkit=True).experiment for server in HOSTS}) == len(HOSTS)


def test_item_has_landed_until_the_response_is_complete_or_until_its_host_freezes() -> None:
    sent = Sent("/", "f" * 32, "r1", 200, Times(None, 0.0, 1.0, 1.0, 2.0))
    extension = Lane("lambda-extension", with_ctxkit=True)
    assert in_time(extension, sent) == 2.0
    assert in_time(replace(extension, with_ctxkit=False), sent) == 1.0
    assert in_time(Lane("gunicorn", with_ctxkit=True), sent) == 1.0
