"""Before and after a migration: the same is the same, and what was lost or left behind is not.

A check in ``checks/howto-migrating`` looks at a program of the page, from the folder of which it is
run. ``same()`` returns what every variant gives alike; ``rest()`` what differs, and how: the first
variant gives ``BEFORE``, all others ``AFTER``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from helpers.pages import check_of, files_of, write_variants
from helpers.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

for package in ("asgi_correlation_id", "crum", "django_guid", "starlette_context"):
    pytest.importorskip(package)
pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("sentry_sdk")

PAGE = ROOT / "docs/howto/migrating.md"
CHECKS = check_of(PAGE).with_suffix("")
SECTIONS = sorted({name.split("/")[0] for name in files_of(PAGE)})

_LOOK = """
import json, runpy, sys
sys.path.insert(0, ".")
check = runpy.run_path(sys.argv[1])
print(json.dumps([check["same"](), check["rest"](), check["BEFORE"], check["AFTER"]]))
"""


def _look(variant: Path, check: Path) -> list[Any]:
    path = os.pathsep.join((str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
    run = subprocess.run(
        [sys.executable, "-c", _LOOK, str(check)],
        cwd=variant,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, f"{variant.name}: {run.stderr}"
    found: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_sections_and_checks_belong_together() -> None:
    assert {path.stem for path in CHECKS.glob("*.py")} == set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_after_does_what_before_did_and_loses_nothing(section: str, tmp_path: Path) -> None:
    before, *others = write_variants(PAGE, section, tmp_path)
    check = CHECKS / f"{section}.py"
    same, rest, expected_before, expected_after = _look(before, check)
    assert before.name == "before"
    assert others
    assert expected_before != expected_after
    assert rest == expected_before
    for other in others:
        assert _look(other, check)[:2] == [same, expected_after], other.name
