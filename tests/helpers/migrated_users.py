"""An authentication backend whose users are in no database, but behave as if they were."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.utils.asyncio import async_unsafe
from helpers.migrated import user


class Backend(BaseBackend):
    @async_unsafe("no database on the event loop")  # type: ignore[untyped-decorator]
    def get_user(self, user_id: Any) -> Any:
        return user(str(user_id))
