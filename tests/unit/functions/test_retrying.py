from __future__ import annotations

import asyncio
import copy
import importlib
import pickle
import sys
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.exceptions import (
    Cancelled,
    ConfigurationError,
    ContractViolation,
    DeadlineExceeded,
    PermissionDenied,
    PoolFull,
)
from ctxkit.functions import Retry

if TYPE_CHECKING:
    from pathlib import Path


class MarkedError(Exception):
    def __init__(self, retryable: object) -> None:
        self.retryable = retryable


class BusyError(Exception):
    retryable = True
    http_status = 503


class RefusedError(TimeoutError):
    retryable = False


# The pauses


@pytest.mark.rule("F-33")
def test_first_pause_is_the_initial_delay_and_the_last_is_cut() -> None:
    retry = Retry(5, initial_delay=0.05, backoff_factor=2, max_delay=0.15, jitter=0)
    assert list(retry.delays()) == [0.05, 0.1, 0.15, 0.15]
    assert [retry.pause(attempt) for attempt in (1, 2, 3)] == [0.05, 0.1, 0.15]


@pytest.mark.rule("F-33")
@pytest.mark.parametrize("jitter", [0, 0.1, 0.5, 1])
def test_pause_is_off_its_delay_by_the_share_of_jitter_at_most(jitter: float) -> None:
    retry = Retry(9, initial_delay=0.05, backoff_factor=2, max_delay=0.15, jitter=jitter)
    random = Random(1).random
    for attempt, delay in enumerate([0.05, 0.1, 0.15, 0.15], 1):
        pauses = [retry.pause(attempt, random) for _ in range(100)]
        off = jitter * delay
        assert all(abs(pause - delay) <= off + 1e-12 for pause in pauses)
        assert max(pauses) - min(pauses) >= off  # of twice that much


def test_pause_takes_its_chance_from_both_ends() -> None:
    retry = Retry(initial_delay=0.1, jitter=0.5)
    assert retry.pause(1, lambda: 0.0) == pytest.approx(0.05)
    assert retry.pause(1, lambda: 1.0) == pytest.approx(0.15)
    assert len({retry.pause(1) for _ in range(20)}) > 1


def test_pause_after_very_many_attempts_is_the_longest_one() -> None:
    assert Retry(jitter=0).pause(100_000) == 10.0
    assert Retry(jitter=0, initial_delay=0).pause(100_000) == 0.0
    assert len(list(islice(Retry(10**12).delays(), 3))) == 3


@pytest.mark.rule("F-30")
def test_policy_allows_as_many_attempts_as_it_says() -> None:
    retry = Retry(3, jitter=0)
    pauses = [retry.pause_after(ConnectionError(), attempt) for attempt in (1, 2, 3, 4)]
    assert pauses == [0.1, 0.2, None, None]
    assert Retry(1).pause_after(ConnectionError(), 1) is None
    assert list(Retry(1).delays()) == []


# The errors


@pytest.mark.rule("F-32")
@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ConnectionError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (BusyError(), True),
        (PoolFull("db", 3), True),
        (MarkedError(retryable=True), True),
        (MarkedError(retryable=1), False),
        (MarkedError(retryable=None), False),
        (OSError(), False),
        (ValueError(), False),
        (Exception(), False),
    ],
)
def test_error_is_retried_by_default_if_it_passes_by_itself(
    error: Exception, *, retried: bool
) -> None:
    assert Retry().is_retryable(error) is retried


@pytest.mark.rule("F-31")
@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
        BaseExceptionGroup("several", [KeyboardInterrupt()]),
        RefusedError(),
        DeadlineExceeded("shop:charge", 1.0),
        Cancelled("shop:charge"),
        PermissionDenied("shop:charge", "shop.charge", "nobody"),
        ContractViolation("shop:charge", "output", "it is not a price"),
        MarkedError(retryable=False),
    ],
)
@pytest.mark.parametrize("on", [None, Exception, lambda _: True, lambda _: 0.5])
def test_error_that_is_never_retried_is_not_even_asked_about(error: BaseException, on: Any) -> None:
    assert Retry(on=on).is_retryable(error) is False
    assert Retry(on=on).pause_after(error, 1) is None


def test_classes_take_the_place_of_the_default() -> None:
    assert Retry(on=LookupError).is_retryable(KeyError())
    assert Retry(on=(LookupError, ValueError)).is_retryable(UnicodeError())
    assert not Retry(on=LookupError).is_retryable(ConnectionError())
    assert not Retry(on=LookupError).is_retryable(BusyError())


@pytest.mark.rule("F-33")
def test_function_decides_about_the_pause() -> None:
    answers: dict[type[Exception], Any] = {KeyError: True, ValueError: 42.5, OSError: 0}
    retry = Retry(on=lambda error: answers.get(type(error)), jitter=0)
    assert retry.pause_after(KeyError(), 2) == 0.2
    assert retry.pause_after(ValueError(), 2) == 42.5
    assert retry.pause_after(OSError(), 2) == 0.0
    assert retry.pause_after(TypeError(), 2) is None
    assert Retry(on=lambda _: False).pause_after(ConnectionError(), 1) is None


@pytest.mark.parametrize("answer", ["yes", -1.0, float("nan"), float("inf"), object()])
def test_function_whose_answer_is_none_is_told_so(answer: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Retry\(on=\) has returned .* KeyError"
    ) as caught:
        Retry(on=lambda _: answer).is_retryable(KeyError("s3cret"))
    assert "s3cret" not in str(caught.value)


