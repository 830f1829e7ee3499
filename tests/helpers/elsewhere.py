"""Jobs for other processes, and the keys that go there; importable from there."""

from __future__ import annotations

from contextvars import ContextVar

from ctxkit import Key, current

TENANT = Key[str]("tenant_elsewhere", hops={"thread", "process"})
SINCE = Key[int]("since_elsewhere", hops={"process"}, dump=str, load=int)
CALLBACK = Key[object]("callback_elsewhere", hops={"process"})

LEFT: ContextVar[str] = ContextVar("left", default="unset")


def look(*_: object) -> tuple[dict[str, object], str]:
    return dict(current()), LEFT.get()


def look_and_leave() -> tuple[dict[str, object], str]:
    seen = look()
    LEFT.set("left behind")
    TENANT.set("left behind")
    return seen
