import subprocess
import sys

run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
    capture_output=True,
    text=True,
    check=False,
)
assert run.returncode == 1, run.stdout + run.stderr
for part in (
    "FAILED test_shop.py::test_order - Failed: The test left behind",
    "- tenant (set: tenant by order (test_shop.py:7)) held by Snapshot",
    "in the global test_shop.RECENT.",
    "Let go of it when the work ends.",
):
    assert part in run.stdout, run.stdout

from settings import CTXKIT

assert CTXKIT == {"REPORT_LEAKS": True}
