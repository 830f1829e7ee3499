"""Replace attributes of other people's classes, and give them back. Private."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Patch:
    """Replace one function of a class or module, for as long as it is wanted.

    Others patch the same functions, before and after: a patch is taken off only where it
    is still on top. Buried under another, it does nothing until it is wanted again.

    Args:
        owner: The class or module.
        name: The name of the function there; a class may have inherited it.
        make: Is given the original and this patch, and returns what takes its place. That
            has to call the original, and do nothing else where the patch is not ``active``.
        also: Modules that bind the same function by the same name.
    """

    def __init__(
        self,
        owner: Any,
        name: str,
        make: Callable[[Callable[..., Any], Patch], Any],
        *also: Any,
    ) -> None:
        self.active = False
        self.placed: Any = None
        self.owner = owner
        self._name = name
        self._make = make
        self._also = also
        self._original: Any = None
        self._was_inherited = False

    @property
    def on_top(self) -> bool:
        """Whether nobody patched the same function later."""
        return self._top() is self.placed

    def put_on(self) -> None:
        """Put the patch on top, or wake the one that was left under another."""
        self.active = True
        top = self._top()
        if any(layer is self.placed for layer in layers(top)):
            return
        self._original = top
        self._was_inherited = self._name not in vars(self.owner)
        # To be called it is looked up, as wrapt's functions want it; put back as it was found.
        self.placed = update_wrapper(self._make(getattr(self.owner, self._name), self), top)
        setattr(self.owner, self._name, self.placed)
        self._echo(top, self.placed)

    def take_off(self) -> None:
        """Give the original back; where that is buried, do nothing from now on."""
        self.active = False
        if self.placed is None or not self.on_top:
            return
        if self._was_inherited:
            delattr(self.owner, self._name)
        else:
            setattr(self.owner, self._name, self._original)
        self._echo(self.placed, self._original)
        self.placed = self._original = None

    def _echo(self, old: Any, new: Any) -> None:
        for module in self._also:
            if getattr(module, self._name, None) is old:
                setattr(module, self._name, new)

    def _top(self) -> Any:
        # wrapt's functions are descriptors, which make a new object at each look.
        own: Any = self.owner.__dict__
        return own.get(self._name) or getattr(self.owner, self._name)


def layers(function: Any) -> Iterator[Any]:
    """Yield ``function``, what it wraps, what that wraps, and so on."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None)


def innermost(function: Any) -> Any:
    """Return what all the wrappers around ``function`` are about."""
    found: list[Any] = list(layers(function))
    return found[-1]
