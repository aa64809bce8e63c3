"""How an onset of the FL soak came to be where it was: from the host's record and the program's take.

The take has what the program knew of FL and when, and each decision falls again as it fell when it is played
again; the host's record has where FL really was. So each onset's distance from the grid comes apart into what
the program had planned (`planned_ms`, the plan's own distance from the sixteenth on the line that it went by
when the note left), how late it left (`late_ms`), how much longer than usual it was on the way (`way_ms`),
and how wrong that line was (`line_ms`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from fakes.fl_host import FlHost, Played

from plugin_bridge.duet.journal import Source
from plugin_bridge.duet.offline import replay
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.duet.takes import Take, load_take
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.events import Event, NoteOn
from plugin_bridge.ports.fl_protocol import SCRIPT, parse_frame, read_messages
from plugin_bridge.ports.host_clock import Timeline, timeline_from_bytes

BEFORE = 2.5
"""Seconds before an onset of which the story tells."""
ON_THE_WAY = 0.25
"""Seconds within which what was sent arrives."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the planner did at `time`: planned `events`, moved all by `moved`, or took back."""

    time: float
    what: str
    events: tuple[Event, ...] = ()
    moved: Callable[[float], float] = field(default=lambda time: time)


class Noting(Scheduler):
    """A scheduler that notes down what it is asked for."""

    steps: ClassVar[list[Step]] = []

    def schedule(self, generation: int, events: Iterable[Event]) -> bool:
        events = tuple(events)
        self.steps.append(Step(self._clock(), "planned", events))
        return super().schedule(generation, events)

    def retime(self, moved: Callable[[float], float]) -> None:
        self.steps.append(Step(self._clock(), "moved", moved=moved))
        super().retime(moved)

    def cancel_after(self, time: float, keep_offs: bool = True) -> None:
        self.steps.append(Step(self._clock(), f"taken back from {time:.4f}"))
        super().cancel_after(time, keep_offs)

    def begin(self, generation: int, release: bool = False, cut: float | None = None) -> bool:
        self.steps.append(Step(self._clock(), f"begun anew from {cut}"))
        return super().begin(generation, release, cut)


@dataclass(frozen=True, slots=True)
class Left:
    """An onset as the program sent it: when it was due and when it left."""

    due: float
    sent: float
    pitch: int
    velocity: int


class Course:
    """Where FL really was: quarter notes over time."""

    def __init__(self, host: FlHost) -> None:
        self._times, self._places, self._tempos = np.array(host.course[:]).reshape(-1, 3).T

    def at(self, time: float) -> tuple[float, float]:
        """Quarter notes and tempo (0: it stood) at `time` seconds."""
        index = min(int(np.searchsorted(self._times, time)), len(self._times) - 1)
        tempo = float(self._tempos[index])
        return float(self._places[index]) - (float(self._times[index]) - time) * tempo / 60, tempo


class Stories:
    """What is known of one soak. The take is played again when the first story is asked for."""

    def __init__(self, host: FlHost, take: Path, engine: Callable[[], Engine]) -> None:
        self.take: Take = load_take(take)
        self.course = Course(host)
        self._engine = engine
        self._host = host
        self._known = [
            (each.time, timeline_from_bytes(each.data))
            for each in self.take.tape.each_input()
            if each.source is Source.HOST
        ]
        self._left = [
            Left(row[0], row[0] + late, int(row[2]), int(row[3]))
            for row, late in zip(self.take.sent, self.take.late, strict=True)
            if row[1] == 1.0
        ]
        self._sent = [each.sent for each in self._left]
        self._steps: list[Step] | None = None

    def left(self, onset: Played) -> Left | None:
        """What the program sent, of which `onset` is what arrived."""
        first = bisect_left(self._sent, onset.arrived - ON_THE_WAY)
        last = bisect_right(self._sent, onset.arrived + 0.001)
        for each in reversed(self._left[first:last]):
            if bytes((each.pitch, each.velocity)) == onset.message[1:3]:
                return each
        return None

    def sent_late(self, seconds: float) -> int:
        """How many of all onsets left more than that after they were due."""
        return sum(each.sent - each.due > seconds for each in self._left)

    def known(self, time: float) -> Timeline | None:
        """What the program took FL's transport to be at `time`."""
        index = bisect_right(self._known, time, key=lambda each: each[0])
        return self._known[index - 1][1] if index else None

    def parts(self, onset: Played, way: float) -> dict[str, float] | None:
        """The parts of an onset's distance from the grid, milliseconds; `way` is the usual one, seconds."""
        left = self.left(onset)
        line = self.known(left.sent) if left is not None else None
        if left is None or line is None or line.tempo is None:
            return None
        place = line.position(left.due)
        assert place is not None
        planned = (place * 4 - round(place * 4)) * 15 / line.tempo
        really, tempo = self.course.at(left.due + way)
        wrong = (really - place) * 4
        wrong = (wrong - round(wrong)) * 15 / (tempo or line.tempo)
        parts = {
            "off": onset.off_grid, "planned": planned, "late": left.sent - left.due,
            "way": onset.arrived - left.sent - way, "line": wrong,
        }  # fmt: skip
        return {f"{name}_ms": round(value * 1e3, 2) for name, value in parts.items()}

    def story(self, onset: Played, way: float) -> dict[str, Any]:
        """All that led to one onset; times in seconds before it arrived."""
        left = self.left(onset)
        if left is None:
            return {"what": "never sent", "pitch": onset.message[1]}
        end = onset.arrived
        return {
            "parts": self.parts(onset, way),
            "looked_at": round(onset.time - end, 4),
            "due": round(left.due - end, 4), "sent": round(left.sent - end, 4),
            "plan": self._plan(left, end),
            "known": [
                (round(time - end, 4), each.playing, each.generation, round(each.tempo or 0.0, 3),
                 self._wrong(each, time))
                for time, each in self._known if end - BEFORE < time < end
            ],
            "reported": self._reported(end),
        }  # fmt: skip

    def _wrong(self, line: Timeline, time: float) -> float | None:
        """Milliseconds that FL was ahead of what was known of it."""
        place, (really, tempo) = line.position(time), self.course.at(time)
        if place is None or not tempo:
            return None
        return round((really - place) * 60e3 / tempo, 2)

    def _plan(self, left: Left, end: float) -> list[tuple[float, str, float]]:
        """What was planned and moved: when, what, and when the note was due then."""
        if self._steps is None:
            Noting.steps.clear()
            replay(self._engine(), self.take.settings, self.take.tape, Noting)
            self._steps = list(Noting.steps)
        found: list[tuple[float, str, float]] = []
        due: float | None = None
        for step in self._steps:
            if not end - 4.0 < step.time < left.sent + 0.05:
                continue
            for event in step.events:
                if isinstance(event, NoteOn) and event.pitch == left.pitch and event.time > step.time - 0.1:
                    due = event.time
                    found.append((round(step.time - end, 4), "planned", round(due - end, 4)))
            if due is not None and not step.events:
                moved = step.moved(due)
                if moved != due or step.what != "moved":
                    found.append((round(step.time - end, 4), step.what, round(moved - end, 4)))
                due = moved
        return found

    def _reported(self, end: float) -> list[tuple[float, int, int, int]]:
        """What the script reported: when, run, tempo in thousandths, ticks."""
        found = []
        for time, message in self._host.arrived:
            if not end - BEFORE < time < end or (frame := parse_frame(message)) is None:
                continue
            for each in read_messages(frame.payload, SCRIPT):
                if each.name == "transport":
                    told = each.number("run"), each.number("tempo"), each.number("position")
                    found.append((round(time - end, 4), *told))
        return found
