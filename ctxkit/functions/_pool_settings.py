"""What a configuration says about a pool: its kind, and the arguments of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._reading import Place, entries
from ctxkit.functions.durations import duration
from ctxkit.functions.pools._sizes import ROOM, SIZE, WORKERS

if TYPE_CHECKING:
    from collections.abc import Mapping


class PoolField(NamedTuple):
    """Describe one key of a pool; the settings reference is made from these.

    Attributes:
        name: The key.
        least: The least number that it may be; None where it is no number.
        default: Its default, as one writes it.
        summary: What it does.
    """

    name: str
    least: int | None
    default: str
    summary: str


FIELDS: Final = (
    PoolField(
        "type",
        None,
        "",
        "`inline`, `static`, `lazy` or `adaptive`. Without it `workers` makes a static pool, "
        "`max_size` a lazy one, and neither an inline one.",
    ),
    PoolField("workers", 1, f"{WORKERS}", "How many at a time."),
    PoolField(
        "buffer", 0, "", f"How many may wait. {ROOM} times the workers where it is left out."
    ),
    PoolField("max_size", 1, f"{SIZE}", "How many at a time, at most."),
    PoolField("min_size", 1, "1", "How many at a time, at least."),
    PoolField(
        "initial", 1, "", "How many at a time to begin with. 4, or as near as the others allow."
    ),
    PoolField("idle_timeout", None, '"30s"', "How long a thread without work is kept."),
)
#: The keys that each kind of pool takes.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "inline": (),
    "static": ("workers", "buffer"),
    "lazy": ("max_size", "idle_timeout"),
    "adaptive": ("max_size", "min_size", "initial"),
}
_FIELDS: Final = {field.name: field for field in FIELDS}
# How many at a time, for one type and for the others.
_SIZES: Final = frozenset({"workers", "max_size"})


class PoolSettings(NamedTuple):
    """Hold what is configured about a pool, checked.

    Attributes:
        kind: Which of :data:`KINDS`; it is also the method of the class that makes it.
        arguments: What that is given; a time in seconds.
    """

    kind: str
    arguments: Mapping[str, float]


def read_pool(place: Place, value: object, found: list[ConfigurationError]) -> PoolSettings:
    """Return what ``value`` says about a pool, and note everything that is wrong with it.

    Args:
        place: Where it stands.
        value: What stands there.
        found: Where to note it.
    """
    given: dict[str, object] = {}
    before = len(found)
    for name, where, each in entries(place, value, found, _FIELDS):
        try:
            given[name] = _read_field(where, _FIELDS[name], each)
        except ConfigurationError as error:
            found.append(error)
    if len(found) > before:
        return PoolSettings("inline", {})
    declared = given.pop("type", None)
    kind = str(declared) if declared else _kind_of(given)
    if declared and (kind == "inline" or given.keys() >= _SIZES):
        # So that one can go from one type to another and back: the type decides.
        given = {name: given[name] for name in given if name in KINDS[kind] or name not in _SIZES}
    settings = PoolSettings(kind, cast("Mapping[str, float]", given))
    found += _contradictions(place, settings)
    return settings


def _read_field(place: Place, field: PoolField, value: object) -> object:
    if field.name == "idle_timeout":
        return duration(place.text, value)
    if field.least is None:
        if isinstance(value, str) and value in KINDS:
            return value
        raise place.refuse(
            f"must be one of {', '.join(KINDS)}, not {value!r}", 'Write it like "static".'
        )
    if isinstance(value, int) and not isinstance(value, bool) and value >= field.least:
        return value
    wanted = f"a whole number, {'zero' if not field.least else field.least} or more"
    raise place.refuse(f"must be {wanted}, not {value!r}", f"Write it like {field.default or 4}.")


def _kind_of(given: Mapping[str, object]) -> str:
    if "workers" in given:
        return "static"
    return "lazy" if "max_size" in given else "inline"


def _contradictions(place: Place, settings: PoolSettings) -> list[ConfigurationError]:
    """Return which of what is said about a pool cannot be true together."""
    kind, given = settings
    if given.keys() >= _SIZES:
        problem = "has both workers and max_size, which are of different types"
        return [place.refuse(problem, 'Leave one of them out, or write type = "static".')]
    foreign = [name for name in given if name not in KINDS[kind]]
    if foreign:
        return [_refuse_foreign(place.under(name), name, kind) for name in foreign]
    if kind == "adaptive":
        most, least = given.get("max_size", SIZE), given.get("min_size", 1)
        if least > most:
            problem = f"is {least}, and max_size is {most}"
            return [place.under("min_size").refuse(problem, "Write one that is no larger.")]
        if not least <= given.get("initial", least) <= most:
            problem = f"must be from {least} to {most}, min_size to max_size"
            fix = f"Write one of these numbers, not {given['initial']}."
            return [place.under("initial").refuse(problem, fix)]
    return []


def _refuse_foreign(place: Place, name: str, kind: str) -> ConfigurationError:
    homes = " or ".join(f'"{home}"' for home, names in KINDS.items() if name in names)
    article = "an" if kind[0] in "ai" else "a"
    problem = f"means nothing to {article} {kind} pool"
    return place.refuse(problem, f"Leave it out, or write type = {homes}.")
