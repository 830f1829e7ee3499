"""asgiref's own tests pass with ``ctxkit.install()`` as they do without it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from foreign.suites import check, copied, fetched

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(600)
def test_tests_of_asgiref_pass_with_the_patches_as_without(tmp_path: Path) -> None:
    source = fetched("asgiref", tmp_path, needs=["asgiref"])
    suite = copied(source, tmp_path / "suite")
    shutil.copy(source / "setup.cfg", suite)
    check(suite, "tests", "installed", least=50)
