"""AWS Lambda on loopback, frozen between invocations as the real one is, for tests.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ctxkit.exceptions import HostError
from ctxkit.testing._exchange import Exchange, Times
from ctxkit.testing._gateway import gateway_event, read_gateway_result
from ctxkit.testing._processes import ProcessGroup
from ctxkit.testing._runtime_server import Invocation, RuntimeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

_POLL: Final = 0.05  # seconds between two looks at whether the process has died


@dataclass(frozen=True, slots=True)
class LambdaResult:
    """Hold what a Lambda function gave back for one event, and when.

    Args:
        payload: The decoded JSON that it returned, or Lambda's error object.
        failed: Whether it is an error.
        times: When what happened. ``complete`` is when the runtime had posted the
            answer, from where the client has it; ``stopped`` when the runtime and each
            extension had asked for the next event, and the process was frozen. None: it
            was not, but ended, or was killed because its time was over.
    """

    payload: Any
    failed: bool
    times: Times


class LambdaHost:
    """Run a Lambda function in the real ``awslambdaric`` process, frozen between events.

    The host serves the Runtime API and the Extensions API. It freezes (SIGSTOP) the process
    group when the runtime and every extension have asked for the next event, which is when
    Lambda does; it thaws it (SIGCONT) for the next event and kills it (SIGKILL) at the end.
    As on Lambda, a function that exceeds its timeout or ends its process gets a new process
    for the next event, and so does one whose extension is not back in time.
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
        snap_start: Whether the process is snapshot after its initialisation and restored
            for its first event: it is stopped in between.
        concurrency: More than one makes a managed instance, which is never frozen: so many
            processes, each of which takes one event at a time; :meth:`invoke` may then be
            called by as many threads. Needs awslambdaric 4.

    Safety: POSIX only. But for ``concurrency``, one event at a time, and not for use by
    several threads. Nothing survives the with-block, an exception in it, or the end of
    this interpreter. Extensions are those of the function's own process, which are called
    internal; external ones, which are processes of their own, are not started.
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
        snap_start: bool = False,
        concurrency: int = 1,
    ) -> None:
        self.timeout = timeout
        self.freeze: bool = freeze and concurrency == 1
        self._handler = handler
        self._env = dict(env or {})
        self._cwd = cwd
        self._init_timeout = init_timeout
        self._snap_start = snap_start
        self._concurrency = concurrency
        self._argv = [python, "-m", "awslambdaric", handler]
        self._server = RuntimeServer(handler, self._freeze)
        self._group: ProcessGroup | None = None
        self._stopped: float | None = None

    def __enter__(self) -> Self:
        self._server.start()
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

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of the extensions that the function's process has registered."""
        return self._server.sandbox.extensions.names

    def output(self) -> str:
        """Return the end of what the function's process has printed so far."""
        return "" if self._group is None else self._group.output()

    def close(self) -> None:
        """Kill the function's process group without grace. Idempotent."""
        self._discard()
        self._server.close()

    def shutdown(self, *, grace: float = 0.5) -> int | None:
        """End the environment as Lambda does: SIGTERM, a moment, SIGKILL.

        Without an extension there is no SIGTERM, and no moment. The next event gets a new
        process.

        Args:
            grace: Seconds between the two signals. Half a second is what Lambda gives; a
                test on a busy machine may be more generous.

        Returns:
            The exit code of the process, negative for a signal; None if there was none.
        """
        group = self._group
        if group is None or self.pid is None:
            return None
        if self.extensions:
            self._stopped = None
            group.resume()
            # A thread that has yet to take note of SIGCONT is passed over for a signal: another
            # one gets it, and the main thread, whose handlers Python runs, sleeps on.
            self._wait(lambda: False, _POLL)
            group.terminate()
            self._wait(lambda: False, grace)  # for its end
        self._discard()
        return group.exit_code

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
        if not self._server.port:
            raise HostError(self._handler, "has not been started: enter the with-block", "")
        if self.pid is None:
            self._start()
        limit = self.timeout if timeout is None else timeout
        invocation = Invocation(json.dumps(event).encode(), time.time() + limit)
        thawed, sent = self._hand_out(invocation)
        self._wait(lambda: invocation.result is not None, limit)
        if invocation.result is None:
            self._give_up(limit)
        failed, payload = invocation.result
        stopped = None if self._concurrency > 1 else self._settle(invocation.deadline)
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

    def _hand_out(self, invocation: Invocation) -> tuple[float | None, float]:
        with self._server.changed:
            thawed, self._stopped = (time.time() if self._stopped else None), None
            if self._group is not None:
                self._group.resume()
            self._server.hand_out(invocation)
            return thawed, time.time()

    def _settle(self, deadline: float) -> float | None:
        """Wait until the process is ready for the next event; return when it was stopped.

        Until then it and its extensions go on, within the same timeout; beyond that, a new
        process is needed.
        """
        ready = self._wait(self._ready, max(0.0, deadline - time.time()))
        stopped = self._stopped
        if not ready:
            self._discard()
        return stopped

    def _give_up(self, limit: float) -> NoReturn:
        code = self._group.exit_code if self._group else None
        self._discard()
        if code is None:
            raise TimeoutError(f"{self._handler}: no answer within {limit} s.\n{self.output()}")
        problem = f"ended with exit code {code} within an invocation"
        raise HostError(" ".join(self._argv), problem, self.output())

    def _start(self) -> None:
        self._discard()
        self._group = group = ProcessGroup(self._argv, env=self._environment(), cwd=self._cwd)
        sandbox = self._server.sandbox

        def told() -> bool:
            return self._ready() or self._failure() is not None

        up = self._wait(lambda: sandbox.restoring or told(), self._init_timeout)
        if sandbox.restoring:
            group.stop()
            group.resume()
            self._server.restore()
            up = self._wait(told, self._init_timeout)
        failure = self._failure()
        if up and failure is None:
            return
        problem = "did not ask for an event in time"
        if failure is not None:
            problem = f"failed to initialise: {failure}"
        elif "No module named awslambdaric" in group.output():
            problem = "needs awslambdaric: install django-ctxkit[aws-lambda] for that interpreter"
        elif group.exit_code is not None:
            problem = f"ended with exit code {group.exit_code} before its first event"
        self._discard()
        raise HostError(" ".join(self._argv), problem, group.output())

    def _ready(self) -> bool:
        sandbox = self._server.sandbox
        return sandbox.ready() and sandbox.polls == self._concurrency

    def _failure(self) -> str | None:
        sandbox = self._server.sandbox
        if sandbox.failure is not None:
            return sandbox.failure.decode(errors="replace")
        return sandbox.extensions.failure

    def _freeze(self) -> None:
        if self.freeze and self._group is not None and self._ready():
            self._group.stop()
            self._stopped = time.time()

    def _discard(self) -> None:
        if self._group is not None:
            self._group.kill()
        self._stopped = None
        self._server.renew()

    def _wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait until ready, until the process has ended, or for so long."""
        deadline = time.monotonic() + timeout
        with self._server.changed:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0 or self.pid is None:
                    return False
                self._server.changed.wait(min(left, _POLL))
            return True

    def _environment(self) -> dict[str, str | None]:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        kind = "snap-start" if self._snap_start else "on-demand"
        many = self._concurrency > 1
        return {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.port}",
            "AWS_LAMBDA_FUNCTION_NAME": "ctxkit",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances" if many else kind,
            "AWS_LAMBDA_MAX_CONCURRENCY": str(self._concurrency) if many else None,
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
