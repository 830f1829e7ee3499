"""A package from before contextvars: its state is a threading.local."""

from __future__ import annotations

import threading

state = threading.local()
