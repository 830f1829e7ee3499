"""Packages whose names are imported at first use."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def open_lazily(package: dict[str, object], modules: Mapping[str, tuple[str, ...]]) -> None:
    """Let a package answer for the names of its modules, importing each when it is asked for.

    To be called where type checkers do not look: a module ``__getattr__`` that they see makes
    every typo valid. They read the imports under ``TYPE_CHECKING`` instead.

    Args:
        package: The ``globals()`` of the package.
        modules: The names that each of its modules is asked for.
    """
    title = package["__name__"]
    homes = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> object:  # noqa: N807 - becomes the package's (PEP 562)
        home = homes.get(name)
        if home is None:
            msg = f"module {title!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module = __import__(f"{title}.{home}", fromlist=(name,))
        value = package[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*package, *homes})

    package.update(__getattr__=__getattr__, __dir__=__dir__, __all__=tuple(homes))
