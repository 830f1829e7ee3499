"""Contracts: protocols as typed keys, what is provided for them, and what may cross.

Every name is imported at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.functions.contracts.describing import describe as describe
    from ctxkit.functions.contracts.providing import provide as provide
    from ctxkit.functions.contracts.providing import provided as provided
    from ctxkit.functions.contracts.providing import use as use
    from ctxkit.functions.contracts.providing import withdraw as withdraw
    from ctxkit.functions.contracts.validating import schema_of as schema_of
    from ctxkit.functions.contracts.validating import validate as validate
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "describing": ("describe",),
            "providing": ("provide", "provided", "use", "withdraw"),
            "validating": ("schema_of", "validate"),
        },
    )
