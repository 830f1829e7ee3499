"""SnapStart: one initialised process, from which many are made.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import random

from snapshot_restore_py import (  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs]
    register_after_restore,
    register_before_snapshot,
)

from ctxkit.flushing import prepare
from ctxkit.flushing.engine import forgive
from ctxkit.lifecycle import run_after_restore, run_before_snapshot

_hooked = False


def hook() -> None:
    """Have Lambda call us before it takes the snapshot, and in each process made from it."""
    global _hooked  # noqa: PLW0603 - one registry per process
    if not _hooked:
        _hooked = True
        register_before_snapshot(before_snapshot)
        register_after_restore(after_restore)


def before_snapshot() -> None:
    """Have everything land, and close what no two processes can share."""
    prepare()  # so that the sinks are told, of a process that has served nothing too
    run_before_snapshot()


def after_restore() -> None:
    """Make this process differ from its siblings, which began as the same.

    ``random`` is what OpenTelemetry makes its ids of.
    """
    random.seed()  # not only where somebody has loaded it
    forgive()
    run_after_restore()
