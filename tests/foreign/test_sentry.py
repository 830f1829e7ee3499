"""The Sentry SDK's own tests of its transport pass with ``ConcurrentTransport`` in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign.suites import check, copied, fetched

if TYPE_CHECKING:
    from pathlib import Path

# Theirs asks for a coverage plugin; the rest of it.
SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
markers = tests_internal_exceptions: of no concern here
"""


@pytest.mark.timeout(600)
def test_tests_of_sentrys_transport_pass_with_the_concurrent_one_as_with_its_own(
    tmp_path: Path,
) -> None:
    source = fetched("sentry-sdk", tmp_path, needs=["sentry_sdk", "pytest_localserver"])
    suite = copied(source, tmp_path / "suite", "integrations")
    (suite / "pytest.ini").write_text(SETTINGS)
    check(suite, "tests/test_transport.py", "concurrent_transport", least=40)
