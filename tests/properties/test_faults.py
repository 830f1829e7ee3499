"""The machine is able to fail: it finds each fault that is planted in ctxkit."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from properties.faults import FAULTS
from properties.machine import FollowingMachine

pytestmark = pytest.mark.timeout(600)

#: Enough to find each of them by far, and always the same ones; the first that fails is the last.
ENOUGH = settings(
    max_examples=20_000,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_that_is_planted_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(FollowingMachine, settings=ENOUGH)
