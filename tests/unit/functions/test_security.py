"""Security: who acts, how far, and who decides."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import pytest

import ctxkit
from ctxkit.boundary.intercepting import arun, run
from ctxkit.exceptions import ConfigurationError, FunctionNotFound, PermissionDenied
from ctxkit.functions.naming import registered
from ctxkit.functions.security import (
    ACTOR,
    SCOPE,
    ActorId,
    Authorizer,
    Scope,
    aidentify,
    effective_scope,
    identify,
    impersonation,
    narrowing,
    permission,
    set_authorizer,
)
from ctxkit.functions.spawning import EmbeddedEngine
from ctxkit.propagation.parcels import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VIEW = permission("shop.view_order")
NUMBERS = itertools.count()


class Table(Authorizer):
    """Look permissions up in a dict, and remember the questions."""

    def __init__(self, **held: set[str]) -> None:
        self.held = held
        self.asked: list[tuple[Any, str, Any]] = []

    def allows(self, actor: Any, permission: str, call: ctxkit.Call, resource: Any) -> bool:
        self.asked.append((actor, permission, resource))
        return permission in self.held.get(str(actor), ())

    async def aallows(self, actor: Any, permission: str, call: ctxkit.Call, resource: Any) -> bool:
        await asyncio.sleep(0)
        return self.allows(actor, permission, call, resource)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table(ada={"shop.view_order", "stock.reserve", "ctxkit.impersonate"}, bob={"x"})
    before = set_authorizer(table)
    yield table
    set_authorizer(before)


@pytest.fixture
def nobody_decides() -> Iterator[None]:
    before = set_authorizer(None)
    yield
    set_authorizer(before)


def _call(*, asynchronous: bool = False, **values: object) -> ctxkit.Call:
    return ctxkit.Call(
        "shop:order",
        "call",
        (7,),
        {},
        frame=ctxkit.current(),
        values=values,
        asynchronous=asynchronous,
    )


def _sync(*chain: ctxkit.Interceptor, **values: object) -> str:
    return run(chain, _call(**values), lambda _: "run")


def _async(*chain: ctxkit.Interceptor, **values: object) -> str:
    async def body(_: ctxkit.Call) -> str:
        return "run"

    return asyncio.run(arun(chain, _call(asynchronous=True, **values), body))


@ctxkit.function(name="shop:view", permission="shop.view_order")
def view() -> tuple[Any, Scope]:
    return ACTOR.get(), SCOPE.get()


@ctxkit.function(name="shop:aview", permission="shop.view_order")
async def aview() -> tuple[Any, Scope]:
    return ACTOR.get(), SCOPE.get()


BOTH = pytest.mark.parametrize("ask", [_sync, _async])


@BOTH
@pytest.mark.rule("F-70")
def test_permission_without_an_authorizer_is_an_error(ask: Any, nobody_decides: None) -> None:
    with (
        ctxkit.bind({ACTOR: "ada"}),
        pytest.raises(ConfigurationError, match="shop:order asks for the permission"),
    ):
        ask(VIEW)


@BOTH
@pytest.mark.rule("F-70")
@pytest.mark.parametrize("nobody", [{}, {ACTOR: None}])
def test_nobody_is_denied_without_a_question(ask: Any, table: Table, nobody: Any) -> None:
    with ctxkit.bind(nobody), pytest.raises(PermissionDenied, match="there is no actor"):
        ask(VIEW)
    assert table.asked == []


@BOTH
def test_actor_who_has_the_permission_comes_through(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        assert ask(VIEW) == "run"
    with ctxkit.bind({ACTOR: "bob"}), pytest.raises(PermissionDenied, match="does not have it"):
        ask(VIEW)


@BOTH
def test_resource_is_what_the_call_says(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        ask(permission("shop.view_order", resource=lambda call: call.args[0]))
    assert table.asked == [("ada", "shop.view_order", 7)]


@BOTH
@pytest.mark.parametrize("answer", [1, "yes", object()])
def test_answer_that_is_not_true_denies(ask: Any, table: Table, answer: Any) -> None:
    table.allows = lambda *_: answer  # type: ignore[method-assign]
    with ctxkit.bind({ACTOR: "ada"}), pytest.raises(PermissionDenied):
        ask(VIEW)


@BOTH
def test_error_of_the_authorizer_comes_out_and_nothing_runs(ask: Any, table: Table) -> None:
    error = LookupError("the directory is down")

    def failing(*_: object) -> bool:
        raise error

    table.allows = failing  # type: ignore[method-assign]
    with ctxkit.bind({ACTOR: "ada"}), pytest.raises(LookupError) as raised:
        ask(VIEW)
    assert raised.value is error


def test_authorizer_of_one_colour_answers_in_a_thread_for_the_other(table: Table) -> None:
    class Blocking(Authorizer):
        def allows(self, actor: Any, permission: str, call: Any, resource: Any) -> bool:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return bool(ACTOR.get() == actor)

    set_authorizer(Blocking())
    with ctxkit.bind({ACTOR: "ada"}):
        assert _async(VIEW) == "run"


def test_authorizer_without_a_method_is_refused(table: Table) -> None:
    class Half:
        def allows(self, *_: object) -> bool:
            return True

    with pytest.raises(ConfigurationError, match=r"has no aallows\(\)"):
        set_authorizer(Half())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert set_authorizer(table) is table


def test_authorizer_words_the_denial(table: Table) -> None:
    class Denied(PermissionDenied):
        pass

    table.denial = Denied  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Denied) as denied:
        _sync(VIEW)
    assert (denied.value.http_status, denied.value.retryable) == (403, False)


@BOTH
@pytest.mark.rule("F-71")
def test_question_is_put_for_the_caller_whoever_the_call_is_for(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        assert ask(VIEW, actor="bob") == "run"
    with ctxkit.bind({ACTOR: "bob"}), pytest.raises(PermissionDenied):
        ask(VIEW, actor="ada")
    assert [actor for actor, _, _ in table.asked] == ["ada", "bob"]


@BOTH
@pytest.mark.rule("F-71")
def test_to_act_as_another_is_a_permission_of_the_caller(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        assert ask(impersonation("bob")) == "run"
    with ctxkit.bind({ACTOR: "bob"}), pytest.raises(PermissionDenied, match=r"ctxkit\.imperson"):
        ask(impersonation("ada"))
    with (
        ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*")}),
        pytest.raises(PermissionDenied, match="scope"),
    ):
        ask(impersonation("bob"))


@BOTH
@pytest.mark.rule("F-72")
def test_scope_holds_back_what_the_actor_has(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*")}):
        assert ask(VIEW) == "run"
        with pytest.raises(PermissionDenied, match="the scope of the actor does not hold it"):
            ask(permission("stock.reserve"))
    with ctxkit.bind({ACTOR: "bob", SCOPE: Scope("shop.*")}), pytest.raises(PermissionDenied):
        ask(VIEW)  # a scope gives nothing


@BOTH
@pytest.mark.rule("F-72")
def test_question_is_put_within_the_scope_of_the_caller(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        assert ask(VIEW, scope=Scope()) == "run"
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope()}), pytest.raises(PermissionDenied):
        ask(VIEW, scope=Scope("*"))


@pytest.mark.rule("F-72")
def test_scopes_meet_in_what_both_hold() -> None:
    assert Scope("shop.*") & Scope("*") == Scope("shop.*")
    assert Scope("shop.view") & Scope("shop.*", "stock.*") == Scope("shop.view")
    assert Scope("shop.*", "stock.view") & Scope("shop.view", "stock.*", "x") == Scope(
        "shop.view", "stock.view"
    )
    assert Scope("shop.view") & Scope("stock.*") == Scope()
    with pytest.raises(ConfigurationError, match="must be a Scope, not of type str"):
        narrowing("shop.*")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _in_call(body: Callable[[], Any], **options: Any) -> Any:
    """Call ``body`` as a function, by options of ``using()``."""

    @ctxkit.function(name=f"m:{next(NUMBERS)}")
    def function() -> Any:
        return body()

    return function.using(**options)() if options else function()


def _laid_over(interceptor: ctxkit.Interceptor, **values: object) -> dict[str, object]:
    return run((interceptor,), _call(**values), lambda call: dict(call.values))


@pytest.mark.rule("F-72")
def test_scope_of_a_call_is_narrowed_and_told_to_the_function() -> None:
    with ctxkit.bind({SCOPE: Scope("shop.*", "stock.view")}):
        laid = _laid_over(narrowing(Scope("shop.view", "stock.*", "x")), tenant="acme")
    assert laid == {"scope": Scope("shop.view", "stock.view"), "tenant": "acme"}


@BOTH
@pytest.mark.rule("F-72")
def test_function_cannot_widen_what_it_was_given(ask: Any, table: Table) -> None:
    def function() -> None:
        with ctxkit.bind({SCOPE: Scope("*")}):
            assert ask(permission("stock.reserve")) == "run"
            with pytest.raises(PermissionDenied, match="scope"):
                ask(VIEW)
            _in_call(further)
            _in_call(further, scope=Scope("*"))
            assert _laid_over(narrowing(Scope("*"))) == {"scope": Scope("stock.*")}

    def further() -> None:
        assert effective_scope(ctxkit.current()) == Scope("stock.*")
        with ctxkit.bind({SCOPE: Scope("stock.reserve", "shop.*")}):
            assert effective_scope(ctxkit.current()) == Scope("stock.reserve")

    with ctxkit.bind({ACTOR: "ada"}):
        _in_call(function, scope=Scope("stock.*"))
        with ctxkit.bind({SCOPE: Scope("stock.*")}):
            _in_call(function)
        with ctxkit.invocation("job", {ACTOR: "ada", SCOPE: Scope("stock.*")}):
            function()


@pytest.mark.rule("F-72")
def test_started_function_cannot_widen_what_its_caller_was_given(table: Table) -> None:
    request = ctxkit.Key[object](f"stays_{next(NUMBERS)}", hops=())

    @ctxkit.function
    def left() -> Any:
        return effective_scope(ctxkit.current())

    @ctxkit.function
    def narrowed() -> Any:
        with ctxkit.bind({SCOPE: Scope("*")}):
            return left.start().result(5)

    with ctxkit.bind({ACTOR: "ada"}):
        held = narrowed.using({request: object()}, scope=Scope("stock.*"))
        assert held() == Scope("stock.*")


@pytest.mark.rule("F-72")
def test_scope_follows_into_threads(table: Table) -> None:
    found: list[Scope] = []

    def function() -> None:
        with ctxkit.bind({SCOPE: Scope("*")}):
            thread = ctxkit.Thread(target=lambda: found.append(effective_scope(ctxkit.current())))
            thread.start()
            thread.join()

    _in_call(function, scope=Scope("stock.*"))
    assert found == [Scope("stock.*")]


@BOTH
@pytest.mark.rule("F-71")
@pytest.mark.rule("F-95")
def test_scope_that_an_actor_came_with_holds_for_whoever_it_acts_as(ask: Any, table: Table) -> None:
    def function() -> None:
        with pytest.raises(PermissionDenied, match="scope"):
            ask(permission("stock.reserve"))

    headers = {"ctxkit-context": 'v1 {"actor":"ctxkit.* shop.*|ada"}'}
    with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        assert type(_in_call(ACTOR.get, actor="ada")) is str
        _in_call(function, actor="ada")


def _view(**options: Any) -> Any:
    return view.using(**options)()


def _aview(**options: Any) -> Any:
    async def awaited() -> Any:
        return await aview.using(**options)()

    return asyncio.run(awaited())


VIEWS = pytest.mark.parametrize("ask", [_view, _aview])


@VIEWS
@pytest.mark.rule("F-71")
def test_function_is_called_by_one_and_acts_as_another(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada"}):
        assert ask(actor="bob") == ("bob", Scope("*"))
    assert [asked[:2] for asked in table.asked] == [
        ("ada", "shop.view_order"),
        ("ada", "ctxkit.impersonate"),
    ]
    table.held["ada"].discard("ctxkit.impersonate")
    with ctxkit.bind({ACTOR: "ada"}), pytest.raises(PermissionDenied, match=r"ctxkit\.impers"):
        ask(actor="bob")


@VIEWS
@pytest.mark.rule("F-72")
def test_function_is_called_within_one_scope_and_acts_within_both(ask: Any, table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*")}):
        assert ask(scope=Scope("*"))[1] == Scope("shop.*")
        assert ask(scope=Scope("shop.view"))[1] == Scope("shop.view")
        assert ask(scope=Scope())[1] == Scope()
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("stock.*")}), pytest.raises(PermissionDenied):
        ask(scope=Scope("*"))


@pytest.mark.rule("F-71")
@pytest.mark.rule("F-72")
def test_values_that_are_laid_over_the_frame_are_asked_for_and_narrowed_too(table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*", "ctxkit.*")}):
        narrower = view.using({SCOPE: Scope("shop.view", "stock.*"), "tenant": "acme"})
        assert narrower() == ("ada", Scope("shop.view"))
        assert narrower.using(scope=Scope("shop.*")).using({"scope": Scope("*")})() == narrower()
        assert view.using({"actor": "bob"})()[0] == "bob"
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*")}), pytest.raises(PermissionDenied):
        view.using({ACTOR: "bob"})()


@pytest.mark.parametrize("option", ["actor", "scope"])
@pytest.mark.parametrize("nothing", [None, False])
def test_nothing_given_by_mistake_is_refused(option: str, nothing: Any) -> None:
    for using in (view.using, view.using(scope=Scope()).using):
        with pytest.raises(ConfigurationError, match=f"got {option}={nothing}. Leave it out"):
            using(**{option: nothing})
        with pytest.raises(ConfigurationError, match=f"got {option}={nothing}. Leave it out"):
            using({option: nothing})
    with pytest.raises(ConfigurationError, match="must be a Scope"):
        view.using(scope=Scope()).using(scope="shop.*")


@pytest.mark.parametrize("mistake", [None, "*", {"*"}])
def test_scope_that_is_none_fails(table: Table, mistake: object) -> None:
    with (
        ctxkit.bind(actor="ada", scope=mistake),
        pytest.raises(ConfigurationError, match="must be a Scope"),
    ):
        _sync(VIEW)


@BOTH
def test_interceptor_further_out_may_say_who_acts(ask: Any, table: Table) -> None:
    @ctxkit.interceptor(order=15)
    def authenticating(call: ctxkit.Call) -> Any:
        with ctxkit.bind({ACTOR: "ada"}):
            return (yield call)

    assert ask(authenticating, VIEW) == "run"


@pytest.mark.parametrize(("token", "status"), [("", "403 Forbidden"), ("secret", "200 OK")])
def test_permission_goes_around_requests_too(table: Table, token: str, status: str) -> None:
    @ctxkit.interceptor(order=15, at={"http"})
    def authenticating(call: ctxkit.Call) -> Any:
        with ctxkit.bind({ACTOR: "ada" if "HTTP_AUTHORIZATION" in call.args[0] else None}):
            return (yield call)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(ACTOR.get()).encode()]

    environ: dict[str, Any] = {"HTTP_AUTHORIZATION": token} if token else {}
    setup_testing_defaults(environ)
    answered: list[str] = []
    for each in (authenticating, VIEW):
        ctxkit.add_interceptor(each)
    try:
        body = ctxkit.WSGIMiddleware(app)(environ, lambda status, *_: answered.append(status))
        b"".join(body)
    finally:
        for each in (authenticating, VIEW):
            ctxkit.remove_interceptor(each)
    assert answered == [status]


@BOTH
@pytest.mark.rule("F-73")
def test_denied_call_enters_neither_pool_nor_body_and_is_noted_on_the_span(
    ask: Any, table: Table
) -> None:
    tracing = pytest.importorskip("opentelemetry.sdk.trace")
    entered: list[str] = []

    @ctxkit.interceptor(order=70)
    def pool(call: ctxkit.Call) -> Any:
        entered.append(call.name)
        return (yield call)

    tracer = tracing.TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    with tracer.start_as_current_span("caller") as span:
        with ctxkit.bind({ACTOR: "bob"}), pytest.raises(PermissionDenied):
            ask(VIEW, pool)
        with ctxkit.bind({ACTOR: "ada"}):
            ask(VIEW, pool)
    assert entered == ["shop:order"]
    [event] = span.events
    assert event.name == "ctxkit.permission.denied"
    assert dict(event.attributes) == {
        "ctxkit.function": "shop:order",
        "ctxkit.permission": "shop.view_order",
        "ctxkit.reason": "the actor does not have it",
    }


@pytest.mark.parametrize("denied", [view, aview])
@pytest.mark.rule("F-73")
def test_denied_call_takes_no_place_in_a_pool(table: Table, denied: Any) -> None:
    pytest.importorskip("stamina")
    pool = ctxkit.Pool.static(1)
    function = denied.using(pool=pool, retry=3)

    async def awaited() -> Any:
        return await function()

    def ask() -> Any:
        return function() if denied is view else asyncio.run(awaited())

    with ctxkit.bind({ACTOR: "bob"}), pytest.raises(PermissionDenied):
        ask()
    assert pool.stats().completed == 0
    assert len(table.asked) == 1
    with ctxkit.bind({ACTOR: "ada"}):
        ask()
    assert pool.stats().completed == 1


@pytest.mark.rule("F-73")
def test_permission_brings_nothing_foreign_and_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import ctxkit.functions.security;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new & {'asyncio', 'inspect', 'dataclasses', 'logging', 'json',"
        "'opentelemetry', 'django'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


class Known:
    """An actor with an id."""

    def __init__(self, id: object, **more: object) -> None:  # noqa: A002
        self.id = id
        vars(self).update(more)


@pytest.mark.rule("F-95")
@pytest.mark.parametrize(
    ("actor", "key"), [("ada", "ada"), (7, "7"), (Known(7), "7"), (Known(7, pk="ada"), "ada")]
)
def test_actor_goes_over_the_wire_as_its_id(actor: object, key: str) -> None:
    with ctxkit.bind({ACTOR: actor}):
        headers = ctxkit.inject({})
    assert headers == {"ctxkit-context": f'v1 {{"actor":"*|{key}"}}'}
    with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        found = ACTOR.get()
        assert (found, found.id, found.found) == (key, key, None)
        assert type(found) is ActorId
        assert ctxkit.inject({}) == headers


@pytest.mark.rule("F-95")
def test_actor_and_scope_go_to_processes_as_they_go_over_wires() -> None:
    with ctxkit.bind({ACTOR: Known(7), SCOPE: Scope("shop.*")}):
        parcel = pickle.dumps(Parcel(ACTOR.get))
    found = pickle.loads(parcel)()
    assert (found, found.scope) == ("7", Scope("shop.*"))


@pytest.mark.rule("F-95")
def test_actor_that_was_sent_is_for_the_authorizer_to_look_up(table: Table) -> None:
    with ctxkit.bind({ACTOR: Known("ada")}):
        headers = ctxkit.inject({})
    with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        assert _sync(VIEW) == "run"
    assert table.asked == [("ada", "shop.view_order", None)]
    assert ctxkit.extract(headers) == {}


@pytest.mark.rule("F-95")
def test_scope_goes_with_its_actor_and_only_narrows(table: Table) -> None:
    with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.view", "stock.*")}):
        headers = ctxkit.inject({}, keys=["actor"])
    assert headers == {"ctxkit-context": 'v1 {"actor":"shop.view stock.*|ada"}'}
    with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        assert effective_scope(ctxkit.current()) == Scope("shop.view", "stock.*")
        with ctxkit.bind({SCOPE: Scope("*")}), pytest.raises(PermissionDenied, match="scope"):
            _sync(VIEW)
        with ctxkit.bind({SCOPE: Scope("stock.view")}):
            assert ctxkit.inject({}) == {"ctxkit-context": 'v1 {"actor":"stock.view|ada"}'}


@pytest.mark.rule("F-95")
@pytest.mark.parametrize(
    "text", ["", "ada", "*|", "?", "shop.*.view|ada", "shop.* **|ada", "role:a*b|ada"]
)
def test_what_cannot_be_rebuilt_in_full_arrives_as_nobody(table: Table, text: str) -> None:
    headers = {"ctxkit-context": f'v1 {{"actor":"{text}"}}'}
    with ctxkit.bind({ACTOR: "ada"}), ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        assert ACTOR.get() is None
        with pytest.raises(PermissionDenied, match="there is no actor"):
            _sync(VIEW)


@pytest.mark.rule("F-95")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "values",
    [
        {"actor": "ada", "scope": Scope(*(f"shop.p{number}" for number in range(200)))},
        {"actor": "ada", "scope": "shop.*"},
        {"actor": "line\nline"},
        {"actor": object()},
        {"actor": None},
        {"actor": Known(None)},
        {"scope": Scope("shop.*")},
    ],
    ids=["long", "mistaken", "unsafe", "unknown", "nobody", "lazy", "alone"],
)
def test_what_cannot_be_sent_in_full_lets_nobody_arrive(table: Table, values: Any) -> None:
    with ctxkit.bind(values):
        headers = ctxkit.inject({})
    with (
        ctxkit.bind(ctxkit.extract(headers, trusted=True)),
        pytest.raises(PermissionDenied, match="there is no actor"),
    ):
        _sync(VIEW)


def test_actor_id_survives_pickling() -> None:
    copied = pickle.loads(pickle.dumps(ActorId("ada", Scope("shop.*"))))
    assert (copied, copied.scope, copied.found) == ("ada", Scope("shop.*"), None)


def test_lazy_actor_is_asked_before_it_is_sent() -> None:
    class Lazy(Known):
        def get(self) -> None:
            self.id = 7

        async def aget(self) -> None:
            self.id = 8

    for expected in ("7", "8"):
        with ctxkit.bind({ACTOR: Lazy(None)}):
            if expected == "7":
                identify(ctxkit.current())
            else:
                asyncio.run(aidentify(ctxkit.current()))
            assert ctxkit.inject({}) == {"ctxkit-context": f'v1 {{"actor":"*|{expected}"}}'}
    with ctxkit.bind({ACTOR: "ada"}):
        identify(ctxkit.current())


@ctxkit.function(name="shop:reach", permission="shop.view_order")
def reach() -> tuple[Any, Scope]:
    return ACTOR.get(), effective_scope(ctxkit.current())


@pytest.mark.rule("F-71")
@pytest.mark.rule("F-72")
@pytest.mark.rule("F-95")
def test_spawned_work_is_asked_for_here_and_there_and_goes_no_further(table: Table) -> None:
    engine = EmbeddedEngine(workers=1)
    try:
        with ctxkit.bind({ACTOR: "ada", SCOPE: Scope("shop.*", "ctxkit.*")}):
            spawned = reach.using(actor="bob", scope=Scope("shop.*", "x"), engine=engine)
            with pytest.raises(PermissionDenied, match="does not have it"):
                spawned.spawn().result(10)
            table.held["bob"].add("shop.view_order")
            table.asked.clear()
            assert spawned.spawn().result(10) == ("bob", Scope("shop.*"))
        assert [(actor, name, type(actor)) for actor, name, _ in table.asked] == [
            ("ada", "shop.view_order", str),
            ("ada", "ctxkit.impersonate", str),
            ("bob", "shop.view_order", ActorId),
        ]
        with pytest.raises(PermissionDenied, match="there is no actor"):
            spawned.spawn()
    finally:
        engine.close()


@pytest.mark.parametrize(
    "name", ["this:s", "os:system", "shop:nothing", "", "x" * 1000, None, ["shop:view"]]
)
def test_name_that_came_in_a_message_imports_nothing(name: Any) -> None:
    loaded = set(sys.modules)
    with pytest.raises(FunctionNotFound, match="imports nothing by request") as raised:
        registered(name)
    assert set(sys.modules) == loaded
    assert len(str(raised.value)) < 400
    assert registered("shop:view").wrapper is view


def test_scope_holds_names_and_what_they_begin_with() -> None:
    scope = Scope("shop.view_*", "stock.reserve", "shop.view_order")
    assert scope.patterns == {"shop.view_*", "stock.reserve"}
    assert "shop.view_order" in scope
    assert "shop.view" not in scope
    assert "stock.reserve_all" not in scope
    assert "anything" in Scope("*")
    assert "anything" not in Scope()
    assert repr(scope) == "Scope('shop.view_*', 'stock.reserve')"
    assert scope == Scope("stock.reserve", "shop.view_*")
    assert len({scope, Scope(*scope.patterns)}) == 1
    assert scope != "shop.view_*"


@pytest.mark.parametrize("wrong", ["", "a b", "a*b", "**", "a|b", "a\n", None, 7])
def test_name_of_no_permission_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="got"):
        Scope(wrong)
    with pytest.raises(ConfigurationError, match="got"):
        permission(wrong)


def test_permission_is_one_name() -> None:
    with pytest.raises(ConfigurationError, match="Name one permission"):
        permission("shop.*")
    assert VIEW.order == 20
    assert VIEW.at == {"call", "http", "task"}
    assert VIEW.name == "permission:shop.view_order"
