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
