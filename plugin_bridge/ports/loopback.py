"""Two ends of a wire inside one process: the same interface as real ports, and deterministic.

Threads: `send` calls the other end's callback before it returns, in the caller's thread. One lock serves
both ends, so that two threads sending towards each other cannot block each other for ever.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.delivery import Delivery
from plugin_bridge.ports.wire import PortStats, check_message

if TYPE_CHECKING:
    from plugin_bridge.ports.transport import Transport
    from plugin_bridge.ports.wire import MessageCallback

logger = logging.getLogger(__name__)


class Loopback:
    """One end. Make a pair with `loopback_pair`; `peer` is the other end."""

    transport: Transport = "loopback"

    def __init__(self, input_name: str, output_name: str, lock: threading.RLock, clock: Clock) -> None:
        self.input_name = input_name
        self.output_name = output_name
        self.peer: Loopback = self
        self._lock = lock
        self._clock = clock
        self._deliver = Delivery(input_name)
        self._open = True
        self._sent = 0

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        with self._lock:
            self._deliver.callback = callback

    def send(self, message: bytes) -> None:
        """Hand `message` to the other end. BridgeError after close, ValueError for what is no message."""
        check_message(message)
        with self._lock:
            if not self._open:
                raise BridgeError(f"MIDI port {self.output_name!r} is closed")
            self._sent += 1
            self.peer._deliver(bytes(message), self.peer._clock())

    def stats(self) -> PortStats:
        """Counts so far."""
        with self._lock:
            return PortStats(self._deliver.received, self._sent, self._deliver.failed, None)

    def close(self) -> None:
        """Once this returns no callback is running in another thread and none follows. May be repeated."""
        with self._lock:
            self._open = False
            self._deliver.callback = None

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def loopback_pair(
    input_name: str = "Plugin Bridge In", output_name: str = "Plugin Bridge Out", clock: Clock = now
) -> tuple[Loopback, Loopback]:
    """Two connected ends: what one sends, the other's callback gets. The first one carries the names."""
    lock = threading.RLock()
    near = Loopback(input_name, output_name, lock, clock)
    far = Loopback(output_name, input_name, lock, clock)
    near.peer, far.peer = far, near
    return near, far
