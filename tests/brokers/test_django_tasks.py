"""Django's tasks in real workers: of `django-tasks-db` on SQLite, of `django-tasks-rq` on Redis."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from helpers.servers import python_path

import ctxkit
from ctxkit.boundary.keys import REQUEST_ID

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = {"db": "django_tasks_db", "rq": "django_tasks_rq"}


class Site:
    """What a site has sent, and what its worker has made of it."""

    def __init__(self, kind: str, folder: Path, environ: dict[str, str]) -> None:
        self._environ = {
            **os.environ,
            **environ,
            "CTXKIT_TEST_BACKEND": kind,
            "CTXKIT_TEST_FOLDER": str(folder),
            "PYTHONPATH": python_path(),
        }
        self.stored = self._run("send")
        self.returned = self._run("work", CTXKIT_FLUSH_MODE="always")
        lines = (folder / "notes").read_text().splitlines()
        self.notes = [json.loads(line) for line in lines]

    def _run(self, what: str, **environ: str) -> Any:
        command = [sys.executable, "-m", "helpers.django_tasks_site", what]
        done = subprocess.run(
            command,
            env=self._environ | environ,
            capture_output=True,
            check=False,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def seen(self, mark: str) -> list[Any]:
        (found,) = (each[1:] for each in self.notes if each[0] == mark)
        return list(found)


@pytest.fixture(scope="module", params=list(PACKAGES))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Run a site once over each backend."""
    kind = request.param
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"no {PACKAGES[kind]}")
    redis = request.getfixturevalue("redis_url") if kind == "rq" else ""
    return Site(kind, tmp_path_factory.mktemp(kind), {"CTXKIT_TEST_REDIS": redis})


@pytest.mark.rule("F-93")
@pytest.mark.parametrize("mark", ["step", "astep", "context", "fail", "spawned"])
def test_task_sees_in_its_worker_what_was_sent_and_nothing_else(site: Site, mark: str) -> None:
    assert site.seen(mark) == ["acme", None, None, "0b7fd4c1"]


@pytest.mark.rule("F-93")
def test_nothing_survives_into_the_next_task_of_the_worker(site: Site) -> None:
    *seen, request_id = site.seen("alone")
    assert seen == [None, None, None]
    assert request_id != "0b7fd4c1"


@pytest.mark.rule("F-93")
def test_stored_arguments_hold_the_carrier_where_there_is_one(site: Site) -> None:
    first, last = site.stored
    carrier = first.pop("__ctxkit__")
    assert ctxkit.extract(carrier, trusted=True) == {REQUEST_ID.name: "0b7fd4c1"}
    assert (first, last) == ({"colour": "red"}, {})


def test_function_gets_its_own_arguments_alone(site: Site) -> None:
    assert site.returned == [["step", {"colour": "red"}], ["alone", {}]]


def test_telemetry_has_landed_before_a_task_is_finished(site: Site) -> None:
    places = [i for i, each in enumerate(site.notes) if each[0] == "finished"]
    assert len(places) == 6
    assert all(site.notes[place - 1] == ["flushed"] for place in places)
