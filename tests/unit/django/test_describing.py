"""``manage.py describe_functions``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FUNCTIONS = '''
import ctxkit


@ctxkit.function(timeout=2.0)
def price(order: int) -> int:
    """Tell what an order costs."""
    return order
'''

_PAGE = """\
# Functions

## `shop.functions:price`

```python
def price(order: int) -> int: ...
```

Tell what an order costs.

- timeout: `2.0`
"""


def test_command_imports_the_functions_of_each_app_and_prints_the_page(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/functions.py").write_text(_FUNCTIONS)
    (tmp_path / "site_settings.py").write_text('INSTALLED_APPS = ["ctxkit.django", "shop"]\n')
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "django", "describe_functions"]
    described = subprocess.run(
        [*command, "--settings=site_settings", "--skip-checks"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (described.stdout, described.stderr) == (_PAGE, "")
