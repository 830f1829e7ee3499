"""What a request knows, where it is kept, and the plain model of both."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ref

import ctxkit
from ctxkit import Key, bind, current

try:
    from asgiref.local import Local as DjangoLocal
except ImportError:  # without any extra: then there is no such holder
    DjangoLocal = None

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    #: What is visible somewhere, as labels: by the name of each holder that holds something.
    View = dict[str, object]


class Value:
    """Something of a request, known by its label, whose death is noticed."""

    __slots__ = ("__weakref__", "label")

    def __init__(self, label: str) -> None:
        self.label: object = label


class Box:
    """A value that is changed in place."""

    __slots__ = ("__weakref__", "_kin", "label")

    def __init__(self, label: list[str], kin: list[ref[Any]]) -> None:
        self.label = label
        self._kin = kin
        kin.append(ref(self))

    def copied(self) -> Box:
        return Box([*self.label], self._kin)


class Holders:
    """Everything that holds what a request knows, made anew for each example."""

    names = ("plain", "private", "copied")
    plain: Key[Value] = Key("properties_plain")
    private: Key[Value] = Key("properties_private", hops=())
    copied: Key[Box] = Key("properties_copied", copy=Box.copied)
    #: A context lets go of a variable's value only when it dies, so one of each will do.
    variable: ContextVar[Value] = ContextVar("properties_variable")
    server: ContextVar[str] = ContextVar("properties_server")

    def __init__(self) -> None:
        self.local: Any = ctxkit.Local()
        self.django: Any = DjangoLocal() if DjangoLocal is not None else ctxkit.Local()
        self.legacy: Any = threading.local()

    def look(self) -> View:
        """Return what is visible here and now, and keep nothing of it."""
        frame = current()
        found: dict[str, Any] = {
            "request_id": frame.get("request_id"),
            **{name: frame.get(getattr(self, name)) for name in self.names},
            # What does not go along must not be found by way of the root.
            "root": frame.root.get("request_id"),
            "root_private": frame.root.get(self.private),
            "variable": self.variable.get(None),
            "server": self.server.get(None),
            "local": getattr(self.local, "x", None),
            "django": getattr(self.django, "x", None),
            "legacy": getattr(self.legacy, "x", None),
        }
        return {
            name: list(value.label) if isinstance(value, Box) else getattr(value, "label", value)
            for name, value in found.items()
            if value is not None
        }

    def put(self, name: str, value: Any) -> None:
        """Make ``value`` known under one name, from here on."""
        if name in self.names:
            getattr(self, name).set(value)
        elif name == "variable":
            self.variable.set(value)
        else:
            getattr(self, name).x = value

    def take(self, name: str) -> None:
        """Make what an attribute holds unknown again."""
        if hasattr(getattr(self, name), "x"):
            del getattr(self, name).x

    def scope(self, values: dict[str, Any]) -> bind:
        """Return a with-block that binds ``values``."""
        return bind({getattr(self, name): value for name, value in values.items()})


LOOSE = ("variable", "local", "django")


class Known:
    """The model: what must be visible in one place.

    Attributes:
        frame: The frame's values. Never changed in place, as a frame is not; which of two equal
            ones it is matters to a with-block that ends elsewhere.
        loose: What is not in the frame; changed in place, and shared with nobody.
        legacy: What the thread's own holder holds here.
    """

    __slots__ = ("frame", "legacy", "loose")

    def __init__(
        self,
        frame: View | None = None,
        loose: View | None = None,
        legacy: object = None,
    ) -> None:
        self.frame: View = {} if frame is None else frame
        self.loose: View = {} if loose is None else loose
        self.legacy = legacy

    def view(self) -> View:
        """Return what :meth:`Holders.look` must return."""
        seen = {name: list(v) if isinstance(v, list) else v for name, v in self.frame.items()}
        seen.update(self.loose)
        if self.legacy is not None:
            seen["legacy"] = self.legacy
        return seen

    def put(self, name: str, label: object) -> None:
        if name in Holders.names:
            self.frame = {**self.frame, name: label}
        elif name == "legacy":
            self.legacy = label
        else:
            self.loose[name] = label

    def take(self, name: str) -> None:
        if name == "legacy":
            self.legacy = None
        else:
            self.loose.pop(name, None)


# How it is carried. "legacy" is what the holder of a thread holds at the capture.


def shared(known: Known) -> Known:
    """As asyncio copies contexts: what is changed in place is one and the same."""
    return Known(known.frame, dict(known.loose))


def copied(known: Known) -> Known:
    """As ctxkit does on one thread: what declares a copy is copied."""
    frame = known.frame
    box = frame.get("copied")
    if isinstance(box, list):
        frame = {**frame, "copied": [*box]}
    return Known(frame, dict(known.loose), known.legacy)


def forked(known: Known) -> Known:
    """As copied, for a task, which shares its thread and so what that holds."""
    known = copied(known)
    known.legacy = None
    return known


def landed(known: Known) -> Known:
    """As it arrives on another thread: what makes no hop stays behind, by way of the root too."""
    if "private" not in known.frame:
        return known
    left = {"private", "root_private"}
    frame = {name: value for name, value in known.frame.items() if name not in left}
    return Known(frame, known.loose, known.legacy)


def sent(known: Known) -> Known:
    """As ctxkit carries to a thread."""
    return landed(copied(known))


def nothing(known: Known) -> Known:
    return Known()


def only(*names: str) -> Callable[[Known], Known]:
    """As where only these keys are captured, or kept."""

    def carry(known: Known) -> Known:
        kept = {name: known.frame[name] for name in names if name in known.frame}
        if "private" in kept:
            kept["root_private"] = kept["private"]
        return copied(Known(kept))

    return carry


class Request:
    """One request: what it is called, and what of it is still alive."""

    def __init__(self, number: int) -> None:
        self.label = f"r{number}"
        self._numbers = count()
        self._alive: list[ref[Any]] = []

    def value(self, name: str) -> tuple[Any, object]:
        """Return something new for a holder, and what the model calls it."""
        label = f"{self.label}.{name}.{next(self._numbers)}"
        if name == "copied":
            return Box([label], self._alive), [label]
        value = Value(label)
        self._alive.append(ref(value))
        return value, label

    def values(self, names: Collection[str]) -> tuple[dict[str, Any], View]:
        pairs = {name: self.value(name) for name in names}
        return (
            {name: value for name, (value, _) in pairs.items()},
            {name: label for name, (_, label) in pairs.items()},
        )

    def alive(self) -> list[object]:
        """Return what is left of it, by label."""
        return [value.label for each in self._alive if (value := each()) is not None]


def agree(seen: object, expected: object) -> None:
    """Hold what was seen against the model."""
    assert seen == expected, f"saw {seen}, not {expected}"
