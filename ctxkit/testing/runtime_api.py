"""AWS Lambda on loopback, frozen between invocations as the real one is, for tests.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ctxkit.exceptions import HostError
from ctxkit.testing._exchange import Exchange, Times
from ctxkit.testing._gateway import gateway_event, read_gateway_result
from ctxkit.testing._listener import Listener, Reply, Request
from ctxkit.testing._processes import ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

_API = "/2018-06-01/runtime"
_ARN = "arn:aws:lambda:eu-central-1:000000000000:function:ctxkit"
_ACCEPTED = Reply(202, b'{"status":"OK"}', {"Content-Type": "application/json"})
_POLL = 0.05  # seconds between two looks at whether the process has died


@dataclass(frozen=True, slots=True)
class LambdaResult:
    """Hold what a Lambda function gave back for one event, and when.

    Args:
        payload: The decoded JSON that it returned, or Lambda's error object.
        failed: Whether it is an error.
        times: When what happened. ``complete`` is when the runtime had posted the
            answer, from where the client has it; ``stopped`` when the runtime asked
            for the next event, and was frozen.
    """

    payload: Any
    failed: bool
    times: Times


@dataclass(slots=True)
class _Invocation:
    event: bytes
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    taken: bool = False
    result: tuple[bool, bytes] | None = None
    complete: float = 0.0


class LambdaHost:
    """Run a Lambda function in the real ``awslambdaric`` process, frozen between events.

    The host serves the Runtime API and freezes (SIGSTOP) the process group when the
    runtime asks for the next event, which is when Lambda does; it thaws it (SIGCONT)
    for the next event and kills it (SIGKILL) at the end. As on Lambda, a function that
    exceeds its timeout or ends its process gets a new process for the next event.
    Usable once entered::

        with LambdaHost("shop.lambda_handler.handler") as function:
            result = function.invoke({"order": 7})
            exchange = function.request("GET", "/orders/7")

    Args:
        handler: ``module.function``, as Lambda is configured with it.
        env: Variables on top of those of this process and of Lambda's own; None as
            value removes one.
        cwd: The directory to start in; None means this process's own.
        timeout: The function timeout, in seconds.
        init_timeout: Seconds that the process may take until it asks for its first event.
        python: The interpreter, which has awslambdaric installed.
        freeze: Whether to stop the group between events; False serves as a reference
            that is never frozen, but killed all the same.

    Safety: POSIX only. One event at a time; not for use by several threads. Nothing
    survives the with-block, an exception in it, or the end of this interpreter. The
    Extensions API is not served.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options
        self,
        handler: str,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        init_timeout: float = 20.0,
        python: str = sys.executable,
        freeze: bool = True,
    ) -> None:
        self.timeout = timeout
        self.freeze = freeze
        self._handler = handler
        self._env = dict(env or {})
        self._cwd = cwd
        self._init_timeout = init_timeout
        self._argv = [python, "-m", "awslambdaric", handler]
        self._api = Listener(self._serve)
        self._changed = threading.Condition()
        self._group: ProcessGroup | None = None
        self._generation = 0
        self._waiting = False  # whether the process has asked for the next event
        self._stopped: float | None = None
        self._init_error: bytes | None = None
        self._invocation: _Invocation | None = None

    def __enter__(self) -> Self:
        self._api.start()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process that runs the function now; None if there is none."""
        return self._group.pid if self._group and self._group.exit_code is None else None

    @property
    def frozen(self) -> bool:
        """Whether the function's process group is stopped now."""
        return self._stopped is not None

    def output(self) -> str:
        """Return the end of what the function's process has printed so far."""
        return "" if self._group is None else self._group.output()

    def close(self) -> None:
        """Kill the function's process group without grace. Idempotent."""
        self._discard()
        self._api.close()

    def invoke(self, event: Any, *, timeout: float | None = None) -> LambdaResult:
        """Hand one event to the function, and wait until it is frozen again.

        Args:
            event: What the function gets, as JSON can say it.
            timeout: Seconds until the deadline that the function is told; None means
                the function timeout. Beyond it, the process is killed.

        Raises:
            HostError: The process ended without an answer.
            TimeoutError: There was no answer in time.
        """
        if not self._api.port:
            raise HostError(self._handler, "has not been started: enter the with-block", "")
        if self.pid is None:
            self._start()
        limit = self.timeout if timeout is None else timeout
        invocation = _Invocation(json.dumps(event).encode(), time.time() + limit)
        thawed, sent = self._hand_out(invocation)
        self._wait(lambda: invocation.result is not None, limit)
        if invocation.result is None:
            self._give_up(limit)
        # Until it asks for the next event the process goes on, within the same timeout.
        self._wait(lambda: self._waiting, max(0.0, invocation.deadline - time.time()))
        stopped = self._stopped
        if not self._waiting:
            self._discard()
        failed, payload = invocation.result or (True, b"null")
        times = Times(thawed, sent, invocation.complete, invocation.complete, stopped)
        return LambdaResult(json.loads(payload or b"null"), failed, times)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Exchange:
        """Invoke the function with an HTTP request, as an API Gateway HTTP API does.

        The event and the answer have payload format 2.0. An error of the function is
        status 502, its body Lambda's error object.

        Args:
            method: The method.
            path: The target, query included.
            headers: The request headers.
            body: The body.
            timeout: As for :meth:`invoke`.

        Raises:
            HostError: The process ended without an answer.
            TimeoutError: There was no answer in time.
        """
        result = self.invoke(gateway_event(method, path, headers or {}, body), timeout=timeout)
        if result.failed:
            return Exchange(502, (), json.dumps(result.payload).encode(), result.times)
        return Exchange(*read_gateway_result(result.payload), result.times)

    def _hand_out(self, invocation: _Invocation) -> tuple[float | None, float]:
        with self._changed:
            thawed, self._stopped = (time.time() if self._stopped else None), None
            self._waiting = False
            if self._group is not None:
                self._group.resume()
            self._invocation = invocation
            self._changed.notify_all()
            return thawed, time.time()

    def _give_up(self, limit: float) -> NoReturn:
        code = self._group.exit_code if self._group else None
        self._discard()
        if code is None:
            raise TimeoutError(f"{self._handler}: no answer within {limit} s.\n{self.output()}")
        problem = f"ended with exit code {code} within an invocation"
        raise HostError(" ".join(self._argv), problem, self.output())

    def _start(self) -> None:
        self._discard()
        with self._changed:
            self._init_error = None
            self._group = group = ProcessGroup(self._argv, env=self._environment(), cwd=self._cwd)
        self._wait(lambda: self._waiting or self._init_error is not None, self._init_timeout)
        if self._waiting:
            return
        problem = "did not ask for an event in time"
        if self._init_error is not None:
            problem = f"failed to initialise: {self._init_error.decode(errors='replace')}"
        elif group.exit_code is not None:
            problem = f"ended with exit code {group.exit_code} before its first event"
        self._discard()
        raise HostError(" ".join(self._argv), problem, group.output())

    def _discard(self) -> None:
        with self._changed:
            self._generation += 1
            self._waiting = False
            self._stopped = None
            self._invocation = None
            self._changed.notify_all()
        if self._group is not None:
            self._group.kill()

    def _wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait until ready, until the process has ended, or for so long."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0 or self.pid is None:
                    return False
                self._changed.wait(min(left, _POLL))
            return True

    def _environment(self) -> dict[str, str | None]:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.port}",
            "AWS_LAMBDA_FUNCTION_NAME": "ctxkit",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/ctxkit",
            "AWS_LAMBDA_LOG_STREAM_NAME": "ctxkit",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
            "AWS_REGION": "eu-central-1",
            "LAMBDA_TASK_ROOT": os.fspath(self._cwd or os.getcwd()),  # noqa: PTH109 - a plain string
            "_HANDLER": self._handler,
            # Lambda has the function's folder on sys.path, whatever whoever tests it has.
            "PYTHONSAFEPATH": None,
            **self._env,
        }

    def _serve(self, request: Request) -> Reply | None:
        if (request.method, request.path) == ("GET", f"{_API}/invocation/next"):
            return self._next()
        if (request.method, request.path) == ("POST", f"{_API}/init/error"):
            with self._changed:
                self._init_error = request.raw
                self._changed.notify_all()
            return _ACCEPTED
        root, _, verb = request.path.rpartition("/")
        if request.method == "POST" and verb in ("response", "error"):
            result = (verb == "error", request.raw)
            return self._answered(root.rpartition("/")[2], result)
        return Reply(404, b"{}", {"Content-Type": "application/json"})

    def _answered(self, request_id: str, result: tuple[bool, bytes]) -> Reply:
        complete = time.time()
        with self._changed:
            invocation = self._invocation
            if invocation is None or invocation.request_id != request_id:
                return Reply(400, b'{"errorType":"InvalidRequestID"}', {})
            invocation.complete = complete
            invocation.result = result
            self._changed.notify_all()
        return _ACCEPTED

    def _next(self) -> Reply | None:
        """Freeze the process, and answer it once there is an event for it."""
        with self._changed:
            group, generation = self._group, self._generation
            if group is None:
                return None
            if self.freeze:
                group.stop()
                self._stopped = time.time()
            self._waiting = True
            self._changed.notify_all()
            while True:
                if generation != self._generation:
                    return None
                invocation = self._invocation
                if invocation is not None and not invocation.taken:
                    break
                self._changed.wait()
            invocation.taken = True
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": _ARN,
        }
        return Reply(200, invocation.event, headers)
