"""One end of the link to FL Studio: who talks with whom, acknowledgements, pacing, heartbeat, resending.

Both ends use this file. FL Studio's copy is `fl_scripts/Plugin Bridge/bridge_endpoint.py`, which a test holds
equal but for the import; hence Python 3.9 and ASCII. docs/fl-link.md describes the rules.

No threads, no clock, no ports: messages and times go in, messages come out. Times are seconds of any one
clock, and a time before the last one counts as the last one. What an endpoint holds is bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge_protocol import (
    DAEMON,
    LONGEST_CC_PAYLOAD,
    LONGEST_MESSAGES,
    LONGEST_PAYLOAD,
    SCRIPT,
    ControlChangeReader,
    Frame,
    Message,
    as_control_changes,
    is_coded,
    other_version,
    pack_frame,
    parse_frame,
    read_messages,
    write_message,
)

HEARTBEAT = 0.2
"""Seconds after which an end that has nothing to say sends an empty frame."""
DAEMON_SILENCE = 0.6
"""Seconds without the daemon after which FL Studio's end takes it for dead."""
SCRIPT_SILENCE = 1.0
"""Seconds without the script after which the daemon takes FL Studio for gone; FL stalls at times."""
RESEND = 0.25
"""Seconds without an acknowledgement after which frames are sent again."""
BROKEN = 2.0
"""Seconds without progress after which a session is given up for a new one, and SysEx for control changes."""
SEARCH = 3.0
"""Seconds without anyone after which the script changes the coding, too, to and fro."""
TICK = 0.02
"""Seconds between two calls of FL Studio's OnIdle, about."""
WINDOWS_FRAMES, MAC_FRAMES = 1, 8
"""Frames a tick that come through."""


