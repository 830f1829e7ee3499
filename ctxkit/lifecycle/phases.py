"""The process from its start to its end: cold, warm, restored, frozen in between."""

from __future__ import annotations

import os
import sys
from itertools import count
from math import inf
from threading import Lock, RLock
from typing import TYPE_CHECKING, Final, Literal, final

from ctxkit.lifecycle._occasions import INIT, OCCASIONS, RESET, THAW
from ctxkit.lifecycle._sentinel import CLOCKS, Sentinel
from ctxkit.lifecycle.hosts import detect, marks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ctxkit.lifecycle._sentinel import Clocks
    from ctxkit.lifecycle.hosts import Hold, Host

Phase = Literal["init", "invoke", "shutdown"]

#: Seconds after which Lambda must have started an environment ahead of need: a request that
#: waited for the start would have come by then.
#: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
PROACTIVE: Final = 10.0


@final
class Environment:
    """Tell of the process we run in: what its host is, what it does, how it came to be.

    There is one, which :func:`ctxkit.environment` returns. Its attributes tell of this
    moment and are for reading.

    Args:
        environ: Environment variables to know the host by; None for the process's own.
        clocks: The clocks to go by.

    Safety:
        Thread-safe. A forked child begins anew: requests and phases belong to a process.

    Attributes:
        phase: ``"init"`` until the first request, ``"invoke"`` from then on,
            ``"shutdown"`` once the process is ending.
        cold: Whether this is the first request of its environment, and its client waited
            for the start: until that request has ended. False where the host starts
            environments ahead: Lambda's provisioned concurrency and managed instances, and
            where Lambda's first request came more than ten seconds after the start. After
            a restore it is true once more.
        restored: Whether the process was restored from a snapshot.
        freeze_gap: The seconds that the process stood still before the latest request, and
            after the one before that: 0.0 if it did not, None where nobody watches, which
            is where no response is ever held. Shorter ones than a third of a second pass
            unnoticed.
        initialised: Whether what waits for :func:`ctxkit.on_init` has been called.
        pid: The process.
    """

    __slots__ = (
        "_clocks",
        "_environ",
        "_host",
        "_id",
        "_lock",
        "_naming",
        "_numbers",
        "_ready",
        "_sentinel",
        "_tells",
        "_told",
        "_wall",
        "cold",
        "freeze_gap",
        "initialised",
        "phase",
        "pid",
        "restored",
    )

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, clocks: Clocks = CLOCKS
    ) -> None:
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        self._clocks = clocks
        self._wall = clocks.wall
        self._host: Host | None = None
        self.restored: bool = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be the environment of a process that has served nothing yet."""
        self.pid: int = os.getpid()
        self._lock = RLock()
        # Not the one above, in which hooks run: what they wait for may ask for the id.
        self._naming = Lock()
        self._id = ""
        self._numbers = count()
        self._sentinel = Sentinel(self._clocks)
        self._ready = self._clocks.monotonic()
        self._tells = False
        self._told = False
        self.initialised: bool = False
        self.phase: Phase = "init"
        self.cold: bool = True
        self.freeze_gap: float | None = None

    @property
    def host(self) -> Host:
        """What runs this process; detected once."""
        if self._host is None:
            self._host = detect(self._environ)
        return self._host

    @property
    def name(self) -> str:
        """The host's name: see :class:`ctxkit.lifecycle.Host`."""
        return self.host.name

    @property
    def hold(self) -> Hold:
        """Which responses have to wait for their flush here."""
        return self.host.hold

    @property
    def evidence(self) -> str:
        """The variable by which the host was told, as ``NAME=value``."""
        return self.host.evidence

    @property
    def init_type(self) -> str:
        """How Lambda came to start this environment; empty elsewhere."""
        return self.host.init_type

    @property
    def marks(self) -> tuple[str, ...]:
        """Everything in the variables that speaks of a host, as ``NAME=value``."""
        return marks(self._environ)

    @property
    def id(self) -> str:
        """A random id, 16 hexadecimal digits: another one in each process and each clone."""
        with self._naming:
            if not self._id:
                self._id = os.urandom(8).hex()
            return self._id

    @property
    def invocations(self) -> int:
        """How many requests this process has begun to serve."""
        # The only way to look at a counter that can be counted up without a lock.
        return int(repr(self._numbers)[len("count(") : -1])

    def __repr__(self) -> str:
        return f"<Environment {self.describe()}>"

    def describe(self) -> str:
        """Return in one line what is known."""
        told = [self.name]
        if self.evidence:
            told.append(f"told by {self.evidence}")
        if self.init_type:
            told.append(f"init type {self.init_type}")
        started = "restored" if self.restored else "started"
        age = self._clocks.monotonic() - self._ready
        told += ("cold" if self.cold else "warm", f"{started} {age:.1f} s ago")
        return ", ".join(told)

    def begun(self, known: dict[str, object], mode: str) -> None:
        """Note that a request begins; before it, call whoever waits for that.

        Args:
            known: The values of its frame. Gets ``cold_start`` on hosts that start, freeze
                and end processes by the request.
            mode: Which responses its boundary holds.
        """
        next(self._numbers)
        due = self._sentinel.due
        if due != inf and self._wall() > due:
            self._attend(mode)
        if self._tells:
            known["cold_start"] = self.cold

    def ended(self) -> None:
        """Note that a request is over, and have its remains forgotten.

        Does nothing in a warm environment where nobody waits for that.
        """
        self.cold = False
        RESET.run()

    def initialise(self) -> None:
        """Call whoever waits for the process to begin, once."""
        with self._lock:
            if os.getpid() != self.pid:  # as below
                self.begin_anew()
            if not self.initialised:
                self.initialised = True
                INIT.run()

    def restore(self) -> None:
        """Be a clone that has served nothing yet."""
        watching = self._sentinel.watching
        self._sentinel.stop()
        initialised = self.initialised
        self.begin_anew()
        self.initialised = initialised
        self.restored = True
        if watching:
            self._sentinel.watch()

    def shut_down(self) -> None:
        """Note that the process, or the server's lifespan, ends."""
        self.phase = "shutdown"
        self._sentinel.call()

    def _attend(self, mode: str) -> None:
        with self._lock:
            if os.getpid() != self.pid:  # forked by C code that runs no hooks: uWSGI
                self.begin_anew()
                next(self._numbers)
            self.initialise()
            # Hooks below run while others wait: no request overtakes what makes it possible.
            sentinel = self._sentinel
            gap = sentinel.settle()
            self.freeze_gap = gap if sentinel.watching else None
            self.phase = "invoke"
            if not self._told:
                self._told = True
                self._tell(mode)
            if gap:
                THAW.run_some(tuple(hook for hook in THAW.hooks if gap >= hook.after), gap)

    def _tell(self, mode: str) -> None:
        """Find out, before the first request, how it meets us, and log that."""
        host = self.host
        ahead = host.init_type == "provisioned-concurrency" or host.name == "aws-lambda-managed"
        late = self._clocks.monotonic() - self._ready > PROACTIVE
        self.cold = not (ahead or (late and host.name == "aws-lambda"))
        self._tells = host.hold != "never"
        if self._tells or mode != "never":
            self._sentinel.watch()
            self._sentinel.tick()
            self.freeze_gap = 0.0
        # Nobody listens where nobody has imported it, and a cold start need not pay for it.
        if "logging" in sys.modules:
            sys.modules["logging"].getLogger("ctxkit").info(
                "ctxkit.environment: %s; responses are held: %s", self.describe(), mode
            )


ENVIRONMENT: Final = Environment()

#: What a boundary calls at the beginning of each request.
begun: Callable[[dict[str, object], str], None] = ENVIRONMENT.begun


def environment() -> Environment:
    """Return what is known of the process we run in, and of its host.

    ::

        environment = ctxkit.environment()
        if environment.cold:
            print(environment.name, environment.init_type)
    """
    return ENVIRONMENT


def _begin_child() -> None:
    ENVIRONMENT.restored = False
    for occasion in OCCASIONS:
        occasion.revive()
    ENVIRONMENT.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
