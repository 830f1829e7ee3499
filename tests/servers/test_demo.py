"""The demo, as somebody runs it who installed the package."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("gunicorn")
pytest.importorskip("waitress")

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(180)
def test_demo_proves_that_everything_lands(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    # Those that CI itself does not show, and one that it does.
    servers = ["gunicorn", "waitress", *(["uwsgi"] if find_spec("pyuwsgi") else [])]
    options = ["--json", "--requests", "4", "--lanes", ",".join(servers)]
    command = [sys.executable, "-m", "ctxkit.cli", "demo", *options]
    done = subprocess.run(
        [*command, "--output", str(page)], capture_output=True, text=True, timeout=150, check=False
    )
    result = json.loads(done.stdout)
    lanes = {(lane["server"], lane["with_ctxkit"]): lane for lane in result["lanes"]}
    assert len(lanes) == 2 * len(servers)
    for (_, with_ctxkit), lane in lanes.items():
        if with_ctxkit:
            fates = [(each["path"], fate) for each in lane["requests"] for fate in each["items"]]
            assert [fate for fate in fates if fate[1]["outcome"] != "landed"] == []
            assert lane["landed"] == lane["expected"] > 0
        else:
            assert lane["landed"] < lane["expected"] / 2
    steps = result["journey"]["steps"]
    assert {step["where"] for step in steps} == {"view", "pool", "worker"}
    assert [step["name"] for step in steps].count("shop.suppliers:quote") == 4
    assert done.returncode == 0, done.stderr
    assert "<svg" in page.read_text()
