"""What happens to an invocation between its event and its answer."""

from __future__ import annotations

import sys
import threading
import time
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.aws_lambda import _other_drains
from ctxkit.aws_lambda._watchdog import Watchdog
from ctxkit.aws_lambda.modes import LambdaMode
from ctxkit.context import Deadline
from ctxkit.flushing import flush, prepare
from ctxkit.flushing.budget import affordable, default_timeout

if TYPE_CHECKING:
    from types import FrameType

    from ctxkit.aws_lambda._extension import Extension

#: How long before the deadline the alarm is raised: time to send, and Lambda's own margin.
ALARM: Final = 0.4  # seconds
#: How long before the deadline an extension is taken to be held up; its flush ends before.
_HELD_UP: Final = 0.05  # seconds


@final
class Attendance:
    """Attend to the invocations of this process, one after the other.

    Args:
        mode: When the flush happens.
        extension: Who does it, in extension mode.
        watchdog: Whether to flush, and to tell where the handler is, shortly before the
            invocation's deadline.

    Safety:
        What awslambdaric runs calls from its main thread; boundaries ask from any thread.
    """

    def __init__(self, mode: LambdaMode, extension: Extension | None, *, watchdog: bool) -> None:
        self.mode = mode
        self.extension = extension
        self._watches = watchdog
        self._watchdog = Watchdog()
        self._request_id = ""
        self._deadline: Deadline | None = None  # of the invocation at hand; None: there is none
        self._timeout: float | None = None
        self._answered: Deadline | None = None  # of the one that was answered just now
        self._broken = False
        self._prepared = False

    def attends(self) -> bool:
        """Return whether the invocation at hand is going to be flushed from here."""
        if self._deadline is None or self._broken or self.mode is LambdaMode.RETURN:
            return False
        return self.extension is None or self.extension.healthy

    def takes_over(self, timeout: float | None) -> bool:
        """Return whether a crossing that ends need not wait for its flush.

        Args:
            timeout: What was chosen for it; the last one that was chosen is heeded.
        """
        if not self.attends():
            return False
        kind = sys.exc_info()[0]
        if kind is not None and not issubclass(kind, Exception):
            return False  # it ends the process, and no answer is ever posted
        if timeout is not None:
            self._timeout = timeout
        return True

    def before_next(self) -> None:
        """See to it that nothing is left undone, now that the host may freeze us."""
        if self._deadline is not None:
            self._miss()
        extension, answered = self.extension, self._answered
        if extension is not None:
            extension.attend()
            if answered is not None and not extension.covers(self._request_id):
                # Its thread was ended, has not got its event yet, or got tired of waiting for
                # the answer, which the client has now.
                self._flush(answered, "extension")
                if extension.rests():
                    self._watchdog.call_off()  # or it would go off at the next thaw
        self._answered = None

    def arrived(self, headers: Any) -> None:
        """Begin to attend to an invocation."""
        self._timeout = None
        self._request_id = str(headers.get("Lambda-Runtime-Aws-Request-Id"))
        millis = float(headers.get("Lambda-Runtime-Deadline-Ms"))
        self._deadline = deadline = Deadline(monotonic() + millis / 1000 - time.time())
        if not self._prepared:
            self._prepared = True
            prepare(holds=True)
        if self.mode is not LambdaMode.RETURN:
            _other_drains.leave_to(self.attends)
        # Where half of the time is not over by then, the alarm would tell nobody anything.
        if self._watches and deadline.remaining() > 2 * ALARM:
            self._watchdog.set(deadline.at - ALARM, self._alarm)

    def before_answer(self) -> None:
        """Flush, if now is the time."""
        self._watchdog.call_off()
        if self.mode is LambdaMode.EXACT and self.attends():
            self._flush(self._deadline, "response")

    def after_answer(self) -> None:
        """Have the extension flush, and forget the invocation."""
        extension, self._answered, self._deadline = self.extension, self._deadline, None
        if extension is not None:
            if self._answered is not None:
                self._watchdog.set(self._answered.at - _HELD_UP, extension.replace)
            extension.answered(self._request_id, self._timeout)

    def rested(self) -> None:
        """Note that the extension is back in time."""
        self._watchdog.call_off()

    def leave(self) -> None:
        """Attend to nothing any more, but keep the extension from being waited for."""
        self.mode = LambdaMode.RETURN
        self._watches = False
        self._watchdog.call_off()

    def forked(self) -> None:
        """Have nothing to do with the invocation in a child: no answer leaves from there."""
        self._deadline = None
        self._broken = True

    def _miss(self) -> None:
        """Make up for an invocation whose answer did not pass here, and rely on none again."""
        self._watchdog.call_off()
        attended = self.attends()
        deadline, self._deadline = self._deadline, None
        if not self._broken:
            self._broken = True
            _warn(
                "ctxkit.lambda.mode: awslambdaric does not post its answers as expected; "
                'from now on CTXKIT_LAMBDA_MODE is "return"'
            )
        if attended:
            self._flush(deadline, "response")
        if self.extension is not None:
            self.extension.answered(self._request_id, 0)

    def _flush(self, deadline: Deadline | None, reason: str) -> None:
        """Flush, within what was chosen for this invocation and what its host leaves."""
        timeout = default_timeout() if self._timeout is None else self._timeout
        remaining = None if deadline is None else deadline.remaining()
        flush(affordable(timeout, remaining), reason=reason, request_id=self._request_id)

    def _alarm(self) -> None:
        """Say where the handler is, and send what is finished while there is time."""
        import traceback  # noqa: PLC0415 - only where a function is about to be killed

        frame = _frames().get(threading.main_thread().ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        del frame
        _warn(
            "ctxkit.lambda.deadline: %s has %g s left, and is here:\n%s",
            self._request_id,
            ALARM,
            stack,
        )
        flush(0, reason="deadline", request_id=self._request_id)


def _frames() -> dict[int, FrameType]:
    # Documented, underscore and all.
    return sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _warn(text: str, *args: object) -> None:
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    logging.getLogger("ctxkit").warning(text, *args)
