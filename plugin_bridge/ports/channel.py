"""One end of the wire between the daemon and its port keeper: frames over a pair of sockets.

Threads: `send` and `send_midi` may be called from any thread, and never wait: what does not fit through at
once is left to the writer, a thread that sleeps otherwise. `receive` belongs to one thread, which also calls
`close`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterable

from plugin_bridge.ports.frames import Deframer, Frame, midi_frame
from plugin_bridge.ports.outbox import Outbox

_PIECE = 65536


class Channel:
    """Owns `end`. When the other end has gone, `receive` says so, and what is sent is dropped."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._deframer = Deframer()
        self._outbox = Outbox()
        self._rest = b""  # of what was taken out of the outbox; under `_waiting`
        self._open = True
        self._waiting = threading.Condition()
        self._writer = threading.Thread(target=self._write_on, name="port-writer", daemon=True)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """How many messages were dropped because the other end did not read."""
        return self._outbox.dropped

    def send_midi(self, message: bytes, time: float) -> None:
        """Send a message and its time in seconds."""
        self.send(midi_frame(message, time), message)

    def send(self, frame: bytes, message: bytes | None = None) -> None:
        """Send a frame; `message` is the MIDI message in it, if it is one."""
        with self._waiting:
            if not self._open:
                return
            self._outbox.put(frame, message)
            if self._rest:
                return  # the writer is at it
            self._flush()
            if self._rest:
                self._waiting.notify()

    def receive(self, seconds: float | None, also: Iterable[int] = ()) -> list[Frame] | None:
        """The frames that come in within `seconds` (None: however long it takes); empty when none do, or one
        of the handles `also` can be read. None when the other end has gone; ValueError when it is broken."""
        wanted: list[socket.socket | int] = [self._end, *also]
        ready, _, _ = select.select(wanted, [], [], seconds)
        if self._end not in ready:
            return []
        try:
            data = self._end.recv(_PIECE)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._deframer.feed(data) if data else None

    def finish(self) -> None:
        """Say that nothing follows; what was sent still arrives, as far as the other end reads."""
        with self._waiting, contextlib.suppress(OSError):
            if not self._rest:
                self._end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the socket back. May be repeated."""
        with self._waiting:
            self._open, self._rest = False, b""
            self._waiting.notify()
        self._writer.join()
        self._end.close()

    def _flush(self) -> None:
        """Send as much as fits through; under `_waiting`."""
        while self._open and (self._rest or self._outbox):
            self._rest = self._rest or self._outbox.take()
            try:
                self._rest = self._rest[self._end.send(self._rest) :]
            except BlockingIOError:
                return
            except OSError:
                self._open, self._rest = False, b""

    def _write_on(self) -> None:
        while True:
            with self._waiting:
                self._waiting.wait_for(lambda: self._rest or not self._open)
                if not self._open:
                    return
            select.select([], [self._end], [], 1.0)  # a socket that is closed meanwhile is noticed then
            with self._waiting:
                self._flush()
