"""The program's end of the link to FL Studio: what FL does, what its user turns, and what FL is to show.

One thread owns the link: `hear` takes every message of the MIDI input with its time, `frames_due` gives what
to send to the MIDI output and is called every `PERIOD`, `at` says in a frozen `HostState` what is known. The
`Timeline` in it answers what `host_clock.HostClock` answers from MIDI clock, so that either may lead a duet.
No threads, ports or clock of its own. docs/fl-link.md describes the protocol.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from plugin_bridge.ports.fl_endpoint import BROKEN, TICK, WINDOWS_FRAMES, Endpoint
from plugin_bridge.ports.fl_knobs import KnobReports
from plugin_bridge.ports.fl_protocol import DAEMON, VERSION, Message, write_message
from plugin_bridge.ports.fl_round_trip import RoundTrip
from plugin_bridge.ports.fl_transport import FlTransport, read_report
from plugin_bridge.ports.host_clock import Timeline

PERIOD = TICK
"""Seconds between two calls of `frames_due`; more often does no harm."""

_PATIENCE = 2 * BROKEN + 1.0  # seconds in which both codings have been tried


@dataclass(frozen=True, slots=True)
class HostState:
    """FL Studio as known at one moment. `timeline` is FL's as what leaves now will find it: ahead by
    `round_trip`, the seconds there and back. `loop` is from and to in quarter notes, None where nothing loops
    that FL tells of; `channel` is the channel rack's selected one, counted from 0, -1 where there is none;
    `project` is another number with every project that FL opens, `loading` while it does. Versions are empty
    until told. `released` counts notes that FL's side released by itself, because the transport stopped, say,
    or the program was silent. `problem` is one line that says what to mend, or None."""

    timeline: Timeline = field(default_factory=Timeline)
    round_trip: float = 0.0
    recording: bool = False
    song_mode: bool = False
    loop: tuple[float, float] | None = None
    channel: int = -1
    channel_name: str = ""
    project: int = 0
    loading: bool = False
    script_version: str = ""
    host_version: str = ""
    released: int = 0
    problem: str | None = None


class FlLink:
    """Follows one FL Studio."""

    def __init__(
        self,
        *,
        frames: int = WINDOWS_FRAMES,
        new_id: Callable[[], int] = lambda: 1 + secrets.randbelow(16383),
    ) -> None:
        """`frames` is how many frames a tick FL's side takes (`fl_endpoint`)."""
        self.knobs = KnobReports()
        self._endpoint = Endpoint(DAEMON, new_id, frames)
        self._transport = FlTransport()
        self._round_trip = RoundTrip()
        self._hint = ""
        self._channel: tuple[int, str] = (-1, "")
        self._project = (0, False)
        self._versions = ("", "")
        self._released = 0
        self._unanswered_since: float | None = None
        self._heard = -math.inf

    @property
    def linked(self) -> bool:
        """Whether both ends hear each other."""
        return self._endpoint.linked

    def hear(self, message: bytes, time: float) -> bool:
        """Take one whole message that came at `time` seconds. True: it is the link's, and no music.
        Nothing raises."""
        if not math.isfinite(time):
            return False
        messages = self._endpoint.hear(bytes(message), time)
        if messages is None:
            return False
        for each in messages:
            self._take(each, time)
        if self._endpoint.peer == 0:
            self._transport.leave()
        if self.linked:
            self._unanswered_since = None
        elif self._unanswered_since is None or time - self._heard > _PATIENCE:
            self._unanswered_since = time
        self._heard = time
        return True

    def frames_due(self, time: float) -> list[bytes]:
        """The MIDI messages to send at `time`: at most those of a tick."""
        if self._endpoint.fresh:
            self._endpoint.fresh = False
            self._endpoint.send("hint", text=self._hint)
            self._round_trip.forget()
        waits = self._endpoint.waits
        if self.linked and (waits or self._round_trip.due(time)):
            self._endpoint.post(write_message("ping", number=self._round_trip.ping(time, again=waits)))
        return self._endpoint.due(time)

    def close(self) -> list[bytes]:
        """The MIDI messages that end the link, to be sent at once: FL's side then releases what sounds."""
        return self._endpoint.goodbye()

    def show(self, text: str) -> None:
        """Show one line in FL Studio's hint bar."""
        if text != self._hint:
            self._hint = text
            self._endpoint.send("hint", text=text)

    def panic(self) -> None:
        """Have FL's side release every note of the partner's, beside what the program itself sends."""
        self._endpoint.send("panic")

    def at(self, time: float) -> HostState:
        """What is known at `time` seconds, which is not before the last message."""
        last = self._transport.last
        return HostState(
            self._transport.at(time, self._round_trip.seconds),
            self._round_trip.seconds,
            last is not None and last.recording,
            last is not None and last.song_mode,
            last.loop if last else None,
            *self._channel,
            *self._project,
            *self._versions,
            self._released,
            self._problem(time),
        )

    def _take(self, message: Message, time: float) -> None:
        if message.name == "knobs":  # of any controller's script, also one that does not hear us
            self.knobs.hear(message.source, message.number("last"), message.data("moves"), time)
        elif not message.from_peer:
            return
        elif message.name == "transport":
            report = read_report(message)
            if report is not None:
                self._transport.report(report, time)
        elif message.name == "echo":
            self._round_trip.echo(message.number("number"), message.number("held") / 1e6, time)
        elif message.name == "channel":
            self._channel = max(message.number("index"), -1), message.text("name")
        elif message.name == "project":
            self._project = message.number("number"), bool(message.number("loading"))
        elif message.name == "released":
            self._released += message.number("notes")
        elif message.name == "hello":
            self._versions = message.text("script"), message.text("host")

    def _problem(self, time: float) -> str | None:
        spoken = self._endpoint.spoken_version
        if spoken is not None:
            return (
                f"FL Studio's script speaks version {spoken} of the link and this program version {VERSION}: "
                "run plugin-bridge fl install, then restart FL Studio"
            )
        if self._unanswered_since is not None and time - self._unanswered_since > _PATIENCE:
            return (
                "FL Studio's script is heard but does not hear this program: in FL's MIDI settings, choose "
                "Plugin Bridge for the input that this program plays into, with the Port number of the output"
            )
        return None
