"""What an application did and what its server sent, on one line; and when that is the same."""

from __future__ import annotations

from itertools import takewhile

REQUEST_ID = "given"


class FailedError(Exception):
    """What an application raises."""


class LeftError(BaseException):
    """What an application raises that is no Exception."""


class Timeline(list[tuple[str, object]]):
    """Hold pairs of who and what: "app", "wire", "mark" or "flush".

    Attributes:
        complete: Whether the client has all of the response.
        left: How many parts of the request are still to be received.
        gone: How it came out at the server that its client had gone; None if it did not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self.left = 0
        self.gone: list[tuple[str, object]] | None = None
        self._raised: list[BaseException] = []

    def app(self, what: object) -> None:
        self.append(("app", what))

    def wire(self, what: object) -> None:
        self.append(("wire", what))

    def mark(self, what: object) -> None:
        self.append(("mark", what))

    def completed(self) -> None:
        self.complete = True
        self.mark("complete")

    def raising(self, error: BaseException) -> BaseException:
        """Note what the application raises, and return it."""
        self._raised.append(error)
        return error

    def surfaced(self, error: BaseException) -> None:
        """Note what came out at the server: which one it is of those that were raised."""
        known = [number for number, raised in enumerate(self._raised) if raised is error]
        self.append(("error", known[0] if known else error))
        if isinstance(error, OSError):
            self.gone = [self[-1]]

    def of(self, *whos: str) -> list[tuple[str, object]]:
        return [each for each in self if each[0] in whos]


Crossed = tuple[Timeline, Timeline]


def assert_same(bare: Timeline, crossed: Timeline) -> None:
    """Hold a response that is not held against the bare one: nothing differs."""
    assert crossed == bare


def assert_only_the_completing_part_waits(
    bare: Timeline, crossed: Timeline, *, by_reference: bool = False
) -> None:
    """Hold a response that is held against the bare one.

    Args:
        bare: What the application and its server did without the boundary.
        crossed: What they did with it.
        by_reference: Whether the server has to read the content itself, after the flush.
    """
    assert crossed.of("wire") == bare.of("wire")
    assert len(crossed.of("flush")) == 1
    assert crossed.count(("app", "close")) == bare.count(("app", "close"))
    _assert_same_errors(bare, crossed)
    ending = ("mark", "complete" if bare.complete else "gone")
    before = bare[: bare.index(ending)]
    part = list(takewhile(lambda each: each[0] == "wire", reversed(before)))[::-1]
    passed = before[: len(before) - len(part)]
    held = crossed[: crossed.index(ending)]
    flushed = crossed.index(crossed.of("flush")[0])
    if by_reference:
        assert not bare.complete or flushed < len(held)
        return
    # What happened until then is what happened there, nothing of it later.
    unflushed = [each for each in held if each[0] not in ("flush", "error")]
    passed = [each for each in passed if each[0] != "error"]
    assert unflushed[: len(passed)] == passed
    rest = unflushed[len(passed) :]
    assert [each for each in rest if each[0] == "wire"] == part
    if bare.complete:
        # The application is done, then the flush, and nothing but the part after it.
        after = [each for each in held[flushed + 1 :] if each[0] != "error"]
        assert flushed < len(held)
        assert after
        assert part[-len(after) :] == after
        assert not [each for each in crossed[flushed:] if each[0] == "app"]


def _assert_same_errors(bare: Timeline, crossed: Timeline) -> None:
    """Compare what came out; once a response is complete one of several will do."""
    wanted, found = bare.of("error"), crossed.of("error")
    if bare.complete and wanted:
        assert found
        assert all(each in wanted for each in found)
    elif wanted != bare.gone or found:  # that a client has gone is not told of what is held
        assert found == wanted
