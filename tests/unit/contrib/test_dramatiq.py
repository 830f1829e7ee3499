from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any

import pytest

import ctxkit
from ctxkit.boundary.keys import REQUEST_ID

dramatiq = pytest.importorskip("dramatiq")
