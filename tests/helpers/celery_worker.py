"""A real worker of Celery, for the tests of its adapter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Self

from helpers.celery_shop import make_app
from helpers.servers import python_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class Worker:
    """Run `celery worker` on the shop; a context manager that ends it.

    Attributes:
        app: The shop, to send to it.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        broker: str,
        results: str,
        folder: Path,
        pool: str = "prefork",
        environ: Mapping[str, str] | None = None,
        *,
        at_once: int = 1,
    ) -> None:
        queue = f"shop-{uuid.uuid4().hex[:8]}"
        self.app = make_app(broker, results, queue)
        self._log = (folder / "worker.log").open("w+")
        shop = {"SHOP_BROKER": broker, "SHOP_NOTES": results, "SHOP_QUEUE": queue}
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        options = (f"--pool={pool}", f"--concurrency={at_once}", *quiet)
        self.process = subprocess.Popen(
            (sys.executable, "-m", "celery", "-A", "helpers.celery_shop", "worker", *options),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": python_path(), **shop, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def log(self) -> str:
        """What the worker has written."""
        self._log.seek(0)
        return self._log.read()

    def __enter__(self) -> Self:
        """Wait until it works."""
        try:
            self.app.tasks["look"].delay().get(timeout=40)
        except BaseException as error:
            error.add_note(self.log)
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def end(self, timeout: float = 20) -> int:
        """Shut it down as its supervisor does, and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def close(self) -> None:
        """End it, and what is left of it."""
        try:
            self.end(1)  # with RabbitMQ some take ten
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        finally:
            self.app.backend.result_consumer.stop()
            self.app.backend.client.close()
            self.app.backend.client.connection_pool.disconnect()
            self.app.close()
            self._log.close()
