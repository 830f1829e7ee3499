"""A pytest plugin: what runs, runs with ``ctxkit.install()``."""

from __future__ import annotations

import ctxkit

ctxkit.install()
