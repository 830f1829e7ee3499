"""Real processes in a group of their own: stopped and continued whole, never left behind."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TAIL = 4000  # bytes of output that an error quotes

_alive: weakref.WeakSet[ProcessGroup] = weakref.WeakSet()


class ProcessGroup:
    """Start a command in its own session, together with whatever it will fork.

    Args:
        argv: The command.
        env: Variables on top of those of this process; None as value removes one.
        cwd: The directory to start in; None means this process's own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        environment = {**os.environ, **(env or {})}
        # Not a pipe: nobody reads it while the group runs, and a full pipe would block it.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - running the given command is the purpose
                argv,
                env={name: value for name, value in environment.items() if value is not None},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError:
            self._log.close()
            raise
        self.pid = self._process.pid
        self._output = b""
        _alive.add(self)

    @property
    def exit_code(self) -> int | None:
        """The exit code of the first process, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop every process of the group where it stands."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue every process of the group."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask every process of the group to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process of the group without grace, and wait for the first. Idempotent."""
        if self._log.closed:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._output = self._read()
        self._log.close()
        _alive.discard(self)

    def output(self) -> str:
        """Return the end of what the group has printed so far."""
        raw = self._output if self._log.closed else self._read()
        return raw.decode(errors="replace")

    def _read(self) -> bytes:
        # Not through the shared offset, at which the group goes on writing.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), _TAIL, max(0, size - _TAIL))

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone. A group of zombies raises PermissionError on macOS.
            return


def state(pid: int) -> str:
    """Return the state letter of a process: ``T`` if stopped, empty if there is none (Linux).

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


@atexit.register
def kill_all() -> None:
    """Kill every group that its owner forgot."""
    for group in list(_alive):
        group.kill()