class Endpoint:
    """One end. `role` is SCRIPT or DAEMON, `new_id` gives ids of 1 to 16383 that differ from end to end and
    from session to session, `frames` is how many frames may go in a tick, and in flight.

    `peer` is the id of the other end, 0 until one is heard; `linked` says that it hears us, too.
    `fresh` becomes True where a session begins: whoever sees it sets it to False and sends all of its state.
    `replaced` becomes True where a peer that had fallen silent was left for another one: whoever sees it sets
    it to False and forgets what the old one left behind.
    """

    def __init__(self, role: int, new_id: Callable[[], int], frames: int = WINDOWS_FRAMES) -> None:
        self.role, self.frames = role, frames
        self.own, self.peer = new_id(), 0
        self.linked = self.fresh = self.replaced = False
        self.spoken_version: int | None = None
        self.as_control_changes = False
        self._new_id = new_id
        self._silence = DAEMON_SILENCE if role == SCRIPT else SCRIPT_SILENCE
        self._reader = ControlChangeReader()
        self._now = float("-inf")
        self._heard = self._heard_anyone = self._sent = self._ticked = self._now
        self._unlinked_since: float | None = None
        self._hears = False  # anyone, lately
        self._searching = False  # the coding was changed where nobody was heard
        self._datagram: bytes | None = None
        self._urgent = False
        self._queue: dict[str, bytes] = {}
        self._reset()

    def _reset(self) -> None:
        """Forget the session."""
        self.linked = self._owes_ack = False
        self._queue.clear()
        self._flight: list[tuple[bytes, bool]] = []  # chunks not acknowledged yet, and whether more follows
        self._base = self._next = 0  # numbers of the first of them, and of the first one not sent yet
        self._progress = self._resent = self._now
        self._expected = 0
        self._partial = bytearray()

    def hears(self, time: float) -> bool:
        """Whether the other end is there at `time`."""
        return self.peer != 0 and max(time, self._now) - self._heard <= self._silence

    def hear(self, message: bytes, time: float) -> list[Message] | None:
        """Take one whole MIDI message: the messages that came with it, or None when it is not the link's."""
        self._now = max(time, self._now)
        if is_coded(message):
            whole = self._reader.hear(message)
            if whole is None:
                return []
            message = whole
        version = other_version(message)
        if version is not None:
            self.spoken_version = version
            return []
        frame = parse_frame(message)
        if frame is None:
            return [] if message[:4] == b"\xf0\x7d\x50\x42" else None
        if frame.sender == self.role:
            return []  # our own, or another like us: an echo
        self.spoken_version = None
        self._heard_anyone = self._now
        ours = frame.source == self.peer or self._accepts(frame)
        messages = self._from_peer(frame) if ours else self._datagrams(frame)
        for each in messages:
            each.source, each.from_peer = frame.source, ours
        return messages

    def _accepts(self, frame: Frame) -> bool:
        """Whether a frame begins a session with its sender. A script takes the first daemon it hears, a
        daemon only a script that hears it: other scripts, of keyboards, do not. A peer is left when it is
        silent; a daemon that addresses us has begun anew."""
        ours = frame.peer == self.own
        if frame.bye or not (ours if self.role == DAEMON else ours or not self.hears(self._now)):
            return False
        if self.role == DAEMON and self.hears(self._now):
            return False
        self.replaced = self.replaced or (self.peer != 0 and not ours)
        self.peer = frame.source
        self._reset()
        self._owes_ack = True  # so that it learns of us at once
        if self.role == DAEMON:
            self.own = self._new_id()  # so that the script begins anew as well
            self._heard = self._now
            return False
        return True

    def _from_peer(self, frame: Frame) -> list[Message]:
        if frame.bye:
            self.peer = 0
            self._reset()
            return []
        if self._now - self._heard > self._silence:
            self._progress = self._now  # nothing could be acknowledged meanwhile
        self._heard = self._now
        if frame.peer != self.own:  # it has not heard yet that we began anew
            return self._datagrams(frame)
        if not self.linked:
            self.linked = self.fresh = True
        self._acknowledged(frame.ack)
        if not frame.reliable:
            return self._datagrams(frame)
        self._owes_ack = True
        if frame.number != self._expected:
            return []
        self._expected = (self._expected + 1) % 128
        self._partial += frame.payload
        if len(self._partial) > LONGEST_MESSAGES:
            self._partial = bytearray()
        if frame.more:
            return []
        whole, self._partial = bytes(self._partial), bytearray()
        return read_messages(whole, frame.sender)

    @staticmethod
    def _datagrams(frame: Frame) -> list[Message]:
        return [] if frame.reliable else read_messages(frame.payload, frame.sender)

    def _acknowledged(self, ack: int) -> None:
        count = (ack - self._base) % 128
        if 0 < count <= (self._next - self._base) % 128:
            del self._flight[:count]
            self._base, self._progress = ack, self._now

    def send(self, name: str, /, **values: int | str | bytes) -> None:
        """Have a message delivered while the session lasts. One of the same name that still waits is
        replaced; without a session it is dropped, for a new one begins with all of the state."""
        if self.linked:
            self._queue.pop(name, None)
            self._queue[name] = write_message(name, **values)

    def post(self, data: bytes, urgent: bool = False) -> None:
        """Have messages sent once, acknowledged by nobody, heard by whoever listens. What was posted before
        and has not gone is replaced. `urgent`: before all that waits."""
        self._datagram = data
        self._urgent = urgent or self._urgent

    @property
    def waits(self) -> bool:
        """Whether what was posted has not gone yet."""
        return self._datagram is not None

    def due(self, time: float) -> list[bytes]:
        """The MIDI messages to send at `time`: those of a tick, or none while the last tick lasts."""
        self._now = max(time, self._now)
        if self._now - self._ticked < TICK * 0.75:
            return []
        self._ticked = self._now
        self._look_after_session()
        messages: list[bytes] = []
        for _ in range(1 if self.as_control_changes else self.frames):
            frame = self._next_frame()
            if frame is None:
                break
            packed = pack_frame(frame)
            messages += as_control_changes(packed) if self.as_control_changes else [packed]
            self._sent = self._now
        return messages

    def goodbye(self) -> list[bytes]:
        """The messages that end the session; to be sent at once."""
        packed = pack_frame(Frame(self.role, self.own, self.peer, bye=True))
        self.peer = 0
        self._reset()
        return as_control_changes(packed) if self.as_control_changes else [packed]

    def _look_after_session(self) -> None:
        if self._flight and self._now - self._progress > BROKEN and self.hears(self._now):
            self._reset()
            self.own = self._new_id()
        self._choose_coding()

    def _choose_coding(self) -> None:
        """Whoever hears another and is not heard changes the coding. Where nobody is heard, SysEx may come
        through in neither direction: then the script changes it, so that the program hears somebody. The
        program does not, for what it plays into may be no script's input, and take control changes for a
        knob's. Control changes are kept up for longer than SysEx, so that both ends come to speak them at a
        time."""
        hears = self._now - self._heard_anyone <= BROKEN
        if self._searching and hears:
            self._searching = self.as_control_changes = False
        if self.linked or hears != self._hears or not (hears or self.role == SCRIPT):
            self._unlinked_since, self._hears = None, hears
            return
        if self._unlinked_since is None:
            self._unlinked_since = self._now
        kept = SEARCH if not hears else 2 * BROKEN if self.as_control_changes else BROKEN
        if self._now - self._unlinked_since > kept:
            self._searching = not hears
            self.as_control_changes = not self.as_control_changes
            self._unlinked_since = self._now

    def _next_frame(self) -> Frame | None:
        if not (self._urgent and self._datagram is not None):
            chunk = self._next_chunk()
            if chunk is not None:
                return chunk
        if self._datagram is not None:
            payload, self._datagram, self._urgent = self._datagram, None, False
            return self._frame(payload)
        if self._owes_ack or self._now - self._sent >= HEARTBEAT:
            return self._frame(b"")
        return None

    def _next_chunk(self) -> Frame | None:
        """The next reliable frame to send, a lost one again, or None."""
        if not self.linked:
            return None
        if not self._flight and self._queue:
            data = b"".join(self._queue.values())
            self._queue.clear()
            size = LONGEST_CC_PAYLOAD if self.as_control_changes else LONGEST_PAYLOAD
            starts = range(0, len(data), size)
            self._flight = [(data[at : at + size], at + size < len(data)) for at in starts]
            self._progress = self._resent = self._now
        unsent = (self._next - self._base) % 128
        if unsent and self._now - max(self._progress, self._resent) > RESEND:
            self._next, unsent, self._resent = self._base, 0, self._now
        if unsent >= min(len(self._flight), self.frames):
            return None
        payload, more = self._flight[unsent]
        frame = self._frame(payload, reliable=True, more=more, number=self._next)
        self._next = (self._next + 1) % 128
        return frame

    def _frame(self, payload: bytes, reliable: bool = False, more: bool = False, number: int = 0) -> Frame:
        self._owes_ack = False
        return Frame(self.role, self.own, self.peer, payload, reliable, more, number, self._expected)
