from __future__ import annotations

import asyncio
import contextvars
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.utils.asyncio import async_unsafe
from django.utils.functional import SimpleLazyObject

import ctxkit
from ctxkit.context import NO_FRAME, Frame
from ctxkit.context._current import CURRENT
from ctxkit.django import UserHolder, current_request, current_user
from ctxkit.django.holders import frame_values

if TYPE_CHECKING:
    from collections.abc import Iterator


class User:
    """Stand for a model instance, which takes a query to get."""

    pk = 7
    is_authenticated = True


class Auth:
    """Do to a request what AuthenticationMiddleware does, and count the queries."""

    def __init__(self) -> None:
        self.queries = 0
        self.request = HttpRequest()
        self.request.user = SimpleLazyObject(self._user)
        self.request.auser = self._auser
        self.holder = UserHolder(self.request)

    @async_unsafe("a query")
    def _query(self) -> User:
        self.queries += 1
        return User()

    def _user(self) -> User:
        if not hasattr(self.request, "_cached_user"):
            self.request._cached_user = self._query()
        return self.request._cached_user

    async def _auser(self) -> User:
        if not hasattr(self.request, "_acached_user"):
            self.request._acached_user = await sync_to_async(self._query)()
        return self.request._acached_user


def test_user_get_loads_once_and_returns_no_proxy() -> None:
    auth = Auth()
    user = auth.holder.get()
    assert type(user) is User
    assert auth.holder.get() is user
    assert auth.queries == 1


def test_user_aget_loads_once_and_get_then_needs_no_query() -> None:
    auth = Auth()

    async def view() -> None:
        user = await auth.holder.aget()
        assert type(user) is User
        assert await auth.holder.aget() is user
        assert auth.holder.get() is user

    asyncio.run(view())
    assert auth.queries == 1


def test_user_get_under_a_running_loop_says_so_itself() -> None:
    auth = Auth()

    async def view() -> None:
        with pytest.raises(SynchronousOnlyOperation):
            auth.holder.get()

    asyncio.run(view())


def test_user_id_and_repr_never_load() -> None:
    auth = Auth()
    assert auth.holder.id is None
    assert repr(auth.holder) == "<UserHolder id=None>"
    assert auth.queries == 0
    auth.holder.get()
    assert auth.holder.id == 7


def test_user_id_is_known_once_a_view_touched_the_proxy() -> None:
    auth = Auth()
    assert auth.request.user.pk == 7
    assert auth.holder.id == 7
    assert auth.queries == 1


def test_user_set_outright_is_returned_by_both_twins() -> None:
    request = HttpRequest()
    request.user = User()
    holder = UserHolder(request)
    assert holder.get() is request.user
    assert asyncio.run(holder.aget()) is request.user
    assert holder.id == 7


def test_user_of_a_request_without_one_is_none() -> None:
    for holder in (UserHolder(), UserHolder(HttpRequest())):
        assert holder.get() is None
        assert asyncio.run(holder.aget()) is None
        assert holder.id is None


def test_user_in_a_frame_is_not_evaluated_by_an_unrelated_sync_to_async() -> None:
    """asgiref compares each context variable before and after the hop."""
    auth = Auth()

    async def view() -> None:
        with ctxkit.bind(user=auth.holder):
            await sync_to_async(lambda: None)()

    contextvars.Context().run(asyncio.run, view())
    assert auth.queries == 0


@contextmanager
def _frame(holder: UserHolder) -> Iterator[None]:
    token = CURRENT.set(Frame(frame_values(holder)))
    try:
        yield
    finally:
        CURRENT.reset(token)


def test_cell_values_follow_the_request_that_comes_later() -> None:
    cell = UserHolder()
    with _frame(cell):
        assert current_request() is None
        assert ctxkit.get("route") is None
        cell.request = request = HttpRequest()
        assert current_request() is request
        assert ctxkit.get("route") is None
        request.resolver_match = _Match()
        assert ctxkit.get("route") == "shop/<slug:name>"
        with ctxkit.bind(user="somebody else"):
            assert current_request() is request


class _Match:
    route = "shop/<slug:name>"


def test_current_request_and_user_outside_of_a_request_are_none() -> None:
    assert ctxkit.current() is NO_FRAME
    assert current_request() is None
    assert current_user() is None


def test_current_user_is_the_holder_of_the_frame() -> None:
    with _frame(UserHolder(HttpRequest())):
        assert isinstance(current_user(), UserHolder)
        assert current_user() is current_user()
