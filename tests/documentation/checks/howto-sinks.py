import subprocess
import sys

run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_audit.py"],
    capture_output=True,
    text=True,
    check=False,
)
assert run.returncode == 0, run.stdout + run.stderr
assert "12 passed, 2 skipped" in run.stdout, run.stdout
