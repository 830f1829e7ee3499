"""The error tree: one root, a builtin beside it, data that survives a pickle."""

from __future__ import annotations

import inspect
import pickle

import pytest

from ctxkit import exceptions
from ctxkit.exceptions import CtxkitError

ERRORS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, CtxkitError) and value is not CtxkitError
]


def _made(error: type[CtxkitError]) -> CtxkitError:
    parameters = inspect.signature(error).parameters
    return error(*(f"<{name}>" for name in parameters))


@pytest.mark.parametrize("error", ERRORS)
def test_error_derives_from_the_root_and_from_a_builtin(error: type[CtxkitError]) -> None:
    builtin = [base for base in error.__mro__ if base.__module__ == "builtins"]
    assert issubclass(error, CtxkitError)
    assert builtin[0] not in {Exception, BaseException, object}


@pytest.mark.parametrize("error", ERRORS)
def test_error_says_its_data_and_survives_a_pickle(error: type[CtxkitError]) -> None:
    made = _made(error)
    copied = pickle.loads(pickle.dumps(made))
    assert type(copied) is error
    assert str(copied) == str(made)
    assert vars(copied) == vars(made)
    assert all(f"<{name}>" in str(made) for name in inspect.signature(error).parameters)
