"""Faults to plant in ctxkit, each of which the machine has to find."""

from __future__ import annotations

from concurrent import futures
from contextlib import nullcontext
from contextvars import Context, copy_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from properties import known
from properties.known import Holders

import ctxkit
from ctxkit.boundary import _wsgi_passed, asgi, crossing, wsgi
from ctxkit.context import _arrival, _carriers, _sifting, accessors, errand, key, snapshot, stepping
from ctxkit.context._current import CURRENT
from ctxkit.context.frame import NO_FRAME, _Bound
from ctxkit.propagation import pools, tasks, threads, wrapping

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def snapshots_run_in_what_they_captured(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot.Snapshot, "enter", lambda self: self._context)


def snapshots_run_in_the_context_of_the_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot.Snapshot, "enter", lambda _: copy_context())


def snapshots_hold_every_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "only", lambda frame, names: frame)


def snapshots_do_not_clear_what_is_missing(patch: pytest.MonkeyPatch) -> None:
    apply = snapshot.Snapshot.apply
    patch.setattr(snapshot.Snapshot, "apply", lambda self, **_: apply(self))


def workers_keep_the_context_that_started_them(patch: pytest.MonkeyPatch) -> None:
    contexts: dict[int, Any] = {}

    def submit(self: Any, f: Any, /, *args: Any) -> Any:
        context = contexts.setdefault(id(self), copy_context())
        return futures.ThreadPoolExecutor.submit(self, context.run, f, *args)

    patch.setattr(pools.ThreadPoolExecutor, "submit", submit)


def workers_run_jobs_in_a_bare_context(patch: pytest.MonkeyPatch) -> None:
    plain = futures.ThreadPoolExecutor.submit
    patch.setattr(pools.ThreadPoolExecutor, "submit", plain)


def map_carries_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pools, "capture", lambda: SimpleNamespace(wrap=Context().run))
    patch.setattr(pools.ThreadPoolExecutor, "submit", futures.ThreadPoolExecutor.submit)


def threads_start_bare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(threads, "equip", bool)


def threads_report_outside_of_their_context(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(threads, "_report_in", lambda run, thread: None)


def errands_keep_their_context(patch: pytest.MonkeyPatch) -> None:
    enter = errand.Errand._enter

    def keeping(self: Any) -> Any:
        context = self._context
        run = enter(self)
        self._context = context
        return run

    patch.setattr(errand.Errand, "_enter", keeping)


def errands_run_where_they_are_called(patch: pytest.MonkeyPatch) -> None:
    def call(self: Any, /, *args: Any) -> Any:
        return self._take()(*args)

    patch.setattr(errand.Errand, "__call__", call)


def tasks_share_what_is_changed_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tasks, "forked_context", copy_context)


def tasks_start_bare(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tasks, "forked_context", Context)


def tasks_start_in_the_context_itself(patch: pytest.MonkeyPatch) -> None:
    # As eager tasks would, were their context not a copy.
    seen: list[Any] = []

    def forked_context() -> Any:
        seen.append(copy_context())
        return seen[0]

    patch.setattr(tasks, "forked_context", forked_context)


def threads_always_write_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tasks.to_thread, "__kwdefaults__", {"writeback": [Holders.variable]})
    patch.setattr(
        ctxkit.to_thread, "__kwdefaults__", {"writeback": [Holders.plain, Holders.variable]}
    )


def threads_never_write_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tasks.Returning, "write", bool)


def the_request_stays_in_the_context_of_the_server(patch: pytest.MonkeyPatch) -> None:
    made = crossing.Crossing.__init__

    def __init__(self: Any, *args: Any) -> None:  # noqa: N807 - becomes the class's
        made(self, *args)
        CURRENT.set(self.frame)

    patch.setattr(crossing.Crossing, "__init__", __init__)


