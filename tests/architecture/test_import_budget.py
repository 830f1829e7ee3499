"""``import ctxkit`` is paid on every cold start: it stays next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import ctxkit

BUDGET = 15  # modules
# Of the standard library, and not in sys.stdlib_module_names: written at build time, and the name
# that multiprocessing gives to the main module.
_UNLISTED = {"_missing_stdlib_info", "__mp_main__"}
FORBIDDEN = {"asyncio", "dataclasses", "inspect", "json", "logging"}

# -I: neither the user's site nor PYTHON* variables; -X importtime would import nothing else,
# but only sys.modules tells what was there before.
_ADDED = """
import sys
sys.path[:0] = {path!r}
before = set(sys.modules)
{code}
added = sorted(set(sys.modules) - before)
import json
print(json.dumps(added))
"""


def _added_by(code: str) -> set[str]:
    program = _ADDED.format(path=[str(p) for p in _parents_of_ctxkit()], code=code)
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout))


def _parents_of_ctxkit() -> list[str]:
    return [path.rpartition("/")[0] for path in ctxkit.__path__]


def _foreign(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return tops - sys.stdlib_module_names - _UNLISTED - {"ctxkit"}


def test_import_of_ctxkit_adds_few_modules() -> None:
    added = _added_by("import ctxkit")
    assert len(added) <= BUDGET, sorted(added)


@pytest.mark.rule("F-B0")
def test_import_of_ctxkit_adds_nothing_heavy_or_foreign() -> None:
    added = _added_by("import ctxkit")
    assert added & FORBIDDEN == set()
    assert _foreign(added) == set()


def test_first_use_of_frames_adds_nothing_heavy_or_foreign() -> None:
    added = _added_by("import ctxkit\nwith ctxkit.bind(a=1): ctxkit.get('a'); ctxkit.current()")
    assert added & FORBIDDEN == set()
    assert _foreign(added) == set()


@pytest.mark.rule("F-B0")
@pytest.mark.parametrize("option", ["", "timeout=1", "retry=1", "requires=('tenant',)"])
def test_first_call_of_a_function_adds_nothing_heavy_or_foreign(option: str) -> None:
    code = f"import ctxkit\nf = ctxkit.function({option})(lambda: 1)"
    added = _added_by(f"{code}\nwith ctxkit.bind(tenant=1): f(); ctxkit.checkpoint()")
    assert added & FORBIDDEN == set()
    assert _foreign(added) == set()


@pytest.mark.parametrize("boundary", ["WSGIMiddleware", "ASGIMiddleware"])
def test_boundary_adds_nothing_heavy_or_foreign(boundary: str) -> None:
    added = _added_by(f"import ctxkit\nctxkit.{boundary}")
    assert added & (FORBIDDEN | {"pathlib"}) == set()
    assert _foreign(added) == set()


def test_every_public_name_brings_nothing_foreign() -> None:
    added = _added_by("import ctxkit\nfor name in ctxkit.__all__: getattr(ctxkit, name)")
    assert _foreign(added) == set()
