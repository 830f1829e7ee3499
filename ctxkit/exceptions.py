"""Every error that ctxkit raises on its own account.

All of them derive from :class:`CtxkitError` and from the builtin that a caller would
catch anyway. Constructors take data and word the sentence themselves: what happened,
to what, and what to do about it. Every error pickles.
"""

from __future__ import annotations


class CtxkitError(Exception):
    """Catch anything that ctxkit raises on its own account."""

    def __reduce__(self) -> tuple[type[CtxkitError], tuple[object, ...]]:
        """Rebuild the error from its data, not from its sentence."""
        return (type(self), self._data())

    def _data(self) -> tuple[object, ...]:
        return self.args


class ConfigurationError(CtxkitError, ValueError):
    """Report a setting, key, header or sink that cannot be used.

    Args:
        setting: The name the user wrote, as they wrote it: ``CTXKIT["FLUSH_MODE"]``,
            ``CTXKIT_FLUSH_MODE``, ``timeout=``.
        problem: What is wrong with it, including the value.
        fix: What to write instead, as an imperative sentence.
    """

    def __init__(self, setting: str, problem: str, fix: str) -> None:
        super().__init__(f"{setting} {problem}. {fix}")
        self.setting = setting
        self.problem = problem
        self.fix = fix

    def _data(self) -> tuple[object, ...]:
        return (self.setting, self.problem, self.fix)


class MissingDependencyError(CtxkitError, ImportError):
    """Report an optional package that is needed and not installed.

    Args:
        package: The distribution that is missing.
        extra: The extra of ``django-ctxkit`` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed. Run: python -m pip install 'django-ctxkit[{extra}]'"
        )
        self.package = package
        self.extra = extra

    def _data(self) -> tuple[object, ...]:
        return (self.package, self.extra)


class KeyNotBoundError(CtxkitError, LookupError):
    """Report a key that the current frame does not hold and that has no default.

    Args:
        name: The name of the key.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not bound in the current frame. "
            f"Bind it with ctxkit.bind({name}=...), or read it with a default."
        )
        self.name = name

    def _data(self) -> tuple[object, ...]:
        return (self.name,)


class AdoptionError(CtxkitError, TypeError):
    """Report an object that :func:`ctxkit.adopt` cannot replace.

    Args:
        module: The module that was named.
        name: The attribute that was named.
        problem: Why it cannot be adopted.
    """

    def __init__(self, module: str, name: str, problem: str) -> None:
        super().__init__(
            f"adopt({module!r}, {name!r}): {problem}. Name a threading.local instance, "
            "or a subclass of threading.local, that lives at the top of a module."
        )
        self.module = module
        self.name = name
        self.problem = problem

    def _data(self) -> tuple[object, ...]:
        return (self.module, self.name, self.problem)


class HostError(CtxkitError, RuntimeError):
    """Report a server process of the testing kit that did not start, or did not live.

    Args:
        command: The command that was run, as one line.
        problem: What happened to it.
        output: The end of what it printed.
    """

    def __init__(self, command: str, problem: str, output: str) -> None:
        said = f" It printed:\n{output.rstrip()}" if output.strip() else " It printed nothing."
        super().__init__(f"{command}: {problem}.{said}")
        self.command = command
        self.problem = problem
        self.output = output

    def _data(self) -> tuple[object, ...]:
        return (self.command, self.problem, self.output)


class FunctionNotFound(CtxkitError, LookupError):
    """Report a name under which there is no function.

    Args:
        name: The name that was asked for, ``"package.module:name"``.
        problem: Why there is none.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"There is no function {name!r}: {problem}. "
            'Name it "package.module:name", and put @ctxkit.function on it.'
        )
        self.name = name
        self.problem = problem

    def _data(self) -> tuple[object, ...]:
        return (self.name, self.problem)


class InvalidTarget(CtxkitError, ValueError):
    """Report what is not the name of a function, nor a function.

    Args:
        target: What was given.
    """

    def __init__(self, target: object) -> None:
        shown = target if isinstance(target, str) else repr(target)
        super().__init__(
            f'{shown!r} cannot be called. Give a function, or its name: "package.module:name".'
        )
        self.target = shown

    def _data(self) -> tuple[object, ...]:
        return (self.target,)


class DuplicateName(CtxkitError, ValueError):
    """Report a second thing under a name that has to be the only one.

    Args:
        kind: What it is: ``"function"``, ``"pool"``, ``"interceptor"``, ``"binding"``.
        name: The name.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"There is a {kind} {name!r} already. Give this one another name.")
        self.kind = kind
        self.name = name

    def _data(self) -> tuple[object, ...]:
        return (self.kind, self.name)


class MissingContext(CtxkitError, LookupError):
    """Report values that a function requires and that its caller's frame does not hold.

    Args:
        function: The name of the function.
        missing: The names of all that are missing.
    """

    def __init__(self, function: str, missing: str | tuple[str, ...]) -> None:
        names = (missing,) if isinstance(missing, str) else missing
        super().__init__(
            f"{function} requires what is not bound in the current frame: {', '.join(names)}. "
            "Bind it around the call, or give it with using()."
        )
        self.function = function
        self.missing: tuple[str, ...] = names

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.missing)


class FrameClosed(CtxkitError, RuntimeError):
    """Report something that was asked of a frame whose call or request is over.

    Args:
        action: What was asked: ``"defer"``, ``"start"``.
    """

    def __init__(self, action: str) -> None:
        super().__init__(
            f"Cannot {action}: the call or request that opened this frame is over. "
            "Await what it starts before it returns, or spawn what is to outlive it."
        )
        self.action = action

    def _data(self) -> tuple[object, ...]:
        return (self.action,)