def bodies_run_in_the_context_of_the_server(patch: pytest.MonkeyPatch) -> None:
    def crossed(crossing: Any, app: Any, environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    patch.setattr(wsgi, "cross_passed", crossed)


def a_request_inherits_the_one_before(patch: pytest.MonkeyPatch) -> None:
    _give_another_baseline(patch, SimpleNamespace(copy=copy_context))


def _give_another_baseline(patch: pytest.MonkeyPatch, baseline: Any) -> None:
    for module, name in ((asgi, "Crossing"), (wsgi, "opened")):
        open_ = getattr(crossing, name)
        patch.setattr(module, name, lambda *args, open_=open_: open_(*args[:-1], baseline))


def a_request_forgets_its_baseline(patch: pytest.MonkeyPatch) -> None:
    _give_another_baseline(patch, None)


def scopes_are_left_by_token_alone(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, *_: object) -> None:
        try:
            CURRENT.reset(self.token)
        except ValueError:
            return

    patch.setattr(_Bound, "__exit__", leave)


def scopes_are_never_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Bound, "__exit__", lambda *_: None)


def scopes_clear_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Bound, "__exit__", lambda *_: CURRENT.set(NO_FRAME) and None)


def detached_work_keeps_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wrapping, "capture", lambda keys=None: snapshot.capture())


def detached_work_keeps_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wrapping, "capture", lambda keys=None: snapshot.capture(keys=keys and ()))


def generators_run_in_the_context_of_their_reader(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wrapping, "iterate_in", lambda context, iterable: iter(iterable))


def async_generators_run_in_the_context_of_their_reader(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wrapping, "aiterate_in", lambda context, iterable: aiter(iterable))


def dropped_generators_close_anywhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stepping.SteppedIterator, "__del__", lambda self: None)


def every_step_starts_anew(patch: pytest.MonkeyPatch) -> None:
    def run(self: Any, step: Any, *args: Any) -> Any:
        return copy_context().run(step, *args)

    patch.setattr(stepping._Stepper, "_run", run)


def generators_do_not_move(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stepping, "rehome", bool)
    patch.setattr(_wsgi_passed, "rehome", bool)


def what_makes_no_hop_goes_along(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_arrival, "sift_values", bool)


def what_makes_no_hop_is_left_in_the_root(patch: pytest.MonkeyPatch) -> None:
    def sent(frame: Any) -> Any:
        sifted = whole(frame)
        if sifted is not frame:
            sifted.root = frame.root
        return sifted

    whole = _sifting.sent_to_thread
    patch.setattr(_sifting, "sent_to_thread", sent)


def copies_are_not_made(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(errand, "copy_values", bool)


def holders_of_threads_are_not_undone(patch: pytest.MonkeyPatch) -> None:
    def restored(values: Any) -> Any:
        for each in values:
            accessors._put(*each)
        return nullcontext()

    patch.setattr(accessors, "restored", restored)


def holders_of_threads_do_not_follow(patch: pytest.MonkeyPatch) -> None:
    for module in (errand, snapshot):
        patch.setattr(module, "held", tuple)


def holders_of_threads_forget_each_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accessors, "_again", lambda accessor, value: (accessor, value))


def what_belongs_to_a_thread_does_not_arrive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_arrival, "rehome", bool)


def locals_belong_to_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(known.ctxkit, "Local", SimpleNamespace)


def keys_are_set_for_good(patch: pytest.MonkeyPatch) -> None:
    def put(self: Any, value: object) -> None:
        frame = CURRENT.get(NO_FRAME)
        if frame is NO_FRAME:  # which goes on after this test
            frame = frame.extended({})
            CURRENT.set(frame)
        frame._values[self.name] = value

    patch.setattr(key.Key, "set", put)


def propagated_coroutines_run_where_they_are_awaited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_carriers, "run_coroutine_in", lambda context, coroutine: coroutine)


#: By name; each is called with what undoes it.
FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    name: fault
    for name, fault in [*globals().items()]
    if getattr(fault, "__module__", None) == __name__ and not name.startswith("_")
}
