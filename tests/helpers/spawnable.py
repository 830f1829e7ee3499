"""Functions to spawn, by whatever engine."""

from __future__ import annotations

import asyncio
from typing import Any

import ctxkit

TENANT = ctxkit.Key[str]("spawned_tenant", hops={"thread", "wire"})

#: What they saw, where they run in this process.
SEEN: list[tuple[Any, ...]] = []


def _note(*args: Any) -> str:
    SEEN.append((TENANT.get(None), ctxkit.current().root.get("invocation"), *args))
    return f"{TENANT.get(None)} {args}"


@ctxkit.function
def confirm(order: int, *, colour: str = "red") -> str:
    return _note(order, colour)


@ctxkit.function
async def aconfirm(order: int) -> str:
    await asyncio.sleep(0)
    return _note(order)


@ctxkit.function
def give_what_json_does_not_know() -> object:
    return object()


@ctxkit.function
def refuse() -> None:
    _note()
    raise ctxkit.PermissionDenied("ada", "refuse", None)
