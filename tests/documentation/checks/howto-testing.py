import importlib.util
import subprocess
import sys

needed = {
    "test_function.py": "awslambdaric",
    "test_trouble.py": "awslambdaric",
    "test_site.py": "gunicorn",
}
files = [name for name, module in needed.items() if importlib.util.find_spec(module)]
assert files
run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
    capture_output=True,
    text=True,
    check=False,
)
assert f"{len(files)} passed" in run.stdout, run.stdout + run.stderr
