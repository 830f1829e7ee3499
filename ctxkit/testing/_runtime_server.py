"""Lambda's Runtime API, served to one process after the other.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ctxkit.testing._extensions_api import EXTENSIONS, Extensions
from ctxkit.testing._listener import Listener, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

_RUNTIME: Final = "/2018-06-01/runtime"
_ARN: Final = "arn:aws:lambda:eu-central-1:000000000000:function:ctxkit"
_JSON: Final = {"Content-Type": "application/json"}
_ACCEPTED: Final = Reply(202, b'{"status":"OK"}', _JSON)


@dataclass(slots=True)
class Invocation:
    """Hold one event, and what became of it.

    Attributes:
        event: The event, as JSON.
        deadline: When the function's time is over, as ``time.time()``.
        result: Whether it is an error, and the JSON that was posted; None before that.
        complete: When it was posted.
    """

    event: bytes
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: tuple[bool, bytes] | None = None
    complete: float = 0.0


class Sandbox:
    """Know where one process is: what it and its extensions wait for.

    Attributes:
        extensions: Its extensions.
        polls: How many of its runtimes wait for an event: more than one is possible where
            several requests share the environment.
        failure: What it said of its failed initialisation or restoration; None if it did not.
        restoring: Whether it has reached the point at which a snapshot is taken.
        restored: Whether it may go on from there.
    """

    def __init__(self, extensions: Extensions) -> None:
        self.extensions = extensions
        self.polls = 0
        self.failure: bytes | None = None
        self.restoring = False
        self.restored = False
        self.due: deque[Invocation] = deque()
        self.open: dict[str, Invocation] = {}

    def ready(self) -> bool:
        """Return whether nothing is left to wait for: Lambda would freeze it now."""
        return self.polls > 0 and not self.due and not self.open and self.extensions.ready()


class RuntimeServer:
    """Serve both APIs on loopback.

    Args:
        handler: The name of the function, for extensions that register.
        idle: Called, with the state guarded, when the process is ready to be frozen.

    Attributes:
        changed: Guards the state, and is notified of each change.
        sandbox: The process that is served.
    """

    def __init__(self, handler: str, idle: Callable[[], object]) -> None:
        self.changed = threading.Condition()
        self._about = {"functionName": "ctxkit", "functionVersion": "$LATEST", "handler": handler}
        self._idle = idle
        self.sandbox: Sandbox = self._sandbox()
        self._listener = Listener(self._serve)
        self.start = self._listener.start
        self.close = self._listener.close

    @property
    def port(self) -> int:
        """The port at 127.0.0.1; 0 before the start."""
        return self._listener.port

    def renew(self) -> None:
        """Let go of the process that was served: another one will come."""
        with self.changed:
            self.sandbox.extensions.ended = True
            self.sandbox = self._sandbox()
            self.changed.notify_all()

    def hand_out(self, invocation: Invocation) -> None:
        """Give an event to the runtime, and tell the extensions. The state is to be guarded."""
        sandbox = self.sandbox
        sandbox.due.append(invocation)
        sandbox.open[invocation.request_id] = invocation
        sandbox.extensions.tell(
            {
                "eventType": "INVOKE",
                "deadlineMs": int(invocation.deadline * 1000),
                "requestId": invocation.request_id,
                "invokedFunctionArn": _ARN,
                "tracing": {"type": "X-Amzn-Trace-Id", "value": ""},
            }
        )
        self.changed.notify_all()

    def restore(self) -> None:
        """Let a process go on that was snapshot."""
        with self.changed:
            self.sandbox.restored = True
            self.changed.notify_all()

    def _serve(self, request: Request) -> Reply | None:
        if request.path.startswith(f"{EXTENSIONS}/"):
            return self.sandbox.extensions.serve(request)
        if request.method == "GET":
            if request.path == f"{_RUNTIME}/invocation/next":
                return self._next()
            if request.path == f"{_RUNTIME}/restore/next":
                return self._restore_next()
        elif request.path in (f"{_RUNTIME}/init/error", f"{_RUNTIME}/restore/error"):
            with self.changed:
                self.sandbox.failure = request.raw
                self.changed.notify_all()
            return _ACCEPTED
        root, _, verb = request.path.rpartition("/")
        if request.method == "POST" and verb in ("response", "error"):
            return self._answered(root.rpartition("/")[2], (verb == "error", request.raw))
        return Reply(404, b"{}", _JSON)

    def _answered(self, request_id: str, result: tuple[bool, bytes]) -> Reply:
        complete = time.time()
        with self.changed:
            invocation = self.sandbox.open.pop(request_id, None)
            if invocation is None:
                return Reply(400, b'{"errorType":"InvalidRequestID"}', _JSON)
            invocation.complete = complete
            invocation.result = result
            self.changed.notify_all()
        return _ACCEPTED

    def _next(self) -> Reply | None:
        """Answer a runtime once there is an event for it; meanwhile it may be frozen."""
        with self.changed:
            sandbox = self.sandbox
            sandbox.extensions.closed = True
            sandbox.polls += 1
            self._look()
            while not sandbox.due:
                self.changed.wait()
                if sandbox.extensions.ended:
                    return None
            sandbox.polls -= 1
            invocation = sandbox.due.popleft()
        headers = {
            **_JSON,
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": _ARN,
        }
        return Reply(200, invocation.event, headers)

    def _restore_next(self) -> Reply | None:
        with self.changed:
            sandbox = self.sandbox
            sandbox.restoring = True
            self.changed.notify_all()
            while not sandbox.restored:
                self.changed.wait()
                if sandbox.extensions.ended:
                    return None
        return Reply(200, b"", {})

    def _sandbox(self) -> Sandbox:
        return Sandbox(Extensions(self.changed, self._about, self._look))

    def _look(self) -> None:
        """Say so if the process has become ready."""
        with self.changed:
            if self.sandbox.ready():
                self._idle()
            self.changed.notify_all()
