from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit import ConfigurationError, WSGIMiddleware
from ctxkit.flushing import prepare, spool_status, start_spooling, stop_spooling
from ctxkit.flushing.spooling import switch
from ctxkit.flushing.spooling.declared import declared

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def never_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CTXKIT_SPOOL", "CTXKIT_SPOOL_MAX_BYTES", "CTXKIT_SPOOL_MAX_AGE"):
        monkeypatch.delenv(name, raising=False)
    stop_spooling()
    monkeypatch.setattr(switch, "_asked", False)
    yield
    stop_spooling()


def test_spool_is_off_where_nothing_is_said() -> None:
    prepare()
    assert spool_status() is None
    assert declared(environ={}) == (False, None, 16 * 1024 * 1024, 86400.0)


@pytest.mark.parametrize(
    ("text", "on", "directory"),
    [
        ("1", True, None),
        ("On", True, None),
        ("0", False, None),
        ("", False, None),
        ("/var/spool/shop", True, "/var/spool/shop"),
    ],
)
def test_environment_says_where(text: str, *, on: bool, directory: str | None) -> None:
    assert declared(environ={"CTXKIT_SPOOL": text})[:2] == (on, directory)
    limits = {"CTXKIT_SPOOL_MAX_BYTES": "5000", "CTXKIT_SPOOL_MAX_AGE": "60"}
    assert declared(environ=limits)[2:] == (5000, 60.0)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CTXKIT_SPOOL", "var/spool"),
        ("CTXKIT_SPOOL_MAX_BYTES", "16 MiB"),
        ("CTXKIT_SPOOL_MAX_BYTES", "-1"),
        ("CTXKIT_SPOOL_MAX_AGE", "a day"),
    ],
)
def test_mistake_in_the_environment_is_told_by_a_boundary_at_once(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    app: Any = object()
    with pytest.raises(ConfigurationError, match=f"^{variable} must be"):
        WSGIMiddleware(app)


def test_mistake_in_the_environment_is_logged_where_there_is_no_boundary(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CTXKIT_SPOOL", "var/spool")
    prepare()
    assert spool_status() is None
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "ctxkit.spool.off")


@pytest.mark.parametrize(
    "arguments", [{"directory": "var"}, {"max_bytes": 1}, {"max_bytes": "5 MB"}, {"max_age": -1}]
)
def test_mistake_in_an_argument_is_told(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(arguments))} must be"):
        start_spooling(**arguments)
    assert spool_status() is None


def test_spool_is_where_it_was_asked_for(tmp_path: Path) -> None:
    start_spooling(tmp_path, max_bytes=5000, max_age=60)
    found = spool_status()
    assert found is not None
    assert Path(found.directory).is_relative_to(tmp_path)
    assert found[1:] == (0, 0, 0, 0, 0, 0, ())
    stop_spooling()
    assert spool_status() is None
