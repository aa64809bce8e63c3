"""Handing what came in to whoever listens: a callback that fails is logged and counted, and stops nothing."""

from __future__ import annotations

import logging

from plugin_bridge.ports.wire import MessageCallback

logger = logging.getLogger(__name__)


class Delivery:
    """The callback of an input called `name`, and its counts. Called by one thread at a time; `callback` may
    be set by any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.callback: MessageCallback | None = None
        self.received = self.failed = 0

    def __call__(self, message: bytes, arrived: float) -> None:
        """Deliver one message, which came in at `arrived` seconds."""
        callback = self.callback
        if callback is None:
            return
        self.received += 1
        try:
            callback(message, arrived)
        except Exception:
            self.failed += 1
            logger.exception("the callback of %r failed on %s", self._name, message[:16].hex(" "))
