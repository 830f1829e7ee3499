"""What the demo does with a server that answers and is not what it was meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ctxkit.demo.lanes import Lane
from ctxkit.demo.rehearsal import _report, _Run
from ctxkit.demo.verdict import Sent
from ctxkit.exceptions import HostError
from ctxkit.testing import TelemetrySink
from ctxkit.testing._exchange import Times

if TYPE_CHECKING:
    from pathlib import Path


def test_server_whose_answers_recorded_nothing_is_an_error_with_what_it_printed(
    tmp_path: Path,
) -> None:
    with TelemetrySink() as sink:
        sent = [Sent("/", "0" * 32, "id", 500, Times(None, 1.0, 2.0, 2.0, None))]
        run = _Run(sink, tmp_path / "witness", sent, "no python application found")
        with pytest.raises(HostError, match=r"\(500\) recorded nothing(.|\n)*no python app"):
            _report(Lane("uwsgi", with_ctxkit=True), run, run)
