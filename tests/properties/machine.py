"""Requests that bind, hop, capture, reset, are cancelled and end, in any order."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from properties.hops import CAPTURES, CTXKIT, Hop, Parts, call, cooperate, generate, hops
from properties.known import LOOSE, Holders, Known, Request, agree, copied, landed, sent, shared
from properties.places import PATIENCE, InTask, OnThread, Place, Stepping
from properties.world import World

import ctxkit
from ctxkit.boundary import BoundaryOptions, cross_asgi, cross_wsgi

try:
    from asgiref.sync import async_to_sync
except ImportError:  # without any extra
    async_to_sync = None

INDEX = st.integers(0, 99)
NAMES = st.sampled_from(["copied", "copied", *Holders.names, *LOOSE, "legacy"])
SETS = st.sampled_from([("plain", "private", "copied"), ("plain",), ("private", "copied"), ()])
ENDS = ("return", "drop", "raise", "close", "cancel")
MODES = {mode: BoundaryOptions.resolve(mode) for mode in ("never", "always")}


class Held(NamedTuple):
    """What somebody holds fast: a scope, a token, a capture, a context; and whose it is."""

    owner: Request
    what: Any
    place: Any
    #: What the model needs of the moment.
    known: Any = None
    known_before: Any = None
    thread: int | None = None


class FollowingMachine(RuleBasedStateMachine):
    """The parts are ctxkit's own; a subclass may name others, which then have to do as well."""

    parts: ClassVar[Parts] = CTXKIT

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.parts)
        self.hops = hops(self.parts)
        self.names = sorted(self.hops)
        self.places: list[Place] = []
        self.requests: list[Request] = []
        self.scopes: list[Held] = []
        self.tokens: list[Held] = []
        self.captures: list[Held] = []
        self.callbacks: list[Held] = []
        self.connections: list[Held] = []
        #: The requests that the server started in the context of another one.
        self.begotten: list[tuple[Request, Request]] = []
        self.serial = self.endings = 0

    # The beginning and the end of a request.

    @rule(asgi=st.booleans(), mode=st.sampled_from(["never", "always"]), names=SETS, of=INDEX)
    def cross(self, *, asgi: bool, mode: str, names: tuple[str, ...], of: int) -> None:
        """Open a request, in a context of the server's or in what another one has left there."""
        self.serial += 1
        request = Request(self.serial)
        values, labels = request.values(names)
        known = Known({"request_id": request.label, "root": request.label, **labels})
        if "private" in labels:
            known.frame["root_private"] = labels["private"]
        known.loose["server"] = "server"
        if of % 2 and self.connections:
            connection = self._one(self.connections, of // 2)
            self.begotten.append((connection.owner, request))
            context: Context = connection.what
        else:
            context = self.world.server.copy()
        before = context.run(self.world.holders.look)
        kind = InTask if asgi else Stepping
        place: Any = kind(self.world, request, known)
        place.keeps = False
        start = self._asgi if asgi else self._wsgi
        start(place, MODES[mode], {f"properties_{n}": v for n, v in values.items()}, context)
        self.requests.append(request)
        self.places.append(place)
        place.check()
        agree(context.run(self.world.holders.look), before)

    def _wsgi(self, place: Stepping, options: Any, values: Any, context: Context) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            return place.body()

        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        environ["HTTP_X_REQUEST_ID"] = str(place.known.frame["request_id"])
        server = self.world.server
        cross = partial(cross_wsgi, baseline=server)
        place.iterator = context.run(cross, app, environ, lambda *_: bytes.__len__, options, values)

    def _asgi(self, place: InTask, options: Any, values: Any, context: Context) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"x-request-id", str(place.known.frame["request_id"]).encode())],
        }
        server = self.world.server

        async def serve(values: Any) -> None:
            crossing = cross_asgi(
                place.body, scope, _never, _never, options, values, baseline=server
            )
            del values
            await crossing

        place.task = self.world.loop.create_task(serve(values), context=context)
        self.world.spin()

    @rule(index=INDEX, how=st.sampled_from(ENDS))
    def end_place(self, index: int, how: str) -> None:
        """Bring some code to its end, or cancel it before it has begun."""
        place = self._place(index, idle=False)
        if place is not None:
            self._end(place, how)

    @rule(index=INDEX)
    def finish_request(self, index: int) -> None:
        """Bring all to an end that a request has begun; nothing is left of it then."""
        if len(self.requests) > 1:
            request = self._one(self.requests, index)
            self._finish(request)
            self.requests.remove(request)
            held = {parent for parent, child in self.begotten if child in self.requests}
            for pool in self.world.pools:
                held |= pool.holds
            if request not in held:
                self.world.check_dead([request])

    # What code does where it is.

    @rule(index=INDEX, name=NAMES, keep=st.booleans())
    def put(self, *, index: int, name: str, keep: bool) -> None:
        """Make something known from here on; keep the token, or change what is there."""
        place = self._place(index)
        if name == "legacy" and not place.keeps:
            name = "variable"
        box = place.known.frame.get("copied")
        if name == "copied" and keep and isinstance(box, list):
            place.run(lambda: Holders.copied.get().label.append("changed"))
            box.append("changed")
            place.check()
            return
        value, label = self._owner(place).value(name)
        if name == "variable" and keep:
            token = place.run(self.world.holders.variable.set, value)
            before = place.known.loose.get(name)
            self.tokens.append(Held(self._owner(place), token, place, before))
        else:
            place.run(self.world.holders.put, name, value)
        place.known.put(name, label)
        place.check()

    @rule(index=INDEX, name=st.sampled_from(["local", "django", "legacy"]))
    def take(self, index: int, name: str) -> None:
        place = self._place(index)
        if name != "legacy" or place.keeps:
            place.run(self.world.holders.take, name)
            place.known.take(name)
            place.check()

    @rule(index=INDEX, names=SETS)
    def enter_scope(self, index: int, names: tuple[str, ...]) -> None:
        place = self._place(index)
        values, labels = self._owner(place).values(names)
        scope = self.world.holders.scope(values)
        place.run(lambda: scope.__enter__() and None)
        known = place.known
        before, known.frame = known.frame, {**known.frame, **labels}
        self.scopes.append(Held(self._owner(place), scope, place, known.frame, before))
        place.check()

    @rule(index=INDEX, which=INDEX, at_home=st.booleans())
    def leave_scope(self, *, index: int, which: int, at_home: bool) -> None:
        """Leave a with-block, where it was entered or in another place."""
        if not self.scopes:
            return
        scope = self._one(self.scopes, which)
        place = self._at(scope, index, at_home=at_home)
        heirs = [each for each in self._free() if each.known.frame is scope.known]
        if heirs and not at_home:
            place = heirs[index % len(heirs)]
        self.scopes.remove(scope)
        place.run(scope.what.__exit__, None, None, None)
        if scope.place is place or place.known.frame is scope.known:
            place.known.frame = scope.known_before
        place.check()

    @rule(index=INDEX, which=INDEX, at_home=st.booleans())
    def reset_token(self, *, index: int, which: int, at_home: bool) -> None:
        """Reset a variable, where it was set or in another place."""
        if not self.tokens:
            return
        token = self._one(self.tokens, which)
        place = self._at(token, index, at_home=at_home)
        if place is token.place:
            self.tokens.remove(token)
            place.run(Holders.variable.reset, token.what)
            place.known.loose.pop("variable", None)
            if token.known is not None:
                place.known.loose["variable"] = token.known
        else:
            with suppress(ValueError):
                place.run(Holders.variable.reset, token.what)
                raise AssertionError("a token is good in one context only")
        place.check()

    # Hops.

    @rule(index=INDEX, number=INDEX)
    def hop(self, index: int, number: int) -> None:
        """Start code elsewhere."""
        self._hop(index, number, legacy=False, cancelled=False)

    @rule(index=INDEX, number=INDEX, legacy=st.booleans(), cancelled=st.booleans())
    def hop_with(self, *, index: int, number: int, legacy: bool, cancelled: bool) -> None:
        """Start code elsewhere while a thread's holder holds something, or cancel it at once."""
        self._hop(index, number, legacy=legacy, cancelled=cancelled)

    def _hop(self, index: int, number: int, *, legacy: bool, cancelled: bool) -> None:
        way = self.hops[self.names[number % len(self.names)]]
        origin = self._place(index, InTask if way.waits else Place, looping=way.looping)
        place = self._new(way, origin)
        value, label = self._owner(origin).value("legacy")
        moment = self._moment(origin)
        if legacy and moment.legacy is None and not origin.keeps:
            moment.legacy = label
        else:
            value = None
        start = partial(self._start, way, place, value, cancelled=cancelled and not way.waits)
        del value
        carry = way.carry
        if carry is sent and way.pool == "plain":
            running = self.world.plain.jobs[:1]
            if running and running[0].ident == origin.ident:
                carry = copied  # a worker that gives its own pool a job: no hop to another thread
        place.known = carry(moment)
        if way.waits:
            if way.home is not None:
                first = copied(place.known)
                origin.homecoming = partial(way.home, origin.known, place.known, first)
            origin.begin(start, place)
        else:
            handle = origin.run(start)
            if isinstance(place, Stepping):
                place.iterator = handle
            elif isinstance(place, InTask):
                place.task = handle
            else:
                place.handle = handle
            del handle
        self._settle(way, place, cancelled=cancelled)

    def _start(self, way: Hop, place: Any, legacy: Any, *, cancelled: bool) -> Any:
        """Be called at the origin."""
        if legacy is not None:
            self.world.holders.put("legacy", legacy)
        try:
            handle = way.start(place)
            if cancelled and isinstance(place, InTask):
                handle.cancel()
            return handle
        finally:
            if legacy is not None:
                self.world.holders.take("legacy")

    def _settle(self, way: Hop, place: Any, *, cancelled: bool) -> None:
        """See whether it has begun."""
        if way.pool is not None:
            getattr(self.world, way.pool).add(place)
        elif isinstance(place, OnThread):
            place.await_start()
        if cancelled and not way.waits and (way.to is not OnThread or not place.started):
            self._cancel(place)
        else:
            self.places.append(place)
            if place.started:
                place.check()

    def _cancel(self, place: Any) -> None:
        """Let go of what was cancelled before it began."""
        place.ended = True
        if isinstance(place, OnThread):
            assert place.handle.cancel()
            self.world.spin()
            self.world.over(place)
        else:
            self.world.spin()
            place.iterator = None
        place.handle = place.task = None

    @rule(index=INDEX, at=INDEX)
    def move(self, index: int, at: int) -> None:
        """Have the steps of a generator taken elsewhere."""
        steppings = [place for place in self.places if isinstance(place, Stepping)]
        if steppings:
            place = steppings[index % len(steppings)]
            # That follows by itself, but for what belongs to a thread.
            value, label = self._owner(place).value("django")
            place.run(self.world.holders.put, "django", value)
            place.known.put("django", label)
            stepper = (at % 2 and self._place(at // 2, OnThread)) or self._place(at // 2)
            if not isinstance(stepper, Stepping):
                place.stepper = stepper
                # As long as it is stepped there, the thread lives on, with what is its own.
                self.begotten.append((self._owner(stepper), self._owner(place)))
                place.check()

    # What is held fast.

    @rule(index=INDEX, name=st.sampled_from(sorted(CAPTURES)))
    def capture(self, index: int, name: str) -> None:
        place = self._place(index)
        make, carry = CAPTURES[name]
        known = carry(self._moment(place))
        wrap = place.run(make)
        self.captures.append(Held(self._owner(place), wrap, place, known, None, place.ident))

    @rule(index=INDEX, which=INDEX, kind=st.sampled_from([call, generate, cooperate]))
    def use(self, index: int, which: int, kind: Any) -> None:
        """Run what was captured, once or step by step, wherever."""
        if not self.captures:
            return
        held = self._one(self.captures, which)
        by = self._place(index) if kind is not cooperate else self.world.idle_task
        known = copied(held.known)
        if by.ident != held.thread:
            known = landed(known)
        if kind is call:
            self._run_twice(held, by, known)
            return
        place: Any = (Stepping if kind is generate else InTask)(self.world, held.owner, known)
        place.keeps = True
        if kind is generate:
            place.iterator = by.run(held.what(kind), place)
        else:
            place.task = by.run(lambda: asyncio.ensure_future(held.what(kind)(place)))
            self.world.spin()
        self.places.append(place)
        place.check()

    def _run_twice(self, held: Held, by: Place, known: Known) -> None:
        look = self.world.holders.look
        value, label = held.owner.value("variable")
        wrapped = held.what(call)

        def put_and_look(value: Any) -> Any:
            self.world.holders.put("variable", value)
            return look()

        agree(by.run(wrapped, put_and_look, value), {**known.view(), "variable": label})
        agree(by.run(wrapped, look), known.view())
        by.check()

    @rule(index=INDEX, which=INDEX, clear_missing=st.booleans())
    def apply(self, *, index: int, which: int, clear_missing: bool) -> None:
        """Lay what was captured over what is known for a moment."""
        held = self._one(self.captures, which) if self.captures else None
        snapshot = getattr(getattr(held, "what", None), "__self__", None)
        if held is None or not isinstance(snapshot, ctxkit.Snapshot):
            return
        place = self._place(index)

        def applied() -> Any:
            with snapshot.apply(clear_missing=clear_missing):
                return self.world.holders.look()

        known = held.known if place.ident == held.thread else landed(held.known)
        frame, legacy = known.frame, known.legacy
        if not clear_missing:
            laid = {name: frame[name] for name in (*Holders.names, "request_id") if name in frame}
            frame = {**place.known.frame, **laid}
            legacy = legacy or place.legacy
        agree(place.run(applied), Known(frame, place.known.loose, legacy).view())
        place.check()

    # What is over at once.

    @rule(index=INDEX, number=INDEX)
    def at_once(self, index: int, number: int) -> None:
        """Do one of the shorter things."""
        ways = (
            self.call_soon,
            self.keep_connection,
            self.add_done_callback,
            self.map,
            self.cancel_timer,
            self.async_to_sync,
        )
        ways[number % len(ways)](index)

    def map(self, index: int) -> None:
        """Have a pool do two things, one after the other on one worker."""
        place = self._place(index)
        pool = self.world.carrying
        if pool.jobs:
            return

        value, _ = self._owner(place).value("plain")

        def put_and_look(name: str) -> Any:
            seen = self.world.holders.look()
            self.world.holders.put(name, value)
            return seen

        seen = place.run(lambda: [*pool.pool.map(put_and_look, ("plain", "variable"))])
        agree(seen, [copied(landed(place.moment())).view()] * 2)
        place.check()

    def call_soon(self, index: int) -> None:
        """Have the loop call back; what is set after that is not seen."""
        place = self._place(index, looping=True)
        value, label = self._owner(place).value("variable")
        seen: list[Any] = []

        def order() -> None:
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: seen.append(self.world.holders.look()))
            self.world.holders.put("variable", value)

        expected = shared(place.known).view()
        place.run(order)
        self.world.spin()
        place.known.put("variable", label)
        agree(seen, [expected])
        place.check()

    def add_done_callback(self, index: int) -> None:
        """Ask for a call when something is done."""
        place = self._place(index, looping=True)
        future = self.world.loop.create_future()
        seen: list[Any] = []
        place.run(future.add_done_callback, lambda _: seen.append(self.world.holders.look()))
        known = shared(place.known)
        self.callbacks.append(Held(self._owner(place), (future, seen), place, known))

    @rule(index=INDEX, which=INDEX)
    def be_done(self, index: int, which: int) -> None:
        """Have it done by somebody else."""
        if self.callbacks:
            held = self._one(self.callbacks, which)
            self.callbacks.remove(held)
            future, seen = held.what
            self._place(index, looping=True).run(future.set_result, None)
            self.world.spin()
            agree(seen, [held.known.view()])

    def async_to_sync(self, index: int) -> None:
        """Run a coroutine in a loop of its own; asgiref takes home what it sets."""
        place = self._place(index, OnThread)
        if async_to_sync is None or place is None or place.thread == "plain":
            return  # there asgiref would wait for the main loop
        value, label = self._owner(place).value("variable")

        async def order() -> Any:
            seen = self.world.holders.look()
            self.world.holders.put("variable", value)
            return seen

        before = {*threading.enumerate()}
        agree(place.run(async_to_sync(order)), shared(place.known).view())
        for thread in {*threading.enumerate()} - before:
            thread.join(PATIENCE)  # asgiref's, which has still something in its hands
        place.known.put("variable", label)
        place.check()

    def cancel_timer(self, index: int) -> None:
        """Start a timer that is called off."""

        def order() -> Any:
            timer = self.world.parts.Timer(3600, print)
            timer.daemon = True
            timer.start()
            timer.cancel()
            return timer

        timer = self._place(index).run(order)
        timer.join(PATIENCE)
        self.world.keep(timer)

    def keep_connection(self, index: int) -> None:
        """Have a server keep a context of a request for what comes next on the connection."""
        place = self._place(index)
        if "root" in place.known.frame:
            self.connections.append(Held(self._owner(place), place.run(copy_context), place))

    @invariant()
    def nothing_is_known_to_nobody(self) -> None:
        agree(self.world.holders.look(), {})

    def teardown(self) -> None:
        try:
            # After a failure some have ended that are still among the places.
            self.places = [place for place in self.places if not place.ended]
            for place in self._free():
                place.check()
            for request in self.requests:
                self._finish(request)
            self.world.check_dead([*self.requests])
        finally:
            self.world.close()

    # Means.

    def _one(self, things: list[Any], index: int) -> Any:
        return things[index % len(things)]

    def _place(
        self, index: int, kind: type[Place] = Place, *, looping: bool = False, idle: bool = True
    ) -> Any:
        """Return a place that can be told to do something; there is always one."""
        free = [
            place
            for place in (self._free() if idle else self.places)
            if isinstance(place, kind) and (place.looping or not looping)
        ]
        if free:
            return free[index % len(free)]
        if not idle or kind is OnThread:
            return None
        self.cross(asgi=True, mode="never", names=(), of=0)
        return self.places[-1]

    def _free(self) -> list[Place]:
        return [
            place
            for place in self.places
            if place.started and place.waits is None and not place.ended
        ]

    def _at(self, held: Held, index: int, *, at_home: bool) -> Any:
        home = held.place
        if at_home and not home.ended and home.waits is None:
            return home
        return self._place(index)

    def _owner(self, place: Place) -> Request:
        assert place.owner is not None
        return place.owner

    def _moment(self, place: Place) -> Known:
        """Return what is known there, and note whose it is.

        Code that is stepped on the thread of another request finds what that has left in the
        thread's own holder, and an accessor carries it on.
        """
        moment, owner = place.moment(), self._owner(place)
        for each in self.requests:
            if each is not owner and str(moment.legacy).startswith(f"{each.label}."):
                self.begotten.append((each, owner))
        return moment

    def _new(self, way: Hop, origin: Place) -> Any:
        owner = self._owner(origin)
        if way.to is OnThread:
            self.serial += 1
            thread = way.pool or f"thread {self.serial}"
            place: Any = OnThread(self.world, owner, Known(), thread=thread)
        else:
            place = way.to(self.world, owner, Known())
        place.keeps = way.furnished
        return place

    def _end(self, place: Place, how: str) -> None:
        """Bring a place to its end, if that can be."""
        waiting = next((each for each in self.places if each.waits is place), None)
        if not place.started and waiting is not None:
            place, how = waiting, "cancel"
        if place.waits is not None:
            if not self._can_be_cancelled(place):
                return
            self._forsake(place)
            self.world.end(place, "cancel")
        elif not place.started:
            self._cancel(place)
        else:
            self.world.end(place, how)
            if waiting is not None and not waiting.ended:
                waiting.resume()
                waiting.homecoming()
                waiting.homecoming = bool
                waiting.check()
        self.places = [each for each in self.places if not each.ended]

    def _can_be_cancelled(self, place: Any) -> bool:
        while place.waits is not None:
            place = place.waits
        # asgiref waits for its thread.
        return place.keeps or isinstance(place, InTask) or not place.started

    def _forsake(self, place: Any) -> None:
        """Notice what ends with a place that is cancelled while it waits."""
        child = place.waits
        while child is not None:
            if isinstance(child, InTask) or not child.started:
                child.ended = True
                child.task = child.handle = None
                self.world.over(child)
            child = child.waits

    def _finish(self, request: Request) -> None:
        """Bring everything of a request to an end."""
        while mine := [place for place in self.places if place.owner is request]:
            free = [place for place in mine if place.started and place.waits is None]
            self.endings += 1
            self._end((free or mine)[-1], ENDS[self.endings % len(ENDS)])
        for held in (
            self.scopes,
            self.tokens,
            self.captures,
            self.callbacks,
            self.connections,
        ):
            held[:] = [each for each in held if each.owner is not request]


async def _never(*_: Any) -> None:
    raise NotImplementedError
