"""Walk from an object up to what keeps it alive. Private.

``gc.get_referrers`` looks at every object of the process, so there is one call for each
storey of the graph and not one for each object. What the collector does not see is looked
up apart: the local variables of functions that are running, and the current contexts of
threads.
"""

from __future__ import annotations

import gc
import sys
import time
from _thread import get_ident
from contextvars import Context, Token
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxkit.context import Frame, Lazy
from ctxkit.context.frame import _Bound  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: How far, how long and how much: a walk that is cut off has still found what was near.
DEPTH: Final = 24
SECONDS: Final = 2.0
OBJECTS: Final = 20_000
#: Instances of other classes on a path, after which the next one is named as the holder.
INSTANCES: Final = 3

_CONTAINERS: Final = frozenset((list, tuple, dict, set, frozenset))
#: What is stepped, and the attribute that has its frame.
STEPPED: Final[dict[type, str]] = {
    AsyncGeneratorType: "ag_frame",
    CoroutineType: "cr_frame",
    GeneratorType: "gi_frame",
}
_PLAIN: Final = frozenset((Context, Frame, Lazy, _Bound))
#: By their names, as no module gives them out.
_PLAIN_NAMES: Final = frozenset(
    (
        "_contextvars.Token",
        "collections.deque",
        "functools.partial",
        "ctxkit.context.errand.Errand",
        "ctxkit.propagation.threads._Run",
    )
)
_RUN_ONCE: Final = "BaseEventLoop._run_once"
#: What traces a frame for pdb and the like; coverage's tracers are in C.
_DEBUGGERS: Final = (FunctionType, MethodType)
#: inspect.CO_OPTIMIZED and CO_NEWLOCALS.
_OF_FUNCTION: Final = 0x3


_NODE_AND_CALL: Final = 2


