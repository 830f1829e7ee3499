"""Interceptors around Django's requests, and the responses that stand for errors of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Return the response that stands for an error of ours; None for all others."""
    refusal = refusal_of(error)
    if refusal is None:
        return None
    return HttpResponse(refusal.body, status=refusal.status, headers=refusal.headers)


def _response_or_raise(error: CtxkitError) -> HttpResponse:
    response = response_to(error)
    if response is None:
        raise error
    return response
