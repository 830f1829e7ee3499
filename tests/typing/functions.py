"""What mypy and pyright make of functions: not run, only read.

An ignored error is one that has to be found: an ignore that is not needed is an error, too.
"""

from __future__ import annotations

from typing import assert_type

import ctxkit


@ctxkit.function
def price(order: int, *, rush: bool = False) -> str:
    return f"{order} {rush}"


@ctxkit.function(timeout=1.0, retry=3)
async def aprice(order: int) -> str:
    return f"{order}"


class Shop:
    @ctxkit.function
    def total(self, order: int) -> int:
        return order

    @staticmethod
    @ctxkit.function
    def tax(order: int) -> int:
        return order


assert_type(price(1, rush=True), str)
assert_type(price.using({"tenant": "acme"}, timeout=1)(2), str)
assert_type(Shop().total(1), int)
assert_type(Shop.total(Shop(), 1), int)
assert_type(Shop.tax(1), int)
price("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
price.using()(1, late=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def main() -> None:
    assert_type(await aprice(1), str)
    assert_type(await aprice.using()(1), str)
