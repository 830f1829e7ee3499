from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

if importlib.util.find_spec("django") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from helpers.django_site_unit import configure

    configure()


@pytest.fixture(autouse=True)
def project() -> Iterator[None]:
    from django.test import override_settings  # noqa: PLC0415 - absent without the extra
    from helpers import django_site_unit  # noqa: PLC0415

    with override_settings(
        ROOT_URLCONF=django_site_unit.__name__,
        MIDDLEWARE=django_site_unit.MIDDLEWARE,
        ALLOWED_HOSTS=["*"],
        CTXKIT={},
    ):
        yield
