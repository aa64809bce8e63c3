"""Bytes as they come over a wire, as whole messages: running status, and real-time bytes anywhere.

After the MIDI 1.0 detailed specification (running status; system real time messages): data bytes without a
status repeat the last channel status; a real-time byte may stand between any two bytes and changes nothing;
a system common message and a SysEx end running status; a SysEx ends at F7 or at any other status. Most
systems deliver whole messages, so that is the quick way.
"""

from __future__ import annotations

from plugin_bridge.ports.messages import SYSEX_END, SYSEX_START
from plugin_bridge.ports.wire import MAX_MESSAGE_BYTES, message_length

_REALTIME = 0xF8


class Splitter:
    """Splits what one input delivers. Not thread-safe: one per reader."""

    def __init__(self) -> None:
        self._status = 0  # running status; 0: none
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. What makes no sense is left out; nothing raises."""
        if data and not self._partial and _is_whole(data):
            if data[0] < SYSEX_START:
                self._status = data[0]
            elif data[0] < _REALTIME:
                self._status = 0
            return [data]
        found: list[bytes] = []
        for byte in data:
            if byte >= _REALTIME:
                if message_length(byte) == 1:
                    found.append(bytes((byte,)))
            elif byte == SYSEX_END:
                if self._partial[:1] == bytes((SYSEX_START,)):
                    found.append(bytes(self._partial) + bytes((byte,)))
                self._partial.clear()
            elif byte >= 0x80:
                self._begin(byte, found)
            else:
                self._add(byte, found)
        return found

    def _begin(self, status: int, found: list[bytes]) -> None:
        self._partial = bytearray((status,))
        self._status = status if status < SYSEX_START else 0
        length = message_length(status)
        if length == 1:
            found.append(bytes((status,)))
        if status != SYSEX_START and length <= 1:
            self._partial.clear()

    def _add(self, byte: int, found: list[bytes]) -> None:
        if not self._partial:
            if not self._status:
                return  # data of nothing
            self._partial = bytearray((self._status,))
        self._partial.append(byte)
        status = self._partial[0]
        if status == SYSEX_START:
            if len(self._partial) > MAX_MESSAGE_BYTES:
                self._partial.clear()
        elif len(self._partial) == message_length(status):
            found.append(bytes(self._partial))
            self._partial.clear()


def _is_whole(data: bytes) -> bool:
    if data[0] == SYSEX_START:
        return len(data) > 1 and data[-1] == SYSEX_END and max(data[1:-1], default=0) < 0x80
    return len(data) == message_length(data[0]) > 0 and max(data[1:], default=0) < 0x80
