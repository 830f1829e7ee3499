"""Interceptors around Django's requests, and the responses that stand for errors of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse

from ctxkit.boundary.intercepted import refusal_of, request_call, request_chain
from ctxkit.boundary.intercepting import CHAIN, arun, run
from ctxkit.exceptions import CtxkitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest

    from ctxkit.boundary.intercepting import Call


def answer(get_response: Callable[[HttpRequest], Any], request: HttpRequest) -> Any:
    """Return the response to a request, through the interceptors of requests.

    They are told the request as the one argument, and get its response.
    """
    chain = request_chain(request.META) if CHAIN.all else ()
    if not chain:
        return get_response(request)
    call = request_call(str(request.method), (request,), asynchronous=False)
    try:
        return run(chain, call, lambda call: get_response(*call.args))
    except CtxkitError as error:
        return _response_or_raise(error)


def aanswer(get_response: Callable[[HttpRequest], Awaitable[Any]], request: HttpRequest) -> Any:
    """Return an awaitable of what :func:`answer` returns."""
    chain = request_chain(request.META) if CHAIN.all else ()
    return _aanswer(chain, get_response, request) if chain else get_response(request)


async def _aanswer(
    chain: Any, get_response: Callable[[HttpRequest], Awaitable[Any]], request: HttpRequest
) -> Any:
    async def body(call: Call) -> Any:
        return await get_response(*call.args)

    call = request_call(str(request.method), (request,), asynchronous=True)
    try:
        return await arun(chain, call, body)
    except CtxkitError as error:
        return _response_or_raise(error)


def response_to(error: Exception) -> HttpResponse | None:
    """Return the response that stands for an error of ours that a view has raised.

    Returns:
        None for all others, and for those that are Django's too: it has its own page for them.
    """
    return None if isinstance(error, PermissionDenied) else _response(error)


def _response(error: Exception) -> HttpResponse | None:
    refusal = refusal_of(error)
    if refusal is None:
        return None
    return HttpResponse(refusal.body, status=refusal.status, headers=refusal.headers)


def _response_or_raise(error: CtxkitError) -> HttpResponse:
    response = _response(error)
    if response is None:
        raise error
    return response
