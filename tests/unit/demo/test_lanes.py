from __future__ import annotations

from pathlib import Path

import pytest

from ctxkit.demo import lanes
from ctxkit.demo.lanes import choose_servers, open_host, require_packages
from ctxkit.exceptions import ConfigurationError, MissingDependencyError
from ctxkit.testing import FreezingServer, LambdaHost


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
        require_packages(["asyncio"])


def test_require_packages_asks_only_for_the_servers_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "_NEEDED", {})
    require_packages(["json"])
    with pytest.raises(MissingDependencyError, match="no_such_server"):
        require_packages(["no_such_server"])


def test_open_host_knows_each_server() -> None:
    kinds = [type(open_host(server, env={}, cwd=Path())) for server in lanes.SERVERS]
    assert kinds == [FreezingServer, FreezingServer, LambdaHost]
