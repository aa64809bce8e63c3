"""Another style for a running duet: an engine of it is brought up to date in a thread of its own.

All methods belong to the session's worker; only `_catch_up` runs elsewhere, one at a time, and posts its
result back. A request that is overtaken by another gives up soon.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.replay import Cancelled, History, Replay

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class StyleRequest:
    """A style was asked for."""

    style: Style


@dataclass(frozen=True, slots=True, eq=False)
class CaughtUp:
    """What became of a request: a replay that stands where the stream stood, or None."""

    request: StyleRequest
    replay: Replay | None


class StyleSwitch:
    """The latest request, until it is `ready`. The one before it is forgotten."""

    def __init__(self, post: Callable[[CaughtUp], None], in_background: bool = True) -> None:
        self._post, self._in_background = post, in_background
        self._wanted: StyleRequest | None = None
        self._busy = False
        self.ready: Replay | None = None

    @property
    def pending(self) -> bool:
        """Whether a style was asked for that is not there yet."""
        return self._wanted is not None

    def ask(self, request: StyleRequest, engine: Engine, history: Callable[[], History]) -> None:
        """Bring an engine of the style to `history`; nothing to do where `engine` plays it already."""
        self.ready = None
        self._wanted = None if request.style == engine.style else request
        self._begin(engine, history)

    def arrived(self, caught: CaughtUp, engine: Engine, history: Callable[[], History]) -> None:
        """The thread is done. Where another request has come meanwhile, its turn is now."""
        self._busy = False
        if caught.request is self._wanted:
            self._wanted, self.ready = None, caught.replay
        self._begin(engine, history)

    def take(self) -> Replay | None:
        """The replay that is ready, once."""
        ready, self.ready = self.ready, None
        return ready

    def _begin(self, engine: Engine, history: Callable[[], History]) -> None:
        request = self._wanted
        if request is None or self._busy:
            return
        self._busy = True
        arguments = (request, engine, history())
        if self._in_background:
            threading.Thread(target=self._catch_up, args=arguments, name="style", daemon=True).start()
        else:
            self._catch_up(*arguments)

    def _catch_up(self, request: StyleRequest, engine: Engine, history: History) -> None:
        replay = None
        try:
            replay = Replay(engine.with_style(request.style), history, lambda: self._wanted is not request)
        except Cancelled:
            pass
        except Exception as error:  # whatever a bundle does to the runtime, the duet goes on
            logger.warning("%s: the style stays as it is (%s)", request.style.name, error)
        self._post(CaughtUp(request, replay))
