from __future__ import annotations

from time import monotonic

from ctxkit import Deadline


def test_after_marks_a_moment_on_the_monotonic_clock() -> None:
    before = monotonic()
    deadline = Deadline.after(60)
    assert before + 60 <= deadline.at <= monotonic() + 60


def test_remaining_shrinks_and_never_is_below_zero() -> None:
    assert 0 < Deadline.after(60).remaining() <= 60
    assert Deadline(monotonic() - 60).remaining() == 0.0
    assert Deadline.after(0).remaining() == 0.0


def test_repr_says_what_is_left() -> None:
    assert repr(Deadline(0.0)) == "<Deadline in 0.000 s>"