class DeadlineExceeded(CtxkitError, TimeoutError):
    """Report a call whose time was over.

    Args:
        function: Whose time it was: the function that the deadline was set for.
        timeout: The seconds it was allowed; None where a host has set the deadline.
    """

    retryable = False
    http_status = 504

    def __init__(self, function: str, timeout: float | None = None) -> None:
        allowed = "" if timeout is None else f" of {timeout} s"
        super().__init__(f"The time{allowed} for {function} is over.")
        self.function = function
        self.timeout = timeout

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.timeout)


class Cancelled(CtxkitError, RuntimeError):
    """Report, in synchronous code, that its caller does not wait for it any more.

    Coroutines get :class:`asyncio.CancelledError` instead.

    Args:
        function: The function that was cancelled.
    """

    retryable = False

    def __init__(self, function: str) -> None:
        super().__init__(f"{function} was cancelled by its caller.")
        self.function = function

    def _data(self) -> tuple[object, ...]:
        return (self.function,)


class PermissionDenied(CtxkitError, PermissionError):
    """Report a call that the caller's actor, or its scope, does not allow.

    The actor is not named: errors are sent to third parties.

    Args:
        function: The function that was called.
        permission: The permission it asks for.
        reason: Why it was denied.
    """

    retryable = False
    http_status = 403

    def __init__(self, function: str, permission: str, reason: str) -> None:
        super().__init__(f"{function} asks for the permission {permission!r}: {reason}.")
        self.function = function
        self.permission = permission
        self.reason = reason

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.permission, self.reason)


class PoolFull(CtxkitError, RuntimeError):
    """Report a pool that has neither a free place nor room to wait.

    Args:
        pool: The name of the pool.
        waiting: How many wait already.
    """

    retryable = True
    http_status = 503

    def __init__(self, pool: str, waiting: int) -> None:
        super().__init__(
            f"The pool {pool!r} is full: {waiting} wait already. Try again later, or give it "
            "more workers or a larger buffer."
        )
        self.pool = pool
        self.waiting = waiting

    def _data(self) -> tuple[object, ...]:
        return (self.pool, self.waiting)


class PoolClosed(CtxkitError, RuntimeError):
    """Report a pool that takes no more work.

    Args:
        pool: The name of the pool.
    """

    retryable = False

    def __init__(self, pool: str) -> None:
        super().__init__(f"The pool {pool!r} was closed. Close it after its last use.")
        self.pool = pool

    def _data(self) -> tuple[object, ...]:
        return (self.pool,)


class CircuitOpen(CtxkitError, RuntimeError):
    """Report a function that is given a rest, since it has failed too often in a row.

    Args:
        function: The function that was not called.
        retry_after: The seconds until somebody may try.
    """

    retryable = True
    http_status = 503

    def __init__(self, function: str, retry_after: float) -> None:
        super().__init__(
            f"{function} has failed too often, and is not called. "
            f"Try again after {retry_after} seconds."
        )
        self.function = function
        self.retry_after = retry_after

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.retry_after)


class ContractViolation(CtxkitError, ValueError):
    """Report arguments or a result that are not what the contract says.

    Args:
        function: The function that was called.
        side: ``"input"`` for arguments, ``"output"`` for the result.
        errors: What is wrong, one sentence each, without the values.
    """

    retryable = False

    def __init__(self, function: str, side: str, errors: str | tuple[str, ...]) -> None:
        told = (errors,) if isinstance(errors, str) else errors
        super().__init__(f"The {side} of {function} breaks its contract: {'; '.join(told)}.")
        self.function = function
        self.side = side
        self.errors: tuple[str, ...] = told

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.side, self.errors)


class ContractMismatch(CtxkitError, TypeError):
    """Report an implementation that does not do what its protocol asks for.

    Args:
        contract: The name of the protocol.
        implementation: The name of the class, or of the function, that was given.
        problems: What is missing or differs, one part of a sentence each.
    """

    def __init__(self, contract: str, implementation: str, problems: str | tuple[str, ...]) -> None:
        told = (problems,) if isinstance(problems, str) else problems
        super().__init__(
            f"{implementation} does not implement {contract}: {'; '.join(told)}. "
            "Have it take every call that the protocol allows."
        )
        self.contract = contract
        self.implementation = implementation
        self.problems: tuple[str, ...] = told

    def _data(self) -> tuple[object, ...]:
        return (self.contract, self.implementation, self.problems)


class BindingNotFound(CtxkitError, LookupError):
    """Report a contract that nothing is provided for.

    Args:
        contract: The name of the protocol.
        name: The name of the binding; empty for the default one.
    """

    def __init__(self, contract: str, name: str = "") -> None:
        which = f" named {name!r}" if name else ""
        super().__init__(
            f"Nothing{which} is provided for {contract}. "
            f"Call ctxkit.provide({contract}, ...) before ctxkit.use({contract})."
        )
        self.contract = contract
        self.name = name

    def _data(self) -> tuple[object, ...]:
        return (self.contract, self.name)


class EngineUnavailable(CtxkitError, RuntimeError):
    """Report an engine that cannot run here what is spawned.

    Args:
        function: The function that was spawned.
        engine: The name of the engine.
        host: What runs this process.
    """

    retryable = False

    def __init__(self, function: str, engine: str, host: str) -> None:
        super().__init__(
            f"{function} cannot be spawned on the {engine!r} engine: the host {host!r} stops "
            "this process between requests, and would run it late, in the midst of another "
            "request, or never. Choose an engine with a broker: set up Celery, dramatiq or "
            "Django's tasks, and call ctxkit.functions.set_engine()."
        )
        self.function = function
        self.engine = engine
        self.host = host

    def _data(self) -> tuple[object, ...]:
        return (self.function, self.engine, self.host)
