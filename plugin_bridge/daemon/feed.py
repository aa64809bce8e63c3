"""What a page needs to draw the duet live: events, chords, beats, and the plan that is not final yet.

Threads: `add` is called by the session's worker and by scheduler threads, and takes microseconds. A `Reader`
belongs to one client and is read from any one thread. Times are seconds of the program's clock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any, TypeAlias

from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Pedal

KEPT = 2048
"""Events: a page that is opened shows the latest minute, unless somebody plays very fast."""
AHEAD = 2.0
"""Seconds of beats to come."""
MOST_PLANNED = 256
MOST_CHORDS = 16
MOST_BEATS = 64
BEATS_IN_BAR = 4

Row: TypeAlias = list[Any]
"""[time, "on", part, pitch, velocity], [time, "off", part, pitch] or [time, "pedal", part, down]; part 0 is
the player."""


class Feed:
    """The latest events of both parts."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, event: Event) -> None:
        """Something was played."""
        with self._lock:
            self._events.append(event)
            self._count += 1

    def since(self, count: int) -> tuple[list[Event], int]:
        """What was added after the first `count` events, as far as it is kept, and how many there are now."""
        with self._lock:
            new = min(self._count - count, len(self._events))
            return [self._events[index] for index in range(-new, 0)], self._count


class Reader:
    """Where one client stands. `frame` gives what is new since the last one."""

    def __init__(self, feed: Feed, since: float) -> None:
        """Begin with the events from `since` on."""
        self._feed = feed
        events, self._count = feed.since(0)
        self._first = [event for event in events if event.time >= since]
        self._spans = 0
        self._around: Surroundings | None = None
        self._beats_to = since
        self._plan: list[Row] = []

    def frame(self, session: DuetSession | None, time: float) -> dict[str, Any]:
        """What is new by `time`: `events`; `chords` as [time, name], with those of the next seconds; `beats`
        that have passed as [time, 1 on a bar's first, 0 on others, -1 where the bar is not known]; `ahead`,
        beats to come, and `plan`, the provisional events, where they changed."""
        events, self._count = self._feed.since(self._count)
        events, self._first = [*self._first, *events], []
        frame: dict[str, Any] = {"time": round(time, 4)}
        if events:
            frame["events"] = [row_of(event) for event in events]
        if session is None:
            return frame
        around = session.around
        if around is not self._around:
            self._around, self._spans = around, 0
        began = session.began
        spans, self._spans = around.chords_from(self._spans, time + AHEAD - began)
        if new := spans[-MOST_CHORDS:]:  # a given chart goes on for hours: only what is near is told
            frame["chords"] = [[round(began + each.start, 4), str(each.chord or "")] for each in new]
        passed = beats(session, max(self._beats_to, time - AHEAD), time)
        self._beats_to = time
        if passed:
            frame["beats"] = passed
        if ahead := beats(session, time, time + AHEAD):
            frame["ahead"] = ahead
        plan = [row_of(event) for event in session.partner.planned()[:MOST_PLANNED]]
        if plan != self._plan:
            self._plan = frame["plan"] = plan
        return frame


def row_of(event: Event) -> Row:
    """An event as a row."""
    time, part = round(event.time, 4), int(event.part)
    match event:
        case NoteOn(pitch=pitch, velocity=velocity):
            return [time, "on", part, pitch, velocity]
        case NoteOff(pitch=pitch):
            return [time, "off", part, pitch]
        case Pedal(down=down):
            return [time, "pedal", part, down]


def beats(session: DuetSession, start: float, end: float) -> list[Row]:
    """The beats from `start` until before `end`, as they are known now: by the host's transport, else by a
    given tempo, else by the beat that the player is heard to play, whose bar is not known."""
    around, tempo = session.around, session.settings.tempo
    transport = around.playing_transport
    if transport is not None:
        found = transport.beats(start, end)
        return [[round(each.time, 4), int(each.number == 0)] for each in found if start <= each.time < end]
    if tempo is not None:
        length = 60.0 / tempo
        first = max(math.ceil((start - session.began) / length - 1e-9), 0)
        last = math.ceil((end - session.began) / length - 1e-9)
        numbers = range(first, min(last, first + MOST_BEATS))
        return [[round(session.began + n * length, 4), int(n % BEATS_IN_BAR == 0)] for n in numbers]
    line = around.beat_line(start)
    first_heard = line.position(start)
    if first_heard is None:
        return []
    rows: list[Row] = []
    for number in range(math.ceil(first_heard - 1e-9), math.ceil(first_heard) + MOST_BEATS):
        time = line.time_of(float(number))
        if time is None or time >= end:
            break
        rows.append([round(time, 4), -1])
    return rows
