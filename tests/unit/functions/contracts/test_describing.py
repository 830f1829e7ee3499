"""The page about functions and contracts."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ctxkit import cli

if TYPE_CHECKING:
    from pathlib import Path

_SHOP = '''
"""Functions of a shop, for a page about them."""

from typing import Any, Protocol, overload

import ctxkit

REGION = ctxkit.Key[str]("region")
NOTHING = object()


@ctxkit.interceptor(name="shop.timing")
def timing(call):
    return (yield call)


@ctxkit.function(name="shop:quote", requires=["tenant", REGION], interceptors=[timing])
async def quote(order: "int", hint: Any = NOTHING, *, rush: bool = False) -> "dict[str, int]":
    """Quote a price.

    It is never the last word.
    """
    return {}


class Till:
    @ctxkit.function
    def open(self, drawer):
        pass


class Payments(Protocol):
    """Take money."""

    def charge(self, order: int, rush: bool = ...) -> str:
        """Charge an order."""

    @overload
    def find(self, key: int) -> int: ...
    @overload
    def find(self, key: str) -> str: ...


class Unused(Protocol):
    def look(self) -> None: ...


class Stripe:
    def __repr__(self):
        return "secret"

    def charge(self, order, rush=True):
        return "paid"

    def find(self, key):
        return key


ctxkit.provide(Payments, Stripe(), name="stripe", default=True, requires=["tenant"])
ctxkit.provide(Payments, Stripe(), name="other")
ctxkit.provided(Unused, {"look": lambda: None})
'''

_PAGE = """\
# Functions

## `shop:quote`

```python
async def quote(order: int, hint: Any = ..., *, rush: bool = False) -> dict[str, int]: ...
```

Quote a price.

It is never the last word.

- requires: `tenant`, `region`
- interceptors: `shop.timing`

## `shop_functions:Till.open`

```python
def open(drawer): ...
```

# Contracts

## `shop_functions:Payments`

Take money.

### `charge`

```python
def charge(order: int, rush: bool = ...) -> str: ...
```

Charge an order.

### `find`

```python
def find(key: int) -> int: ...
```

```python
def find(key: str) -> str: ...
```

### Provided

- `other`: `shop_functions:Stripe`
- `stripe`, the default: `shop_functions:Stripe` (requires: `tenant`)

## `shop_functions:Unused`

### `look`

```python
def look() -> None: ...
```

Nothing is provided.
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop_functions.py").write_text(_SHOP)
    return tmp_path


def _described(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "ctxkit.cli", "describe", *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )


def test_page_tells_names_signatures_docstrings_options_and_bindings(shop: Path) -> None:
    described = _described(shop, "shop_functions")
    assert (described.stdout, described.stderr) == (_PAGE, "")


def test_page_has_schemas_where_they_are_asked_for(shop: Path) -> None:
    pytest.importorskip("pydantic")
    described = _described(shop, "--schemas", "shop_functions")
    assert described.stderr == ""
    assert described.stdout.count("Input:\n\n```json\n{") == 5
    assert '"order": {\n      "title": "Order",\n      "type": "integer"' in described.stdout
    assert "secret" not in described.stdout


def test_module_that_is_not_there_is_an_error_that_names_it(shop: Path) -> None:
    described = _described(shop, "shop_functions", "shop_functions.more")
    assert described.returncode == 2
    assert "'shop_functions.more'" in described.stderr


def test_module_that_misses_another_fails_as_it_would_anywhere(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "shop_of_the_lost.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(str(shop))
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        cli.main(["describe", "shop_of_the_lost"])
