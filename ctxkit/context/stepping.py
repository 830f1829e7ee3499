"""Stepping: run what is suspended and resumed wholly inside one context.

A coroutine or generator runs in the context of whoever resumes it. The drivers here enter
a context of their own around each single step instead, in the task and thread of the
caller: what the steps set is visible to all later steps, to ``close`` and to nobody else,
and a token taken in one step is good in any other.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ctxkit.context._arrival import rehome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextvars import Context

    from ctxkit.context.accessors import Furnished

    Runner = Context | Furnished

T = TypeVar("T")
S = TypeVar("S")


class _Stepper:
    """Enter a context for each step, and move it to the thread of that step."""

    __slots__ = ("_context", "thread")

    def __init__(self, context: Runner, thread: int | None = None) -> None:
        self._context = context
        self.thread: int = thread or get_ident()

    def _run(self, step: Callable[..., Any], *args: Any) -> Any:
        thread = get_ident()
        if thread != self.thread:
            self.thread = thread
            self._context.run(rehome)
        try:
            return self._context.run(step, *args)
        finally:
            del args  # an error among them has a traceback, which holds this frame


class SteppedCoroutine(_Stepper, Coroutine[Any, Any, T]):
    """Stand for a coroutine each of whose steps runs in a given context."""

    __slots__ = ("__weakref__", "_inner", "_send")

    def __init__(self, context: Runner, inner: Any, thread: int | None = None) -> None:
        super().__init__(context, thread)
        self._inner = inner
        self._send: Callable[[Any], Any] = inner.send

    def send(self, value: Any) -> Any:
        """Resume the coroutine with ``value``."""
        # _run, unrolled: this is the step that counts.
        thread = get_ident()
        if thread != self.thread:
            self.thread = thread
            self._context.run(rehome)
        return self._context.run(self._send, value)

    def throw(self, *error: Any) -> Any:
        """Resume the coroutine by raising ``error`` in it."""
        try:
            return self._run(self._inner.throw, *error)
        finally:
            del error  # its traceback holds this frame

    def close(self) -> None:
        """End the coroutine, its ``finally`` blocks included."""
        self._run(self._inner.close)

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> SteppedCoroutine[T]:
        return self

    def __await__(self) -> Generator[Any, Any, T]:
        return self  # pyright: ignore[reportReturnType] - any iterator with send and throw will do

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_code, cr_await, __qualname__: debuggers and asyncio's repr ask.
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return f"<stepped {self._inner!r}>"


class SteppedIterator(_Stepper, Generator[T, S, Any]):
    """Stand for an iterator or generator each of whose steps runs in a given context."""

    __slots__ = ("__weakref__", "_close", "_inner")

    def __init__(self, context: Runner, iterable: Iterable[T]) -> None:
        super().__init__(context)
        self._close: Callable[[], None] | None = None  # what is refused is not closed
        self._inner: Any = context.run(iter, iterable)
        self._close = getattr(iterable, "close", None)

    def __next__(self) -> T:
        return self._run(self._inner.__next__)  # type: ignore[no-any-return]

    def send(self, value: S) -> T:
        """Resume the generator with ``value``."""
        return self._run(self._inner.send, value)  # type: ignore[no-any-return]

    def throw(self, *error: Any) -> T:
        """Resume the generator by raising ``error`` in it."""
        try:
            return self._run(self._inner.throw, *error)  # type: ignore[no-any-return]
        finally:
            del error  # as above

    def close(self) -> None:
        """Call the iterable's own ``close``, if it has one; once, however often called."""
        close, self._close = self._close, None
        if close is None:
            return
        begun = False

        def begin() -> None:
            nonlocal begun
            begun = True
            close()

        try:
            self._run(begin)
        except RuntimeError:
            if not begun:  # the context is entered already: later, then
                self._close = close
            raise

    def __del__(self) -> None:
        # A dropped generator closes itself, so a dropped driver closes it in its context.
        try:
            self.close()
        except RuntimeError:
            # The context is entered already, by the frame that dropped us: then the
            # generator's own finaliser runs in it anyhow.
            if self._close is None:
                raise


def run_coroutine_in(context: Runner, coro: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Return ``coro`` as a coroutine each of whose steps runs in ``context``.

    Args:
        context: Entered for each step and left again. It must not be entered by anybody
            else at that moment, so give each coroutine a context of its own.
        coro: A coroutine, or anything that can be awaited.

    Returns:
        A coroutine object: to be awaited, or made a task. It runs in the task that awaits
        it, so cancellation, ``asyncio.timeout`` and ``current_task`` work as without it.

    Context:
        Resumed on another thread than before, the context is moved there first: asgiref's
        ``Local`` values belong to a thread.
    """
    inner = coro if hasattr(coro, "send") else _await(coro)
    return SteppedCoroutine(context, inner)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


@coroutine
def carried_on(stepped: SteppedCoroutine[T], awaited: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has taken its first step, and awaits something since."""
    step: Callable[[], Any]
    while True:
        try:
            sent = yield awaited
        except GeneratorExit:
            stepped.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it goes on into the coroutine
            step = partial(stepped.throw, error)
        else:
            step = partial(stepped.send, sent)
        awaited = None  # it may be what holds the error, as below
        try:
            awaited = step()
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            del step  # it may hold the error, whose traceback holds this frame


def iterate_in(context: Runner, iterable: Iterable[T]) -> SteppedIterator[T, Any]:
    """Return an iterator over ``iterable`` each of whose steps runs in ``context``.

    It has ``send``, ``throw`` and ``close``; ``close`` calls that of ``iterable`` in the
    context, whether or not a single step was taken.
    """
    return SteppedIterator(context, iterable)


def aiterate_in(context: Runner, iterable: AsyncIterable[T]) -> AsyncGenerator[T, Any]:
    """Iterate over ``iterable`` with each of its steps in ``context``.

    Closing the generator closes ``iterable`` in the context too (``aclose``, if it has
    one), also when the event loop does it because the generator was dropped half-way.
    """
    # The thread of now: the first step may be taken on another one.
    return _aiterate(context, iterable, get_ident())


async def _aiterate(
    context: Runner, iterable: AsyncIterable[T], thread: int
) -> AsyncGenerator[T, Any]:
    iterator: Any = context.run(aiter, iterable)
    start = partial(_unhooked, iterator.__anext__)
    try:
        while True:
            step: SteppedCoroutine[T] = SteppedCoroutine(context, context.run(start), thread)
            try:
                item = await step
            except StopAsyncIteration:
                return
            thread = step.thread
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - it goes on into the iterator
                start = partial(iterator.athrow, error)
            else:
                start = iterator.__anext__ if sent is None else partial(iterator.asend, sent)
    finally:
        if hasattr(iterator, "aclose"):
            await SteppedCoroutine(context, context.run(iterator.aclose), thread)


def _unhooked(start: Callable[[], T]) -> T:
    """Start an async generator unseen by the event loop, which would close it outside."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return start()
    finally:
        sys.set_asyncgen_hooks(*hooks)
