"""The AWS Lambda room: when the flush happens there, and what else Lambda wants.

Every name is imported at first use. On Lambda a boundary, be it the decorator or a
middleware, opens this room by itself; elsewhere nothing does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.aws_lambda.installing import install as install
    from ctxkit.aws_lambda.installing import uninstall as uninstall
    from ctxkit.aws_lambda.modes import LambdaMode as LambdaMode
else:
    from ctxkit._lazy import open_lazily

    open_lazily(globals(), {"installing": ("install", "uninstall"), "modes": ("LambdaMode",)})
