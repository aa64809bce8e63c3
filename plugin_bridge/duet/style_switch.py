"""Another style for a running duet: an engine of it is brought up to date in a thread of its own.

All methods belong to the session's worker; only `_catch_up` runs elsewhere, and posts its result back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.replay import History, Replay

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StyleRequest:
    """A style was asked for."""

    style: Style


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What became of a request: a replay that stands where the stream stood, or the problem there was."""

    request: StyleRequest
    replay: Replay | None
    problem: Exception | None = None


class StyleSwitch:
    """The latest request, until it is `ready`. The one before it is forgotten."""

    def __init__(self, post: Callable[[CaughtUp], None]) -> None:
        self._post = post
        self._request: StyleRequest | None = None
        self.ready: Replay | None = None

    def ask(self, request: StyleRequest, engine: Engine, history: History) -> None:
        """Begin to bring an engine of the style to `history`."""
        self._request, self.ready = request, None
        arguments = (request, engine, history, self._post)
        threading.Thread(target=_catch_up, args=arguments, name="style", daemon=True).start()

    def arrived(self, caught: CaughtUp) -> None:
        """A thread is done."""
        if caught.request is not self._request:
            return
        self.ready = caught.replay
        if caught.problem is not None:
            logger.warning("%s: the style stays as it is (%s)", caught.request.style.name, caught.problem)

    def take(self) -> Replay | None:
        """The replay that is ready, once."""
        ready, self.ready = self.ready, None
        return ready


def _catch_up(
    request: StyleRequest, engine: Engine, history: History, post: Callable[[CaughtUp], None]
) -> None:
    try:
        post(CaughtUp(request, Replay(engine.with_style(request.style), history)))
    except Exception as error:  # whatever a bundle does to the runtime, the duet goes on
        post(CaughtUp(request, None, error))
