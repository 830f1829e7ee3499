"""Lambda's Extensions API, as far as extensions inside the runtime's process may use it.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ctxkit.testing._listener import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition

    from ctxkit.testing._listener import Request

EXTENSIONS: Final = "/2020-01-01/extension"

_MOST: Final = 10  # extensions of one function
_JSON: Final = {"Content-Type": "application/json"}
_ACCEPTED: Final = Reply(202, b'{"status":"OK"}', _JSON)


@dataclass(slots=True)
class Extension:
    """Hold one extension that has registered itself.

    Attributes:
        name: What it calls itself.
        invoked: Whether it is told of invocations.
        waiting: Whether it waits for its next event, and so lets the host freeze it.
    """

    name: str
    invoked: bool
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    waiting: bool = False
    events: deque[bytes] = field(default_factory=deque[bytes])
    polls: int = 0


class Extensions:
    """Serve the API to the extensions of one process.

    Args:
        changed: Guards the state, and is notified of each change.
        about: What a registration is answered with.
        look: Called, with the state guarded, when an extension begins to wait.

    Attributes:
        closed: Whether it is too late to register.
        ended: Whether the process is gone, and its polls with it.
        failure: What an extension reported of itself; None if none did.
    """

    def __init__(
        self, changed: Condition, about: dict[str, str], look: Callable[[], object]
    ) -> None:
        self.closed = False
        self.ended = False
        self.failure: str | None = None
        self._changed = changed
        self._about = about
        self._look = look
        self._all: dict[str, Extension] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those that are registered."""
        return tuple(extension.name for extension in self._all.values())

    def ready(self) -> bool:
        """Return whether each of them waits for its next event."""
        return all(extension.waiting for extension in self._all.values())

    def tell(self, event: dict[str, Any]) -> None:
        """Hand an event to those who asked for invocations. The state is to be guarded."""
        for extension in self._all.values():
            if extension.invoked:
                extension.waiting = False
                extension.events.append(json.dumps(event).encode())

    def serve(self, request: Request) -> Reply | None:
        """Answer one request; None means that there never will be an answer."""
        with self._changed:
            if (request.method, request.path) == ("POST", f"{EXTENSIONS}/register"):
                return self._register(request)
            identifier = request.headers.get("lambda-extension-identifier", "")
            extension = self._all.get(identifier)
            if extension is None:
                kind = "Unknown" if identifier else "Missing"
                return _refused(f"Extension.{kind}ExtensionIdentifier")
            if (request.method, request.path) == ("GET", f"{EXTENSIONS}/event/next"):
                return self._next(extension)
            if request.method == "POST" and request.path.endswith(("/init/error", "/exit/error")):
                self.failure = request.headers.get("lambda-extension-function-error-type", "")
                self._changed.notify_all()
                return _ACCEPTED
        return Reply(404, b"{}", _JSON)

    def _register(self, request: Request) -> Reply:
        name = request.headers.get("lambda-extension-name", "")
        if not name:
            return _refused("Extension.InvalidExtensionName")
        try:
            events = frozenset(json.loads(request.raw).get("events", ()))
        except (ValueError, AttributeError, TypeError):
            return _refused("InvalidRequestFormat")
        if self.closed:
            return _refused("Extension.RegistrationClosed")
        if "SHUTDOWN" in events:
            return _refused(
                "Extension.InvalidEventType", "ShutdownEventNotSupportedForInternalExtension"
            )
        if not events <= {"INVOKE"}:
            return _refused("Extension.InvalidEventType", "ErrorInvalidEventType")
        if name in self.names:
            return _refused("Extension.AlreadyRegistered")
        if len(self._all) == _MOST:
            return _refused("Extension.TooManyExtensions")
        extension = Extension(name, "INVOKE" in events)
        self._all[extension.identifier] = extension
        headers = {**_JSON, "Lambda-Extension-Identifier": extension.identifier}
        return Reply(200, json.dumps(self._about).encode(), headers)

    def _next(self, extension: Extension) -> Reply | None:
        """Let the host freeze the extension, and answer once there is an event for it."""
        extension.polls += 1
        poll = extension.polls
        extension.waiting = not extension.events
        self._look()
        while not extension.events:
            self._changed.wait()
            # Whoever asks again has given up his earlier question.
            if self.ended or poll != extension.polls:
                return None
        event = extension.events.popleft()
        return Reply(200, event, {**_JSON, "Lambda-Extension-Event-Identifier": str(uuid.uuid4())})


def _refused(kind: str, message: str = "") -> Reply:
    return Reply(403, json.dumps({"errorType": kind, "errorMessage": message}).encode(), _JSON)
