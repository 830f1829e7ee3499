"""The task that runs what was spawned. Importable where Django has tasks, which it needs."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from django.tasks import task

from ctxkit.django.tasks import cross_spawned, crosses
from ctxkit.functions import call_sent


@task
@crosses
def run_spawned(name: str, args: list[Any], kwargs: dict[str, Any], **carried: Any) -> Any:
    """Call a function of ctxkit by its name.

    Returns:
        Its result; None where JSON does not know that: it would make the task a failure.
    """
    result = cross_spawned(name, carried, partial(call_sent, name, *args, **kwargs))
    try:
        json.dumps(result)
    except (TypeError, ValueError):
        return None
    return result
