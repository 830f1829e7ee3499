"""Signatures, and whether one takes whatever another does. Private."""

from __future__ import annotations

import inspect
import sys
from functools import partial
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POSITIONAL: Final = frozenset((Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD))
_NAMED: Final = frozenset((Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD))
_STARS: Final = frozenset((Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD))

if sys.version_info >= (3, 14):
    # Annotations are evaluated when they are asked for (PEP 649), and may name what is not there.
    from annotationlib import Format, get_annotations

    annotations_of = partial(get_annotations, format=Format.FORWARDREF)
    signature_of = partial(inspect.signature, annotation_format=Format.FORWARDREF)
    _source_of = partial(inspect.signature, annotation_format=Format.STRING)
else:
    annotations_of = inspect.get_annotations
    signature_of = _source_of = inspect.signature


def without_self(signature: Signature) -> Signature:
    """Return the signature of a method as it is called."""
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def written(function: Callable[..., Any], *, bound: bool = False) -> str:
    """Return the signature as it stands in the source.

    Args:
        function: Whose signature.
        bound: Whether to leave out its first parameter.
    """
    signature = _source_of(function)
    if bound:
        signature = without_self(signature)
    parameters = [
        each.replace(annotation=_shown(each.annotation), default=_told(each.default))
        for each in signature.parameters.values()
    ]
    returned = _shown(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


@final
class _Source:
    """Be an annotation, or a default, that is shown as it was written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown(annotation: Any) -> Any:
    return _Source(annotation) if isinstance(annotation, str) else annotation


def _told(default: Any) -> Any:
    # What has an address in its repr would be another one each time.
    if default is Parameter.empty:
        return default
    return _Source("...") if default is ... or repr(default).startswith("<") else default


def misfits(wanted: Signature, given: Signature) -> Iterator[str]:
    """Yield why ``given`` does not take all that ``wanted`` does, as sentences about it."""
    ours = [*given.parameters.values()]
    kinds = {each.kind for each in ours}
    met: set[str] = set()
    for place, theirs in enumerate(wanted.parameters.values()):
        found = _taking(theirs, place, ours)
        if found is not None:
            met.add(found.name)
            if theirs.default is not Parameter.empty and found.default is Parameter.empty:
                yield f"has no default for {found.name!r}"
        elif not kinds.issuperset(_stars_for(theirs)):
            yield f"takes no {_described(theirs)}"
    for each in ours:
        if each.name not in met and each.kind not in _STARS and each.default is Parameter.empty:
            yield f"wants {each.name!r} besides"


def _taking(theirs: Parameter, place: int, ours: list[Parameter]) -> Parameter | None:
    """Return the parameter that takes what is given for ``theirs``, if one does."""
    if theirs.kind is Parameter.KEYWORD_ONLY:
        return next(
            (each for each in ours if each.name == theirs.name and each.kind in _NAMED), None
        )
    places = [each for each in ours if each.kind in _POSITIONAL]
    if theirs.kind not in _POSITIONAL or place >= len(places):
        return None
    found = places[place]
    by_name = found.name == theirs.name and found.kind in _NAMED
    return found if by_name or theirs.kind is Parameter.POSITIONAL_ONLY else None


def _stars_for(theirs: Parameter) -> frozenset[Any]:
    """Return the kinds of parameters that take, all together, what no other one does."""
    if theirs.kind in _STARS:
        return frozenset((theirs.kind,))
    stars = set(_STARS)
    if theirs.kind not in _NAMED:
        stars.remove(Parameter.VAR_KEYWORD)
    if theirs.kind not in _POSITIONAL:
        stars.remove(Parameter.VAR_POSITIONAL)
    return frozenset(stars)


def _described(parameter: Parameter) -> str:
    match parameter.kind:
        case Parameter.VAR_POSITIONAL:
            return f"*{parameter.name}"
        case Parameter.VAR_KEYWORD:
            return f"**{parameter.name}"
        case Parameter.POSITIONAL_ONLY:
            return f"positional argument for {parameter.name!r}"
        case Parameter.KEYWORD_ONLY:
            return f"keyword {parameter.name!r}"
        case _:
            return f"{parameter.name!r} at the same place"
