"""The spool's switch. Everything behind it is imported when it is switched on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ctxkit.flushing.spooling._files import Spool
    from ctxkit.flushing.spooling._keeper import Keeper
    from ctxkit.flushing.spooling.declared import Declared

_spool: Spool | None = None
_asked = False
_push: Callable[[str], None] | None = None


class SpoolStatus(NamedTuple):
    """Say what the spool has done in this process, and what it holds.

    Attributes:
        directory: Where its files are.
        files: How many there are now, of all processes.
        size: What they take, in bytes.
        kept: How many this process has kept.
        sent: How many it has sent from there.
        dropped: How many it has given up: refused by their sink, or tried too often.
        troubles: How often the disk was in the way.
        unspooled: Kinds of exporters and transports that it can keep nothing for.
    """

    directory: str
    files: int
    size: int
    kept: int
    sent: int
    dropped: int
    troubles: int
    unspooled: tuple[str, ...]


def start_spooling(
    directory: str | os.PathLike[str] | None = None,
    *,
    max_bytes: int | None = None,
    max_age: float | None = None,
) -> None:
    """Keep what Sentry and OpenTelemetry could not send, and send it when they can.

    The same as ``CTXKIT_SPOOL=1`` in the environment. What is kept is what the SDKs would
    have sent, unencrypted, readable by this user alone. Call it when the SDKs are set up:
    what they lose before the first request, flush or such call is not seen.

    Args:
        directory: An existing folder; in it, one of our own is made, with mode 0700. None:
            the scratch space of the system, ``/tmp`` on most.
        max_bytes: How much it may take in all; the oldest goes first. None: what
            ``CTXKIT_SPOOL_MAX_BYTES`` says, else 16 MiB.
        max_age: Seconds after which it is deleted unsent. None: what
            ``CTXKIT_SPOOL_MAX_AGE`` says, else a day.

    Raises:
        ConfigurationError: A value cannot be used.

    Safety:
        At least once: what is under way when a process is killed may be sent twice. Backends
        tell spans and events that they have already by their ids. A flush whose time is over
        writes its copies in the thread of its caller, which takes a millisecond or so.
    """
    from ctxkit.flushing.spooling.declared import declared  # noqa: PLC0415 - few ask for it

    apply(declared(True if directory is None else directory, max_bytes, max_age))


def stop_spooling() -> None:
    """Keep nothing any more. What was kept stays where it is."""
    global _spool, _asked
    _spool, _asked = None, True
    _attach_all()


def spool_status() -> SpoolStatus | None:
    """Return what the spool has done and what it holds; None if it is off."""
    spool = _spool
    if spool is None:
        return None
    entries = spool.folder.entries()
    return SpoolStatus(
        str(spool.folder.path),
        len(entries),
        sum(entry.size for entry in entries),
        spool.kept,
        spool.sent,
        spool.dropped,
        spool.folder.troubles,
        tuple(sorted({name for keeper in _keepers() for name in keeper.unspooled})),
    )


def start_declared() -> None:
    """Start, once, if the environment says so. A mistake there is logged."""
    global _asked  # noqa: PLW0603 - as above
    if _asked:
        return
    _asked = True
    if not os.environ.get("CTXKIT_SPOOL"):
        return
    from ctxkit.flushing.spooling.declared import declared  # noqa: PLC0415 - few ask for it

    try:
        wanted = declared()
    except ConfigurationError:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.flushing").exception("ctxkit.spool.off")
        return
    if wanted.on:
        apply(wanted)


def attach(sink: object) -> None:
    """Have ``sink`` keep what it cannot send, if that is wanted and it can."""
    keep_with = getattr(sink, "keep_with", None)
    if keep_with is not None:
        keep_with(_spool)


def sink_keeper(sink: object) -> Keeper | None:
    """Return what keeps the sink's items; None if nothing does."""
    keeper: Keeper | None = getattr(sink, "keeper", None)
    return keeper


def write_ahead(sink: object) -> None:
    """Keep a copy of what the sink could not send in time, or was not asked to."""
    keeper = None if _spool is None else sink_keeper(sink)
    if keeper is not None:
        keeper.write_ahead()


def nudging(name: str) -> Callable[[], None]:
    """Return a callable that begins a pass of the sink of that name."""

    def nudge() -> None:
        if _push is not None:
            _push(name)

    return nudge


def nudge_by(push: Callable[[str], None]) -> None:
    """Have ``push`` begin a pass of the sink whose name it is given. The engine says how."""
    global _push  # noqa: PLW0603 - one engine per process
    _push = push


def hurry() -> None:
    """Have the next flush send what is kept, as far as its budget goes."""
    for keeper in _keepers():
        keeper.hurry()


def apply(wanted: Declared) -> None:
    """Start or stop as it was declared."""
    global _spool  # noqa: PLW0603 - as above
    if not wanted.on:
        stop_spooling()
        return
    from ctxkit.flushing.spooling._files import Spool  # noqa: PLC0415 - few ask for it
    from ctxkit.lifecycle._store import scratch_directory  # noqa: PLC0415 - likewise

    stop_spooling()
    _spool = Spool(
        wanted.directory or scratch_directory(), max_bytes=wanted.max_bytes, max_age=wanted.max_age
    )
    _attach_all()


def _attach_all() -> None:
    from ctxkit.flushing.sinks import discover  # noqa: PLC0415 - which imports this module

    for sink in discover():
        attach(sink)


def _keepers() -> Iterator[Keeper]:
    if _spool is None:
        return
    from ctxkit.flushing.sinks import discover  # noqa: PLC0415 - likewise

    for sink in discover():
        keeper = sink_keeper(sink)
        if keeper is not None:
            yield keeper


def _reset_in_child() -> None:
    if _spool is not None:
        _spool.begin_anew()
    for keeper in _keepers():
        keeper.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
