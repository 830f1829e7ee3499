"""What everything that is read from a configuration has in common: places, and mistakes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_is_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class Place(NamedTuple):
    """Say where in a configuration a value stands, as whoever wrote it would.

    Attributes:
        text: The way to it.
        spell: Makes the way to a key of the mapping that stands there.
    """

    text: str
    spell: Callable[[str, str], str]

    def under(self, key: object) -> Place:
        """Return the place of a key of the mapping that stands here."""
        return self._replace(text=self.spell(self.text, str(key)))

    def refuse(self, problem: str, fix: str) -> ConfigurationError:
        """Return the error that says what is wrong here."""
        return ConfigurationError(self.text, problem, fix)

    def refuse_key(self, key: object, known: Iterable[str]) -> ConfigurationError:
        """Return the error that says that a key is not known here, and which may be meant."""
        from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

        names = sorted(known)
        close = get_close_matches(str(key).lower(), names, n=1)
        fix = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(names)}."
        return self.under(key).refuse("is not known", fix)


def dotted(text: str, key: str) -> str:
    """Spell a place as TOML does: ``functions."shop.orders:charge".timeout``."""
    if not _is_bare(key):
        escaped = key.replace("\\", "\\\\").replace('"', '\\"')
        key = f'"{escaped}"'
    return f"{text}.{key}" if text else key


def indexed(text: str, key: str) -> str:
    """Spell a place as Python does: ``CTXKIT["FUNCTIONS"]["shop.orders:charge"]``."""
    return f'{text}["{key}"]'
