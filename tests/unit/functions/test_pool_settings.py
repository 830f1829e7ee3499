from __future__ import annotations

from typing import Any

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._pool_settings import PoolSettings
from ctxkit.functions.configuring import checked


def _settings(**fields: object) -> PoolSettings:
    return checked({"pools": {"db": fields}}).pools["db"]


@pytest.mark.rule("F-44")
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "inline"),
        ({"workers": 2}, "static"),
        ({"workers": 2, "buffer": 0}, "static"),
        ({"max_size": 5}, "lazy"),
        ({"max_size": 5, "idle_timeout": "1m"}, "lazy"),
        ({"type": "inline"}, "inline"),
        ({"type": "inline", "workers": 2}, "inline"),
        ({"type": "inline", "workers": 2, "max_size": 2}, "inline"),
        ({"type": "static"}, "static"),
        ({"type": "static", "workers": 2, "buffer": 1}, "static"),
        ({"type": "lazy", "max_size": 5}, "lazy"),
        ({"type": "adaptive"}, "adaptive"),
        ({"type": "static", "workers": 2, "max_size": 5}, "static"),
        ({"type": "lazy", "workers": 2, "max_size": 5}, "lazy"),
        ({"type": "adaptive", "workers": 2, "max_size": 5}, "adaptive"),
        ({"type": "adaptive", "max_size": 9, "min_size": 2, "initial": 3}, "adaptive"),
    ],
)
def test_kind_of_a_pool_is_its_type_or_follows_from_its_fields(fields: Any, kind: str) -> None:
    given = {name: value for name, value in fields.items() if name != "type"}
    if kind == "inline" or {"workers", "max_size"} <= given.keys():
        other = {"inline": ("workers", "max_size"), "static": ("max_size",)}
        for name in other.get(kind, ("workers",)):
            given.pop(name, None)
    if "idle_timeout" in given:
        given["idle_timeout"] = 60.0
    assert _settings(**fields) == PoolSettings(kind, given)


@pytest.mark.rule("F-44")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"workers": 2, "max_size": 5},
            (
                "pools.db has both workers and max_size, which are of different types. "
                'Leave one of them out, or write type = "static".'
            ),
        ),
        (
            {"type": "static", "max_size": 5},
            (
                "pools.db.max_size means nothing to a static pool. "
                'Leave it out, or write type = "lazy" or "adaptive".'
            ),
        ),
        ({"type": "inline", "buffer": 5}, "pools.db.buffer means nothing to an inline pool. "),
        (
            {"type": "lazy", "workers": 5, "max_size": 5, "buffer": 5},
            "pools.db.buffer means nothing to a lazy pool. ",
        ),
        (
            {"max_size": 5, "buffer": 3},
            'pools.db.buffer means nothing to a lazy pool. Leave it out, or write type = "static".',
        ),
        ({"min_size": 5}, "pools.db.min_size means nothing to an inline pool. "),
        ({"type": "adaptive", "workers": 5}, "pools.db.workers means nothing to an adaptive pool"),
        (
            {"type": "adaptive", "min_size": 17},
            "pools.db.min_size is 17, and max_size is 16. Write one that is no larger.",
        ),
        (
            {"type": "adaptive", "min_size": 2, "max_size": 4, "initial": 5},
            (
                "pools.db.initial must be from 2 to 4, min_size to max_size. Write one of these "
                "numbers, not 5."
            ),
        ),
        (
            {"type": "adaptive", "min_size": 2, "initial": 1},
            "pools.db.initial must be from 2 to",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _settings(**fields)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"typ": "lazy"}, "pools.db.typ is not known. Did you mean type?"),
        (
            {"type": "elastic"},
            "pools.db.type must be one of inline, static, lazy, adaptive, not ",
        ),
        ({"type": 3}, "pools.db.type must be one of "),
        (
            {"workers": 0},
            "pools.db.workers must be a whole number, 1 or more, not 0. W",
        ),
        ({"workers": True}, "pools.db.workers must be a whole number, 1 or more, not True."),
        ({"workers": 2.0}, "pools.db.workers must be a whole number, 1 or more, not 2.0."),
        ({"workers": "8"}, "pools.db.workers must be a whole number, 1 or more, not '8'."),
        (
            {"workers": 1, "buffer": -1},
            "pools.db.buffer must be a whole number, zero or more, not",
        ),
    ],
)
def test_field_that_cannot_be_used_is_refused(fields: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _settings(**fields)
    assert str(caught.value).startswith(said)


@pytest.mark.rule("F-37")
def test_idle_timeout_needs_its_unit() -> None:
    with pytest.raises(ConfigurationError, match=r"pools\.db\.idle_timeout must have a unit"):
        _settings(max_size=5, idle_timeout=30)
