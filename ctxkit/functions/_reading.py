"""What everything that is read from a configuration has in common: places, and mistakes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_is_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class Place(NamedTuple):
    """Say where in a configuration a value stands, as whoever wrote it would.

    Attributes:
        text: The way to it.
        spell: Makes the way to a key of the mapping that stands there.
    """

    text: str
    spell: Callable[[str, str], str]

    @property
    def title(self) -> str:
        """What errors call it."""
        return self.text.rstrip(": ") or "The configuration"

    def under(self, key: object) -> Place:
        """Return the place of a key of the mapping that stands here."""
        return self._replace(text=self.spell(self.text, str(key)))

    def refuse(self, problem: str, fix: str) -> ConfigurationError:
        """Return the error that says what is wrong here."""
        return ConfigurationError(self.title, problem, fix)

    def refuse_key(self, key: object, known: Iterable[str]) -> ConfigurationError:
        """Return the error that says that a key is not known here, and which may be meant."""
        close = close_to(str(key), known)
        names = ", ".join(known) or "none"
        fix = f"Did you mean {close}?" if close else f"Known are {names}."
        return self.under(key).refuse("is not known", fix)


def close_to(name: str, known: Iterable[str]) -> str | None:
    """Return which of the known names may be meant by one that is not."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

    folded = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), folded, n=1)
    return folded[close[0]] if close else None


def loaded(module: str, path: str) -> object:
    """Return what a module that is imported has under a path; None where it has nothing."""
    found: object = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def dotted(text: str, key: str) -> str:
    """Spell a place as TOML does: ``functions."shop.orders:charge".timeout``."""
    if not _is_bare(key):
        escaped = key.replace("\\", "\\\\").replace('"', '\\"')
        key = f'"{escaped}"'
    return f"{text}.{key}" if text and not text.endswith(" ") else f"{text}{key}"


def indexed(text: str, key: str) -> str:
    """Spell a place as Python does: ``CTXKIT["FUNCTIONS"]["shop.orders:charge"]``."""
    return f'{text}["{key}"]'


def entries(
    place: Place, value: object, found: list[ConfigurationError], known: Iterable[str] | None = None
) -> Iterator[tuple[str, Place, object]]:
    """Yield the keys of a table with their places and values; note what is wrong with it.

    Args:
        place: Where the table stands.
        value: It, or what stands there instead.
        found: Where to note what is wrong.
        known: The keys that it may have; None for any text.
    """
    if not isinstance(value, Mapping):
        found.append(place.refuse(f"must be a table, not {value!r}", "Write {} for an empty one."))
        return
    for key, each in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str):
            found.append(place.under(key).refuse("is not a text", "Write its name in quotes."))
        elif known is not None and key not in known:
            found.append(place.refuse_key(key, known))
        else:
            yield key, place.under(key), each