# The value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_attempts", value) for value in (0, -1, 2.0, True, "3", None)),
        *(("initial_delay", value) for value in (-0.1, float("inf"), float("nan"), "1s", False)),
        *(("backoff_factor", value) for value in (0.9, float("inf"), "2", None)),
        *(("max_delay", value) for value in (-1, float("nan"), "10s", None)),
        *(("jitter", value) for value in (-0.1, 1.1, float("nan"), "0.1", True)),
        *(("on", value) for value in ("KeyError", KeyError(), int, KeyboardInterrupt, (), (int,))),
        ("on", (KeyError, lambda _: True)),
        ("on", asyncio.CancelledError),
    ],
)
def test_argument_that_cannot_be_used_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Retry(**{name: value})
    assert caught.value.setting == f"Retry({name}=)"
    assert repr(value) in caught.value.problem


def test_longest_pause_is_no_shorter_than_the_first() -> None:
    with pytest.raises(ConfigurationError, match=r"Retry\(max_delay=\) is 10.0 seconds, and the f"):
        Retry(initial_delay=30.0)
    assert list(Retry(2, initial_delay=30.0, max_delay=30.0).delays()) == [30.0]


def test_policy_is_a_value() -> None:
    retry = Retry(4, on=KeyError)
    assert retry == Retry(4, on=KeyError) != Retry(4)
    assert hash(retry) == hash(Retry(4, on=KeyError))
    assert retry != 4
    assert pickle.loads(pickle.dumps(retry)) == copy.deepcopy(retry) == retry
    assert repr(Retry()) == (
        "Retry(max_attempts=3, initial_delay=0.1, backoff_factor=2.0, max_delay=10.0, "
        "jitter=0.1, on=None)"
    )


def test_policy_is_immutable() -> None:
    retry = Retry()
    with pytest.raises(AttributeError, match="immutable: cannot set max_attempts"):
        retry.max_attempts = 5
    with pytest.raises(AttributeError, match="immutable: cannot delete jitter"):
        del retry.jitter
    with pytest.raises(AttributeError):
        retry.other = 1  # type: ignore[attr-defined]


# What a configuration holds


def test_policy_of_a_policy_or_a_number_or_a_table() -> None:
    retry = Retry(4)
    assert Retry.of(retry) is retry
    assert Retry.of(5) == Retry(5)
    assert Retry.of({}) == Retry()
    assert Retry.of({"max_attempts": 5, "initial_delay": "50ms", "max_delay": "1m"}) == Retry(
        5, initial_delay=0.05, max_delay=60.0
    )


@pytest.mark.parametrize("value", [None, True, "3", 3.0, [3], 0, -1])
def test_policy_of_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="must be a number of attempts, 1 or more, or"):
        Retry.of(value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"max_attempt": 3}, "retry.max_attempt is not known. Did you mean max_attempts?"),
        ({"tries": 3}, "retry.tries is not known. Known are max_attempts, "),
        ({7: 3}, "retry.7 is not a text"),
        ({"max_attempts": "3"}, "retry.max_attempts must be a whole number, 1 or more, not '3'"),
        ({"jitter": 2}, "retry.jitter must be a number from 0 to 1, not 2"),
        ({"initial_delay": "20s"}, "retry.max_delay is 10.0 seconds, and the first pause"),
        ({"on": "Eror"}, "retry.on names 'Eror', which is no class of errors"),
        ({"on": []}, "retry.on must name an error"),
        ({"on": [KeyError]}, "retry.on must be names of errors"),
        ({"on": ":Error"}, "retry.on must be names of errors"),
        ({"on": "pickle:Unpickler"}, "retry.on names 'pickle:Unpickler', which is no class"),
        ({"on": "int"}, "retry.on names 'int', which is no class of errors"),
    ],
)
def test_mistake_in_a_table_is_named_by_its_place(table: object, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Retry.of(table)
    assert str(caught.value).startswith(said)


@pytest.mark.rule("F-37")
@pytest.mark.parametrize("delay", ["initial_delay", "max_delay"])
@pytest.mark.parametrize("value", [100, 0.1, "100"])
def test_delay_of_a_table_needs_its_unit(delay: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"functions.x.{delay} must have a unit"):
        Retry.of({delay: value}, setting="functions.x")


def test_errors_of_a_table_are_compared_by_name() -> None:
    names = ["LookupError", f"{__name__}:BusyError", "nowhere.to_be.found:Error"]
    retry = Retry.of({"on": names})
    assert retry.is_retryable(KeyError())
    assert retry.is_retryable(BusyError())
    assert not retry.is_retryable(ConnectionError())
    assert retry == Retry.of({"on": tuple(names)}) != Retry.of({"on": "LookupError"})
    assert hash(retry) == hash(copy.deepcopy(retry))
    assert names[-1] in repr(retry)


class Outer:
    class InnerError(Exception):
        pass


def test_error_of_a_table_may_be_a_class_within_a_class() -> None:
    retry = Retry.of({"on": f"{__name__}:Outer.InnerError"})
    assert retry.is_retryable(Outer.InnerError())
    with pytest.raises(ConfigurationError, match="which is no class of errors"):
        Retry.of({"on": f"{__name__}:Outer.OtherError"})


def test_error_of_a_table_may_be_of_a_module_that_is_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "import ctxkit", 'RETRY = ctxkit.Retry.of({"on": "late_errors:LateError"})'
    text = "\n".join((*lines, "class LateError(Exception): pass\n"))
    (tmp_path / "late_errors.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    late: Any = importlib.import_module("late_errors")
    monkeypatch.delitem(sys.modules, "late_errors", raising=False)
    assert not late.RETRY.is_retryable(late.LateError())
    monkeypatch.setitem(sys.modules, "late_errors", late)
    assert late.RETRY.is_retryable(late.LateError())