class Node:
    """Stand for an object of the graph, so that the walk itself refers to it only here."""

    __slots__ = ("below", "held", "instances", "obj")

    def __init__(self, obj: object, below: Node | None) -> None:
        self.obj = obj
        #: What it holds, on the shortest way down.
        self.below = below
        #: Every node that it holds.
        self.held: list[Node] = [] if below is None else [below]
        self.instances: int = 0 if below is None else below.instances
        if below is not None and not is_plain(obj):
            self.instances += 1

    def way_down(self) -> Iterator[Node]:
        """Yield this node and the ones below, down to what was asked for."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.below


class Walk:
    """Find who holds some objects.

    Args:
        targets: The objects.
        is_end: Tells of an object whether it need not be asked who holds it in turn.
        own: What of the caller's holds the targets.
    """

    def __init__(
        self, targets: Sequence[object], is_end: Callable[[object], bool], own: Sequence[object]
    ) -> None:
        self._is_end = is_end
        self._until = time.monotonic() + SECONDS
        self._nodes: dict[int, Node] = {id(obj): Node(obj, None) for obj in targets}
        self._own = {id(each) for each in (targets, own, *own)}
        for obj in targets:
            self._disown_token(obj)
        self.running = Running()
        #: Whether a holder was passed over, since it is a running function's own.
        self.passed = False

    def ends(self) -> list[Node]:
        """Return the last node of each path up from the targets.

        The last is one that ``is_end`` says is, one that no other object holds, or where
        the walk was cut off.
        """
        level, ends = list(self._nodes.values()), list[Node]()
        for _ in range(DEPTH):
            above, held = self._above(level)
            ends += [node for node in level if id(node.obj) not in held]
            level = [node for node in above if not self._ends_here(node)]
            ends += [node for node in above if self._ends_here(node)]
            if not level or time.monotonic() > self._until or len(self._nodes) > OBJECTS:
                break
        return [node for node in ends if not _is_held_by_tokens_alone(node)] + level

    def _above(self, level: list[Node]) -> tuple[list[Node], set[int]]:
        """Return what newly holds the nodes of ``level``, and which of those are held at all."""
        objects = tuple(node.obj for node in level)
        known = {id(node.obj): node for node in level}
        above, held = list[Node](), set[int]()
        found = gc.get_referrers(*objects)
        for obj in found:
            if obj is objects or obj is found or self._is_ours(obj):
                continue
            if self._is_in_use(obj):
                self.passed = True
                continue
            below = [known[id(each)] for each in gc.get_referents(obj) if id(each) in known]
            if id(obj) in self.running.globals_here:
                # A script has its variables there: the frame itself is in it to be given to us.
                below = [each for each in below if each.below is not None]
                self.passed = True
            held.update(id(each.obj) for each in below)
            node = self._nodes.get(id(obj))
            if self._is_end(obj):  # one for each way that leads here: a module has many names
                above += [Node(obj, each) for each in below]
            elif node is not None:
                node.held += below
            elif below:
                node = self._nodes[id(obj)] = Node(obj, below[0])
                node.held = below
                above.append(node)
                self._disown_token(obj)
        return above, held

    def _disown_token(self, obj: object) -> None:
        """Pass over the token of a frame: it holds the context that holds the frame."""
        if issubclass(type(obj), Frame):
            held: list[object] = gc.get_referents(obj)
            self._own.update(id(each) for each in held if issubclass(type(each), Token))

    def _ends_here(self, node: Node) -> bool:
        return node.instances > INSTANCES or self._is_end(node.obj)

    def _is_ours(self, obj: object) -> bool:
        return type(obj) is Node or id(obj) in self._own

    def _is_in_use(self, obj: object) -> bool:
        """Return whether a function that runs in this thread holds ``obj``, and will let go."""
        kind = type(obj)
        if kind is FrameType:
            return id(obj) in self.running.frames
        if kind in STEPPED:
            return self.running.runs_here(obj)
        if kind in _CONTAINERS:
            return self.running.variable(obj, here=True) is not None
        return kind.__module__ == "asyncio.events" and self.running.is_being_run(obj)


def _is_held_by_tokens_alone(node: Node) -> bool:
    """Return whether a context is there for the sake of tokens, and current in no thread.

    A thread's hold is out of sight, but it is counted.
    """
    if type(node.obj) is not Context:
        return False
    tokens = sum(issubclass(type(each), Token) for each in gc.get_referrers(node.obj))
    # Beside the tokens: the node, and the call.
    return tokens > 0 and sys.getrefcount(node.obj) - tokens <= _NODE_AND_CALL


class Variable(NamedTuple):
    """Name a local variable of a function that is running.

    Attributes:
        thread: The id of its thread.
        name: The variable.
        code: The function's code.
        line: Where the function is.
    """

    thread: int
    name: str
    code: CodeType
    line: int


class Running:
    """Know what the functions that run now, in all threads, have in their variables.

    The collector does not see these. Only the ids of the values are kept.

    Attributes:
        frames: The ids of the frames.
        stacks: For each thread the code of its functions, and their lines; the innermost
            first.
        globals_here: The ids of the globals of modules that this thread is executing.
    """

    def __init__(self) -> None:
        self.frames: set[int] = set()
        self.stacks: dict[int, list[tuple[CodeType, int]]] = {}
        self._here = get_ident()
        self._frames_here: set[int] = set()
        self.globals_here: set[int] = set()
        self._variables: dict[int, list[Variable]] = {}
        for thread, top in sys._current_frames().items():  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            frame: FrameType | None = top
            stack = self.stacks[thread] = []
            while frame is not None:
                stack.append((frame.f_code, frame.f_lineno))
                self.frames.add(id(frame))
                if thread == self._here:
                    self._frames_here.add(id(frame))
                    if frame.f_code.co_name == "<module>":
                        self.globals_here.add(id(frame.f_globals))
                self._read(thread, frame)
                frame = frame.f_back

    def runs_here(self, stepped: Any) -> bool:
        """Return whether a coroutine or generator is among what runs in this thread."""
        frame = getattr(stepped, STEPPED[type(stepped)])
        return id(frame) in self._frames_here

    def is_being_run(self, handle: object) -> bool:
        """Return whether an event loop of this thread is at this callback."""
        return any(
            each.thread == self._here and each.code.co_qualname == _RUN_ONCE
            for each in self._variables.get(id(handle), ())
        )

    def variable(self, obj: object, *, here: bool = False) -> Variable | None:
        """Return a variable that has ``obj``, of another thread or of this; None if none has."""
        found = (v for v in self._variables.get(id(obj), ()) if (v.thread == self._here) is here)
        return next(found, None)

    def _read(self, thread: int, frame: FrameType) -> None:
        code = frame.f_code
        if code.co_flags & _OF_FUNCTION != _OF_FUNCTION:  # a module: its variables are globals
            return
        if type(frame.f_trace) in _DEBUGGERS or (thread != self._here and not gil_enabled()):
            return  # a debugger is at it; or its thread may be
        variables = frame.f_locals
        for name, value in [*variables.items()]:
            entry = Variable(thread, name, code, frame.f_lineno)
            self._variables.setdefault(id(value), []).append(entry)
        if type(variables) is dict:  # Python 3.11 and 3.12: a copy, which the frame keeps
            variables.clear()


def gil_enabled() -> bool:
    """Return whether only one thread runs at a time, so that others' state can be read."""
    enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or enabled()


def is_plain(obj: object) -> bool:
    """Return whether ``obj`` only passes on what it holds, and is nobody's idea of a holder."""
    kind = type(obj)
    return kind in _PLAIN or kind.__module__ == "builtins" or _name(kind) in _PLAIN_NAMES


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
