"""What mypy and pyright make of contracts: not run, only read."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, Protocol, assert_type

import ctxkit
from ctxkit.functions import schema_of


class Payments(Protocol):
    def charge(self, order: int, *, rush: bool = False) -> str: ...

    async def refund(self, order: int) -> int: ...


class Stripe:
    def charge(self, order: int, *, rush: bool = False) -> str:
        return f"{order} {rush}"

    async def refund(self, order: int) -> int:
        return order


ctxkit.provide(Payments, Stripe(), name="stripe", default=True, requires=["tenant"], timeout=2.0)

payments = ctxkit.use(Payments)
assert_type(payments, Payments)
assert_type(ctxkit.use(Payments, "stripe", tenant="acme"), Payments)
assert_type(payments.charge(7, rush=True), str)
payments.charge("7")  # type: ignore[arg-type]
payments.close()  # type: ignore[attr-defined]


async def refund() -> None:
    assert_type(await ctxkit.use(Payments).refund(7), int)


with ctxkit.bind(ctxkit.provided(Payments, Stripe(), validate=True), tenant="acme"):
    pass


@ctxkit.function(validate=True)
def price(order: int) -> float:
    return float(order)


assert_type(price.using(ctxkit.provided(Payments, Stripe()))(7), float)
schema: dict[str, Any] = schema_of(price)
described: dict[str, Any] = schema_of(Payments)
