"""Everything that comes in goes through here: the player's and the host's messages, controls, styles.

One thread, the session's worker. What comes in is noted on the tape before anything is done about it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

from plugin_bridge.duet.controls import BY_CONTROLLER, Controls, Kind, control
from plugin_bridge.duet.echo import EchoFilter
from plugin_bridge.duet.journal import Source, Tape, TapeEnd
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.partner import Partner
from plugin_bridge.duet.recording import Recording
from plugin_bridge.duet.style_switch import CaughtUp, StyleRequest
from plugin_bridge.engine.bundle import Style
from plugin_bridge.ports.host_clock import Timeline, timeline_to_bytes
from plugin_bridge.ports.messages import CONTROL_CHANGE, AllNotesOff, ProgramChange, event_from_message

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """MIDI bytes that came in at `time` clock seconds."""

    data: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Setting:
    """A control is to be set. The value has been checked."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Host:
    """What FL Studio's transport does, as known at `time` clock seconds."""

    timeline: Timeline
    time: float


Item: TypeAlias = Message | Setting | Host | StyleRequest | CaughtUp


FAULTS = 3
"""Failures within FAULT_SECONDS that end a session. After fewer it goes on."""
FAULT_SECONDS = 10.0

_Result = TypeVar("_Result")


class Conductor:
    """Takes items in the order in which they came. `on_take` is called when a take is to be saved."""

    def __init__(
        self, partner: Partner, around: Surroundings, recording: Recording, tape: Tape,
        styles: tuple[Style, ...], echo: EchoFilter, into: float = 0.0,
        on_take: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.partner = partner
        self._around, self._recording, self._tape = around, recording, tape
        self._styles, self._echo, self._into, self._on_take = styles, echo, into, on_take
        self._warned = False
        self._faults: deque[float] = deque(maxlen=FAULTS)

    def deliver(self, item: Item) -> None:
        """Take `item` in."""
        self._guarded(partial(self._take, item))

    def flush(self) -> None:
        """Put what was heard into the stream."""
        self._guarded(self.partner.flush)

    def play(self) -> float:
        """Let the partner decide and plan; how many seconds to wait, unless something comes in."""
        return self._guarded(self.partner.play) or 0.0

    def _guarded(self, action: Callable[[], _Result]) -> _Result | None:
        """What `action` gives. When it fails, everything is off and the duet begins anew; when it keeps
        failing, so does this."""
        try:
            return action()
        except TapeEnd:
            raise
        except Exception:
            self._tape.whole = False  # what broke is on no tape
            self._faults.append(self.partner.now())
            if len(self._faults) == FAULTS and self._faults[-1] - self._faults[0] < FAULT_SECONDS:
                raise
            logger.exception("something failed; the duet goes on")
            self.partner.recover()
            return None

    def _take(self, item: Item) -> None:
        match item:
            case Message(data, time):
                self._message(data, self._tape.add(time, Source.MESSAGE, data))
            case Setting(name, value):
                self._tape.add(None, Source.CONTROL, f"{name}={value!r}".encode())
                self._set(name, value)
            case Host(timeline, time):
                self._tape.add(time, Source.HOST, timeline_to_bytes(timeline))
                self._around.follow(timeline)
            case StyleRequest(style):
                self._tape.add(None, Source.STYLE, style.name.encode())
                self.partner.ask_style(item)
            case CaughtUp():
                self._tape.add(None, Source.CAUGHT_UP, b"")
                self.partner.style_arrived(item)

    def _message(self, data: bytes, time: float) -> None:
        if self._around.hear_message(data, time):
            return
        if len(data) == 3 and data[0] & 0xF0 == CONTROL_CHANGE and (row := BY_CONTROLLER.get(data[1])):
            self._set(row.name, row.at(data[2]))
            return
        event = event_from_message(data, time - self._into)
        match event:
            case None:
                pass
            case ProgramChange(program=program):
                self._set("style", float(program))
            case AllNotesOff():
                for each in self.partner.all_off(event.time):
                    self._recording.heard(each)
            case _ if self._echo.is_echo(event, time):
                self._warn_of_loop()
            case _:
                for each in self.partner.hear(event):
                    self._recording.heard(each)

    def _set(self, name: str, value: float) -> None:
        partner = self.partner
        if control(name).kind is Kind.TRIGGER:
            if value and name == "panic":
                partner.panic()
            elif value and name == "take":
                self._on_take()
            return
        if name == "style":
            if not value < len(self._styles):
                return
            partner.ask_style(StyleRequest(self._styles[int(value)]))
        partner.set_controls(partner.controls.with_value(name, value))

    def _warn_of_loop(self) -> None:
        if not self._warned and self._echo.looped:
            self._warned = True
            logger.warning("what the partner plays comes back to its input: it is kept out; mend the routing")


def with_style(controls: Controls, style: Style) -> Controls:
    """`controls` with a style's own way of drawing notes, where it is not set otherwise."""
    plain = Controls()
    sampling = style.sampling
    if controls.temperature == plain.temperature:
        controls = replace(controls, temperature=sampling.temperature)
    if controls.top_p == plain.top_p:
        controls = replace(controls, top_p=sampling.top_p)
    return controls
