"""Context follows everywhere, and leaks nowhere."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from properties.machine import FollowingMachine

pytestmark = pytest.mark.timeout(900)

#: CI runs the same examples each time, so that a change is what turns it red; everybody else
#: looks at new ones each time.
FollowingMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("CTXKIT_PROPERTY_EXAMPLES", "50")),
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    print_blob=True,
)
TestFollowing = FollowingMachine.TestCase
