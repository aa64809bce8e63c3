"""The demo: the built-in performance, played into a real session over real ports where there are any."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from plugin_bridge.duet.performance import TEMPO, performance
from plugin_bridge.duet.recording import hung_notes
from plugin_bridge.duet.report import Report
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.harmony import Chart
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.loopback import loopback_pair
from plugin_bridge.ports.messages import event_from_message
from plugin_bridge.ports.midi_ports import available_transport, open_named, open_virtual
from plugin_bridge.ports.wire import MidiPorts

INPUT_NAME, OUTPUT_NAME = "Plugin Bridge Demo In", "Plugin Bridge Demo Out"
TAIL = 6.0
"""Seconds for the answer to the last phrase."""


@dataclass(frozen=True, slots=True)
class Duet:
    """What came of it. `clip` holds both parts as they crossed the ports; `received` counts the partner's
    notes at the far end of its output."""

    clip: Clip
    report: Report
    received_notes: int
    received_hung: int


def play_demo(
    engine: Engine, *, seconds: float, seed: int, progress: Callable[[float], None] | None = None
) -> Duet:
    """Play for about `seconds` in real time. The player is a second MIDI client of its own."""
    played = performance(seconds - TAIL)
    length = played.duration + TAIL
    settings = SessionSettings(seed=seed, chart=Chart.of(played.chords), tempo=TEMPO)
    received: list[Event] = []

    def record(message: bytes, time: float) -> None:
        event = event_from_message(message, time, Part.PARTNER)
        if isinstance(event, NoteOn | NoteOff | Pedal):
            received.append(event)

    with ExitStack() as stack:
        ports, host = _connected(stack)
        host.listen(record)
        session = DuetSession(engine, ports, settings)
        session.start()
        stack.callback(session.stop)
        player = stack.enter_context(Scheduler(host.send))
        player.begin(0)
        player.schedule(0, [replace(event, time=event.time + session.began) for event in played.events()])
        ticking = threading.Event()
        while now() - session.began < length:
            if progress:
                progress(min(now() - session.began, length))
            ticking.wait(0.1)
            session.wait(0.0)
        session.stop()
        ticking.wait(0.1)  # the last messages are on their way
    clip = replace(session.clip(), beats=tuple(beat for beat in played.beats if beat.time <= length + 2.0))
    notes = sum(isinstance(event, NoteOn) for event in received)
    return Duet(clip, session.report(), notes, hung_notes(received))


def _connected(stack: ExitStack) -> tuple[MidiPorts, MidiPorts]:
    """The session's ports, and the player's at their other end."""
    if available_transport() in ("loopback", "winmm"):
        pair = loopback_pair(INPUT_NAME, OUTPUT_NAME)
        return stack.enter_context(pair[0]), stack.enter_context(pair[1])
    ports = stack.enter_context(open_virtual(INPUT_NAME, OUTPUT_NAME))
    return ports, stack.enter_context(open_named(OUTPUT_NAME, INPUT_NAME))
