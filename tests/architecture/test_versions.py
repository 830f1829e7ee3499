"""What is promised, what is tested and what is declared are the same versions."""

from __future__ import annotations

import re
from configparser import ConfigParser

from helpers.project import ROOT, pyproject

_TOX = ConfigParser(interpolation=None)
_TOX.read(ROOT / "tox.ini")


def _expanded(name: str) -> list[str]:
    """Return what tox makes of ``py3{12-15}-django{60,61}``."""
    match = re.search(r"\{([^{}]+)\}", name)
    if match is None:
        return [name]
    span = re.fullmatch(r"(\d+)-(\d+)", match[1])
    values = range(int(span[1]), int(span[2]) + 1) if span else match[1].split(",")
    before, after = name[: match.start()], name[match.end() :]
    return [full for value in values for full in _expanded(f"{before}{value}{after}")]


def _matrix() -> set[tuple[str, str, str]]:
    """Return Python, Django and protocol of each environment of the matrix."""
    found = set()
    for pattern in _TOX["tox"]["env_list"].split():
        for name in _expanded(pattern):
            match = re.fullmatch(r"py3(\d+)-django(\d)(\d)-(wsgi|asgi)", name)
            if match:
                found.add((f"3.{match[1]}", f"{match[2]}.{match[3]}", match[4]))
    return found


def _classified(prefix: str) -> set[str]:
    classifiers = pyproject()["project"]["classifiers"]
    found = (c.removeprefix(prefix) for c in classifiers if c.startswith(prefix))
    return {version for version in found if re.fullmatch(r"\d\.\d+", version)}


def _promised() -> dict[str, str]:
    """Return the rows of the README's table."""
    table = (ROOT / "README.md").read_text().partition("<!-- tested -->")[2].strip()
    rows = [line.strip("| ").split(" | ", 1) for line in table.splitlines() if "|" in line]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _group(name: str) -> str:
    group = pyproject()["dependency-groups"][name]
    return " ".join(entry for entry in group if isinstance(entry, str))


def _lowest(package: str) -> str:
    extras = pyproject()["project"]["optional-dependencies"]
    [bound] = {
        requirement.partition(">=")[2]
        for name, extra in extras.items()
        for requirement in extra
        if requirement.startswith(f"{package}>=") and name != "demo"
    }
    return bound


def test_matrix_holds_every_python_and_django_that_is_classified() -> None:
    assert {python for python, _, _ in _matrix()} == _classified(
        "Programming Language :: Python :: "
    )
    assert {django for _, django, _ in _matrix()} == _classified("Framework :: Django :: ")


def test_matrix_runs_each_pair_through_both_protocols() -> None:
    pairs = {(python, django) for python, django, _ in _matrix()}
    assert _matrix() == {(*pair, protocol) for pair in pairs for protocol in ("wsgi", "asgi")}


def test_matrix_leaves_out_only_what_django_does_not_support() -> None:
    pairs = {(python, django) for python, django, _ in _matrix()}
    every = {
        (python, django)
        for python in _classified("Programming Language :: Python :: ")
        for django in _classified("Framework :: Django :: ")
    }
    assert every - pairs == {("3.11", "6.0"), ("3.11", "6.1")}


def test_tests_of_others_run_on_every_python_that_is_classified() -> None:
    names = [name for each in _TOX["tox"]["env_list"].split() for name in _expanded(each)]
    matches = (re.fullmatch(r"py3(\d+)-foreign", name) for name in names)
    pythons = {f"3.{match[1]}" for match in matches if match}
    assert pythons == _classified("Programming Language :: Python :: ")


def test_oldest_python_is_the_required_one() -> None:
    oldest = min(_classified("Programming Language :: Python :: "), key=lambda v: int(v[2:]))
    assert pyproject()["project"]["requires-python"] == f">={oldest}"


def test_readme_promises_the_versions_of_the_matrix() -> None:
    rows = _promised()
    assert set(rows["Python"].split(", ")) == _classified("Programming Language :: Python :: ")
    djangos, pythons = set(re.findall(r"(?<!Python )\b\d\.\d+", rows["Django"])), {"3.12"}
    assert djangos - pythons == _classified("Framework :: Django :: ")


def test_readme_promises_the_servers_that_are_installed_for_tests() -> None:
    extras = " ".join(pyproject()["project"]["optional-dependencies"]["demo"])
    promised = _promised()["Servers"].split(", ")
    installed = f"{extras} {_group('servers')}"
    known = re.findall(r"gunicorn|uvicorn|daphne|granian|hypercorn|waitress|uwsgi", installed)
    assert set(promised) == set(known)


def test_readme_promises_the_hosts_whose_packages_are_installed_for_tests() -> None:
    extras = " ".join(pyproject()["project"]["optional-dependencies"]["aws-lambda"])
    known = r"awslambdaric|mangum|functions-framework|azure-functions"
    installed = set(re.findall(known, f"{extras} {_group('hosts')}"))
    assert set(re.findall(known, _promised()["Hosts"])) == installed


def test_readme_promises_the_lowest_versions_of_the_sdks() -> None:
    promised = dict(re.findall(r"(\S+) from (\d+\.\d+)", _promised()["SDKs"]))
    assert promised == {package: _lowest(package) for package in promised}
    assert set(promised) == {"sentry-sdk", "opentelemetry-sdk"}


def test_readme_promises_the_task_queues_whose_workers_run_in_tests() -> None:
    promised = _promised()["Task queues"]
    lowest = dict(re.findall(r"(\S+) from (\d+\.\d+)", promised))
    assert lowest == {package: _lowest(package) for package in ("celery", "dramatiq")}
    backends = set(re.findall(r"django-tasks-\w+", _group("brokers")))
    assert set(re.findall(r"django-tasks-\w+", promised)) == backends
