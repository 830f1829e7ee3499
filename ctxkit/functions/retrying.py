"""Which errors of a function are met with another attempt, and after which pause."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._named_errors import read_errors
from ctxkit.functions._reading import Place, dotted, entries
from ctxkit.functions._retry_arguments import NAMES, problems
from ctxkit.functions.durations import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Retryable: TypeAlias = (
        type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool | float | None]
    )

_DELAYS = ("initial_delay", "max_delay")
_BY_DEFAULT = (ConnectionError, TimeoutError)


@final
class Retry:
    """Say how often a function is tried, after which pauses, and on which errors. Immutable.

    The pause after the first attempt is ``initial_delay``; each further one is
    ``backoff_factor`` times as long, up to ``max_delay``; and each is then stretched or cut at
    random by up to the share ``jitter``.

    What is no :class:`Exception` is never retried, nor is an error whose attribute ``retryable``
    is False, whatever ``on`` says. A cancelled call, a deadline that has passed, a permission
    that was denied and a contract that was broken are among those.

    Args:
        max_attempts: How often in all; 1 is once.
        initial_delay: Seconds from the end of the first attempt to the second.
        backoff_factor: 1 or more.
        max_delay: Seconds, at least ``initial_delay``.
        jitter: From 0 for none to 1 for anything from no pause to twice as long.
        on: A class of errors, or a tuple of such; or a function that is given the error and
            returns True for the pause above, seconds for a pause of that length, which
            ``max_delay`` does not cut, and False or None to give up. None means
            :class:`ConnectionError`, :class:`TimeoutError`, and errors whose attribute
            ``retryable`` is True. Anything else takes the place of those.

    Raises:
        ConfigurationError: One of them cannot be used.
    """

    __slots__ = NAMES

    max_attempts: int
    initial_delay: float
    backoff_factor: float
    max_delay: float
    jitter: float
    on: Retryable | None

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        max_attempts: int = 3,
        *,
        initial_delay: float = 0.1,
        backoff_factor: float = 2.0,
        max_delay: float = 10.0,
        jitter: float = 0.1,
        on: Retryable | None = None,
    ) -> None:
        values = (max_attempts, initial_delay, backoff_factor, max_delay, jitter, on)
        given: dict[str, object] = dict(zip(NAMES, values, strict=True))
        for problem in problems(Place("Retry", _argument), given):
            raise problem
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, value: object, setting: str = "retry") -> Retry:
        """Return the policy that ``value`` stands for.

        Args:
            value: A policy; a number of attempts; or what a configuration holds: a mapping with
                the names of the arguments, durations with their units, and errors by name, such
                as ``"ConnectionError"`` or ``"package.module:Error"``.
            setting: What the user calls it, for the error.

        Raises:
            ConfigurationError: The first thing that is wrong with it.
        """
        found: list[ConfigurationError] = []
        retry = read_retry(Place(setting, dotted), value, found)
        if retry is None:
            raise found[0]
        return retry

    def delays(self) -> Iterator[float]:
        """Yield the pauses that there are at most, in seconds, before jitter."""
        return map(self._delay, range(1, self.max_attempts))

    def pause(self, attempt: int, random: Callable[[], float] | None = None) -> float:
        """Return the seconds between an attempt and the next one.

        Args:
            attempt: Which one failed; the first is 1.
            random: Returns numbers from 0 to 1, in the place of :func:`random.random`.
        """
        delay = self._delay(attempt)
        if not self.jitter:
            return delay
        chance = (random or _chance)()
        return delay * (1.0 + self.jitter * (2.0 * chance - 1.0))

    def is_retryable(self, error: BaseException) -> bool:
        """Tell whether an error is one to try again after, attempts permitting.

        Raises:
            ConfigurationError: ``on`` has returned what is no answer.
        """
        return self._verdict(error) is not None

    def pause_after(
        self, error: BaseException, attempt: int, random: Callable[[], float] | None = None
    ) -> float | None:
        """Return the seconds to wait after an attempt failed, or None to give up.

        Args:
            error: What it failed with.
            attempt: Which one it was; the first is 1.
            random: As for :meth:`pause`.

        Raises:
            ConfigurationError: ``on`` has returned what is no answer.
        """
        verdict = self._verdict(error) if attempt < self.max_attempts else None
        return self.pause(attempt, random) if verdict is True else verdict

    def _delay(self, attempt: int) -> float:
        try:
            return min(self.max_delay, self.initial_delay * self.backoff_factor ** (attempt - 1))
        except OverflowError:  # the float; a delay of nothing stays nothing
            return self.max_delay if self.initial_delay else 0.0

    def _verdict(self, error: BaseException) -> bool | float | None:
        """Return True for the usual pause, the seconds of another one, or None to give up."""
        marked: object = getattr(error, "retryable", None)
        if not isinstance(error, Exception) or marked is False:
            return None
        on = self.on
        if on is None:
            return True if marked is True or isinstance(error, _BY_DEFAULT) else None
        if isinstance(on, (type, tuple)):
            return True if isinstance(error, on) else None
        answer = cast("object", on(error))
        if answer is None or isinstance(answer, bool):
            return answer or None
        if isinstance(answer, (int, float)) and isfinite(answer) and answer >= 0:
            return float(answer)
        raise ConfigurationError(
            "Retry(on=)",
            f"has returned {answer!r} for an error of class {type(error).__qualname__}",
            "Return True, False, or the seconds to wait.",
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Retry is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Retry is immutable: cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Retry) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        pairs = zip(NAMES, self._values(), strict=True)
        return f"Retry({', '.join(f'{name}={value!r}' for name, value in pairs)})"

    def __reduce__(self) -> tuple[Callable[..., Retry], tuple[object, ...]]:
        return _remade, self._values()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in NAMES)


def _remade(*values: Any) -> Retry:
    return Retry(**dict(zip(NAMES, values, strict=True)))


def _chance() -> float:
    from random import random  # noqa: PLC0415 - some twenty modules, for retries alone

    return random()  # noqa: S311 - nobody is to be kept from guessing a pause


def read_retry(place: Place, value: object, found: list[ConfigurationError]) -> Retry | None:
    """Return the policy that ``value`` stands for, or None and note everything that is wrong.

    Args:
        place: Where it stands.
        value: As for :meth:`Retry.of`.
        found: Where to note it.
    """
    if isinstance(value, Retry):
        return value
    mistakes: list[ConfigurationError] = []
    given: dict[str, object] = {}
    if isinstance(value, Mapping):
        table = cast("Mapping[object, object]", value)
        for name, where, each in entries(place, table, mistakes, NAMES):
            try:
                given[name] = _read_field(name, where, each)
            except ConfigurationError as error:
                mistakes.append(error)
        mistakes += problems(place, given)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        given["max_attempts"] = value
    else:
        wanted = "a number of attempts, 1 or more, or a table"
        mistakes.append(
            place.refuse(
                f"must be {wanted}, not {value!r}",
                'Write 3, or {max_attempts = 3, initial_delay = "100ms"}.',
            )
        )
    found += mistakes
    return None if mistakes else Retry(**cast("dict[str, Any]", given))


def _read_field(name: str, place: Place, value: object) -> object:
    if name in _DELAYS:
        return duration(place.text, value)
    return read_errors(place, value) if name == "on" else value


def _argument(text: str, key: str) -> str:
    return f"{text}({key}=)"
