"""Which of the shops on this server a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from shop.context import ctxkit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase


def current_tenant() -> str:
    """Return the tenant of the current request, however deep in the code we are."""
    return str(ctxkit.get("tenant", "main"))


class TenantMiddleware:
    """Bind the tenant that ``X-Tenant`` names."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Run the rest of the request for its tenant."""
        if self.is_async:
            return self.__acall__(request)
        with ctxkit.bind(tenant=request.headers.get("X-Tenant", "main")):
            return self.get_response(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same under ASGI."""
        with ctxkit.bind(tenant=request.headers.get("X-Tenant", "main")):
            return await self.get_response(request)
