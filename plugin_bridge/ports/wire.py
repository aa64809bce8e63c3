"""What every kind of port has in common: the interface, its counts, and what may be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from plugin_bridge.ports.messages import SYSEX_END, SYSEX_START
from plugin_bridge.ports.transport import Transport

MessageCallback: TypeAlias = Callable[[bytes, float], None]

MAX_MESSAGE_BYTES = 8000  # RtMidi drops larger ones on JACK without a word


@dataclass(frozen=True, slots=True)
class PortStats:
    """Counts since opening: messages in and out, callbacks that raised; `lost` says why a port died."""

    received: int
    sent: int
    failed_callbacks: int
    lost: str | None


class MidiPorts(Protocol):
    """One MIDI input and one MIDI output.

    Threads: `listen`, `send`, `stats` and `close` may be called from any thread. The callback runs in a
    thread of the ports (a `Loopback`: in the sender's) and must return at once: it stamps, queues and
    wakes, and never waits, computes or writes files. It may call `send`; it may not call `close`. An
    exception in it is logged and counted, and the next message is delivered all the same.
    """

    @property
    def transport(self) -> Transport:
        """What the messages travel through."""

    @property
    def input_name(self) -> str:
        """The port that is listened to."""

    @property
    def output_name(self) -> str:
        """The port that is sent to."""

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that.

        `message` is one whole message, SysEx and realtime included (active sensing is left out); `time` is
        its arrival in seconds of `plugin_bridge.ports.clock`. What came before `listen` is not delivered.
        """

    def send(self, message: bytes) -> None:
        """Send one whole message. BridgeError when closed or lost, ValueError for what is no message."""

    def stats(self) -> PortStats:
        """Counts so far."""

    def close(self) -> None:
        """Close both ports. Once this returns no callback runs and none follows. May be repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_message(message: bytes) -> None:
    """ValueError unless `message` is one whole MIDI message of at most MAX_MESSAGE_BYTES."""
    if not 1 <= len(message) <= MAX_MESSAGE_BYTES:
        raise ValueError(f"a MIDI message has 1 to {MAX_MESSAGE_BYTES} bytes, not {len(message)}")
    status, data = message[0], message[1:]
    if status == SYSEX_START:
        if len(message) < 2 or message[-1] != SYSEX_END:
            raise ValueError("a SysEx message ends with F7")
        data = message[1:-1]
    elif len(message) != _LENGTHS[status]:
        raise ValueError(f"a message of status {status:02X} has {_LENGTHS[status]} bytes, not {len(message)}")
    if max(data, default=0) > 0x7F:
        raise ValueError(f"a data byte is above 7F in {message[:8].hex(' ')}")


def message_length(status: int) -> int:
    """Bytes in a message of `status`; 0 for what starts none and for SysEx, which has no one length. After
    the MIDI 1.0 detailed specification."""
    return _LENGTHS[status]


def _length(status: int) -> int:
    if status < 0x80 or status in {0xF0, 0xF4, 0xF5, 0xF7, 0xF9, 0xFD}:
        return 0
    if 0xC0 <= status < 0xE0 or status in {0xF1, 0xF3}:
        return 2
    return 1 if status >= 0xF6 else 3


_LENGTHS = tuple(_length(status) for status in range(256))
