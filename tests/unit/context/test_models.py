"""Locals, binds and captures in any order, against models that are plainly right."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ctxkit import Local, Snapshot, bind, capture, current

NAMES = st.sampled_from("abc")
VALUES = st.integers(0, 9)


class Initialised(Local):
    def __init__(self) -> None:
        self.a = "init"


class ThreadBound(Local, scope="thread"): ...


class LocalMachine(RuleBasedStateMachine):
    """Contexts that are copied, written to and dropped; the model is a dict for each."""

    kind: type[Local] = Local
    initial: dict[str, object] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        super().__init__()
        self.local: Any = Context().run(self.kind)
        self.contexts: list[tuple[Context, dict[str, object]]] = []
        self.fresh_context()

    @rule()
    def fresh_context(self) -> None:
        self.contexts.append((Context(), {**self.initial}))

    @rule(index=st.integers(0))
    def copied_context(self, index: int) -> None:
        context, model = self._pick(index)
        self.contexts.append((context.copy(), {**model}))

    @rule(index=st.integers(0), name=NAMES, value=VALUES)
    def set_value(self, index: int, name: str, value: int) -> None:
        context, model = self._pick(index)
        context.run(setattr, self.local, name, value)
        model[name] = value

    @rule(index=st.integers(0), name=NAMES)
    def delete_value(self, index: int, name: str) -> None:
        context, model = self._pick(index)
        try:
            context.run(delattr, self.local, name)
        except AttributeError:
            assert name not in model
        else:
            del model[name]

    @rule(index=st.integers(0))
    def drop_context(self, index: int) -> None:
        if len(self.contexts) > 1:
            del self.contexts[index % len(self.contexts)]

    @rule()
    def drop_local(self) -> None:
        self.local = Context().run(self.kind)
        for _, model in self.contexts:
            model.clear()
            model.update(self.initial)

    @invariant()
    def every_context_sees_its_own(self) -> None:
        for context, model in self.contexts:
            assert context.copy().run(lambda: dict(vars(self.local))) == model

    def _pick(self, index: int) -> tuple[Context, dict[str, object]]:
        return self.contexts[index % len(self.contexts)]


class InitialisedLocalMachine(LocalMachine):
    kind = Initialised
    initial = {"a": "init"}  # noqa: RUF012 - never changed


class ThreadLocalMachine(LocalMachine):
    kind = ThreadBound


class FrameMachine(RuleBasedStateMachine):
    """Binds that are entered and left in several contexts; the model is a stack for each."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[tuple[Context, list[Any]]] = []
        self.captured: list[tuple[Snapshot, dict[str, object]]] = []
        # The bottom of each stack is what the task was started with.
        self.tasks.append((Context(), [(None, {})]))

    @rule(index=st.integers(0), values=st.dictionaries(NAMES, VALUES))
    def enter(self, index: int, values: dict[str, int]) -> None:
        context, stack = self._pick(index)
        bound = bind(values)
        context.run(bound.__enter__)
        stack.append((bound, {**stack[-1][1], **values}))

    @rule(index=st.integers(0))
    def leave(self, index: int) -> None:
        context, stack = self._pick(index)
        if len(stack) > 1:
            bound, _ = stack.pop()
            context.run(bound.__exit__, None, None, None)

    @rule(index=st.integers(0))
    def start_task(self, index: int) -> None:
        context, stack = self._pick(index)
        self.tasks.append((context.copy(), [(None, stack[-1][1])]))

    @rule(index=st.integers(0))
    def take_snapshot(self, index: int) -> None:
        context, stack = self._pick(index)
        self.captured.append((context.run(capture), stack[-1][1]))

    @invariant()
    def each_task_and_snapshot_knows_its_own(self) -> None:
        for context, stack in self.tasks:
            assert dict(context.run(current)) == stack[-1][1]
        for snapshot, known in self.captured:
            assert dict(snapshot.run(current)) == known
        assert dict(copy_context().run(current)) == {}

    def _pick(self, index: int) -> Any:
        return self.tasks[index % len(self.tasks)]


for machine in (LocalMachine, ThreadLocalMachine, InitialisedLocalMachine, FrameMachine):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

TestLocal = LocalMachine.TestCase
TestThreadLocal = ThreadLocalMachine.TestCase
TestInitialisedLocal = InitialisedLocalMachine.TestCase
TestFrames = FrameMachine.TestCase
