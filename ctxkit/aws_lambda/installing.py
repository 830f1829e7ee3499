"""Taking part in the boundaries of a function that AWS Lambda runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from ctxkit.aws_lambda import _runtime
from ctxkit.aws_lambda._attending import Attendance
from ctxkit.aws_lambda.modes import LambdaMode, chosen_mode, context_trusted
from ctxkit.boundary.hosting import HOST, Host
from ctxkit.flushing import prepare
from ctxkit.lifecycle import environment, run_init

if TYPE_CHECKING:
    from ctxkit.aws_lambda._extension import Extension

_ADDRESS: Final = "AWS_LAMBDA_RUNTIME_API"
_chosen = False  # whether a mode was, by an argument or by the variable
_attendance: Attendance | None = None
_extension: Extension | None = None


def install(
    mode: str | None = None, *, watchdog: bool | None = None, sigterm: bool | None = None
) -> LambdaMode:
    """Choose when the flush of an invocation happens, for this whole process.

    Not needed where ``CTXKIT_LAMBDA_MODE`` says it: the first decorator or middleware calls
    it then, or the end of the initialisation if the variable was set after that. Call it at
    the top of the handler's module; calling it again chooses anew. Outside of AWS Lambda it
    does nothing.

    Args:
        mode: A :class:`LambdaMode` or its value; None reads ``CTXKIT_LAMBDA_MODE``, and
            without it means "return".
        watchdog: Whether, 0.4 s before the function's time is over, what is finished is
            flushed and ``ctxkit.lambda.deadline`` is logged, with the stack of the handler.
            None means yes, but for "return".
        sigterm: Whether to flush, and end, when Lambda ends the environment; a handler that
            is there already is called then, and decides about the end. Lambda sends the
            signal only where an extension is registered, and Python sees it from 3.12 on.
            None means in extension mode.

    Returns:
        The mode that is in force: "return" where the one that was wanted is not possible,
        which is logged as ``ctxkit.lambda.mode``; on managed instances, which are never
        frozen, nothing is waited for in any.

    Raises:
        ConfigurationError: ``mode``, or the variable, is none.

    Safety:
        Replaces awslambdaric's ``runtime_client`` in this process, unless the mode is
        "return" and there is no watchdog. To be called in the main thread, for ``sigterm``.
    """
    global _chosen  # noqa: PLW0603 - one per process, like the runtime
    wanted = chosen_mode(mode)
    HOST.met = _chosen = True
    _take_part()
    if not os.environ.get(_ADDRESS) or environment().name == "aws-lambda-managed":
        if sigterm and os.environ.get(_ADDRESS):
            _catch_sigterm()
        return LambdaMode.RETURN
    watches = wanted is not LambdaMode.RETURN if watchdog is None else watchdog
    problem = None
    if watches or wanted is not LambdaMode.RETURN:
        problem = _attend(wanted, watchdog=watches)
    else:
        uninstall()
    if problem is not None:
        uninstall()
        _log(
            'ctxkit.lambda.mode: "%s" is not possible, and is "return" instead: %s', wanted, problem
        )
        wanted = LambdaMode.RETURN
    if wanted is LambdaMode.EXTENSION if sigterm is None else sigterm:
        _catch_sigterm()
    return wanted


def uninstall() -> None:
    """Take back :func:`install`: boundaries flush before they return.

    An extension cannot be signed off. It stays, and only keeps Lambda from waiting for it.
    """
    global _attendance
    attendance, _attendance = _attendance, None
    if attendance is None:
        return
    HOST.takes_over = Host().takes_over
    attendance.leave()
    if attendance.extension is None:
        _runtime.take_out()


def join() -> None:
    """Take part as the variables say; called by the first boundary of the process.

    Raises:
        ConfigurationError: A variable cannot be used.
    """
    mode = chosen_mode(None)
    _take_part()
    if mode is not LambdaMode.RETURN:
        install(mode)


def _take_part() -> None:
    """Do what every mode needs on Lambda."""
    trusted = context_trusted()
    if not os.environ.get(_ADDRESS):
        return
    if trusted:
        from ctxkit.aws_lambda._web_adapter import remaining  # noqa: PLC0415 - only with it

        HOST.remaining = remaining
    if environment().name == "aws-lambda-managed":
        HOST.background = True
        prepare()  # for the drain at the end: nothing is flushed before
    if "awslambdaric" in sys.modules and HOST.adapt is not _adapted:
        HOST.adapt = _adapted
        _runtime.at_first_wait(_initialised)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _hook_snapshots()


def _initialised() -> None:
    """End the initialisation: all modules are imported, and no event was asked for."""
    mode = chosen_mode(None)
    if not _chosen and mode is not LambdaMode.RETURN:
        install(mode)  # the variable was set after the first boundary was made
    run_init()


def _hook_snapshots() -> None:
    try:
        from ctxkit.aws_lambda import snapstart  # noqa: PLC0415 - only with it
    except ImportError as error:  # under the Web Adapter, which runs no hooks either
        _log("ctxkit.lambda.snapstart: clones of this process may be as one: %s", error)
    else:
        snapstart.hook()


def _adapted(function: Any) -> Any:
    from ctxkit.aws_lambda._coroutines import as_handler  # noqa: PLC0415 - brings asyncio

    return as_handler(function)


def _attend(mode: LambdaMode, *, watchdog: bool) -> str | None:
    """Attend to each invocation from now on; return why that is not possible, if so."""
    global _attendance  # noqa: PLW0603 - one per process, like the runtime
    # First: without it, an extension would wait in vain for each answer.
    problem = _runtime.problem()
    extension = None
    if problem is None and mode is LambdaMode.EXTENSION:
        extension, problem = _joined()
    if problem is not None:
        return problem
    if _attendance is not None:
        _attendance.leave()
    _attendance = attendance = Attendance(mode, extension, watchdog=watchdog)
    _runtime.put_in(attendance)
    HOST.takes_over = attendance.takes_over
    return None


def _forked() -> None:
    if _attendance is not None:
        _attendance.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _joined() -> tuple[Extension | None, str | None]:
    """Return the extension of this process, or why there is none."""
    global _extension  # noqa: PLW0603 - one per process: it cannot be signed off
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        # Whether an extension outlives the snapshot is nowhere said.
        return None, "the function uses SnapStart"
    if "awslambdaric" not in sys.modules:
        return None, "awslambdaric does not run in this process"
    if _extension is None:
        from ctxkit.aws_lambda._extension import Extension  # noqa: PLC0415 - only with it
        from ctxkit.aws_lambda._extensions_api import RefusedError  # noqa: PLC0415 - likewise

        extension = Extension(os.environ[_ADDRESS], _rested)
        try:
            extension.join()
        except (OSError, RefusedError) as error:
            return None, f"no extension could be registered: {error}"
        _extension = extension
    return _extension, None


def _rested() -> None:
    if _attendance is not None:
        _attendance.rested()


def _catch_sigterm() -> None:
    from ctxkit.aws_lambda._ending import catch_sigterm  # noqa: PLC0415 - only with it

    catch_sigterm()


def _log(text: str, *args: object) -> None:
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    logging.getLogger("ctxkit").warning(text, *args)
