import subprocess
import sys

run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
    capture_output=True,
    text=True,
    check=False,
)
assert "1 passed" in run.stdout, run.stdout + run.stderr
