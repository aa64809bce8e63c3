"""What is planned and not yet played: events in time order, each note-off tied to its own note.

A note-off closes the note it was planned for and no other. So a plan can be cut and planned anew around
notes that sound already: an old note-off never shortens a new note of the same key, and none is lost.
The sustain pedal is one more key: down begins it, up ends it.

No thread, no clock: one caller at a time, who passes the time in. All times are seconds of one clock.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal

ORPHAN_SECONDS = 2.0  # a note whose plan is superseded before its end was planned sounds no longer than this

_PEDAL = 128  # the pedal's key, beside the 128 pitches
_OFF, _MOVE, _ON, _OFF_AT_ONCE = range(4)  # order at the same time; the last: of a note that begins then


class _State(Enum):
    PLANNED = auto()
    DOWN = auto()
    DONE = auto()  # ended, dropped or cancelled


@dataclass(slots=True, eq=False)
class _Note:
    """One stroke of a key. `end` is its planned end, which the next plan may replace if `provisional`."""

    key: int
    part: Part
    begin: float
    state: _State = _State.PLANNED
    end: _Entry | None = None
    provisional: bool = False


@dataclass(slots=True, order=True)
class _Entry:
    """A begin or an end of a note in the queue, ordered by its first three fields."""

    time: float
    rank: int
    serial: int
    note: _Note = field(compare=False)
    velocity: int = field(default=0, compare=False)
    begins: bool = field(default=False, compare=False)

    @property
    def dead(self) -> bool:
        """Whether it has nothing to do any more and only waits to be thrown away."""
        if self.begins:
            return self.note.state is not _State.PLANNED
        return self.note.state is _State.DONE or self.note.end is not self


class PlanQueue:
    """The events still to come. `latest`: seconds after which a note-on is too late to be played."""

    def __init__(self, latest: float = 0.08) -> None:
        if not latest >= 0:
            raise ValueError(f"latest is {latest}, not a duration in seconds")
        self.generation = -1
        self.dropped = 0  # note-ons that came too late, so far
        self._latest = latest
        self._live = False  # whether the present generation may still plan
        self._heap: list[_Entry] = []
        self._serial = itertools.count()
        self._down: dict[int, _Note] = {}  # by key: the note that sounds
        self._newest: dict[int, _Note] = {}  # by key: the note that a planned end belongs to

    def __len__(self) -> int:
        """Begins and ends still to come."""
        return sum(not entry.dead for entry in self._heap)

    @property
    def next_due(self) -> float | None:
        """When the next event is due, None when there is none."""
        while self._heap and self._heap[0].dead:
            heapq.heappop(self._heap)
        return self._heap[0].time if self._heap else None

    def begin(self, generation: int, now: float, cut: float = -math.inf) -> bool:
        """Make `generation` the only one that may plan; False when it is an old one.

        A newer one discards what is planned to begin at `cut` or later. Notes that begin before keep their
        planned ends, until the new plan names others; those without one end ORPHAN_SECONDS after `now`,
        unless the new plan ends them.
        """
        if generation <= self.generation:
            return generation == self.generation and self._live
        self.generation, self._live = generation, True
        self.cancel_after(cut)
        for note in self._notes():
            if note.end is None:
                self._end_at(note, now + ORPHAN_SECONDS, provisional=True)
        return True

    def plan(self, generation: int, events: Iterable[Event]) -> bool:
        """Add `events` of the present generation; False, and nothing is added, when it is an old one.

        Events come in time order over all calls between two cuts. A note-off ends the newest note of its
        key, however the times lie; with nothing to end it is ignored. ValueError for a generation that was
        not begun or a time that is no number.
        """
        if generation > self.generation:
            raise ValueError(f"generation {generation} was not begun; the present one is {self.generation}")
        if generation < self.generation or not self._live:
            return False
        ordered = sorted(events, key=lambda event: event.time)  # stable: equal times keep their order
        for event in ordered:
            if not math.isfinite(event.time):
                raise ValueError(f"{event} has no usable time")
        for event in ordered:
            self._add(event)
        return True

    def cancel_after(self, time: float) -> None:
        """Take back every note-on and pedal-down due at `time` or later, together with its end.

        Notes begun before keep the ends they have; those at `time` or later become provisional: the next
        planned end of that note replaces them. A note that a cancelled stroke of its key would have ended
        ends, provisionally, when that stroke was due.
        """
        newest = dict(self._down)
        for entry in sorted(entry for entry in self._heap if not entry.dead):
            note = entry.note
            if not entry.begins:
                note.provisional |= entry.time >= time
            elif entry.time < time:
                newest[note.key] = note
            else:
                note.state = _State.DONE
                before = newest.get(note.key)
                if before is not None and before.end is None:
                    self._end_at(before, entry.time, provisional=True)
        self._newest = newest
        self._heap = [entry for entry in self._heap if not entry.dead]
        heapq.heapify(self._heap)

    def retime(self, moved: Callable[[float], float]) -> None:
        """Everything planned is due at the time that `moved` makes of its own; it never turns two around, but
        may bring them together."""
        for entry in self._heap:
            entry.time = moved(entry.time)
            if entry.begins:
                entry.note.begin = entry.time
        for entry in self._heap:
            note = entry.note
            if entry.rank == _OFF and note.state is _State.PLANNED and entry.time <= note.begin:
                entry.rank = _OFF_AT_ONCE
        heapq.heapify(self._heap)

    def release(self, time: float) -> None:
        """End at `time`, at the latest, every note and pedal begun before `time`. What begins later stays."""
        for note in list(self._notes()):
            if note.begin < time or note.state is _State.DOWN:
                if note.end is None or note.end.time > time:
                    self._end_at(note, time, provisional=False)
                note.provisional = False

    def clear(self) -> None:
        """Forget everything, what sounds included, and refuse the present generation from now on."""
        for note in self._notes():
            note.state = _State.DONE
        self._heap.clear()
        self._down.clear()
        self._newest.clear()
        self._live = False

    def pop(self, now: float) -> Event | None:
        """The next event due at `now`, its time being when it was due; None when nothing is due yet.

        Note-ons later than `latest` are dropped with their note-offs: all that is left of one is a note-off
        where its key was down. Ends and pedals come out however late.
        """
        while (due := self.next_due) is not None and due <= now:
            entry = heapq.heappop(self._heap)
            event = self._begin(entry, now) if entry.begins else self._end(entry)
            if event is not None:
                return event
        return None

    def _add(self, event: Event) -> None:
        match event:
            case NoteOn():
                self._stroke(_Note(event.pitch, event.part, event.time), _ON, event.velocity)
            case NoteOff():
                self._plan_end(event.pitch, event.time)
            case Pedal(down=True):
                self._stroke(_Note(_PEDAL, event.part, event.time), _MOVE)
            case Pedal():
                self._plan_end(_PEDAL, event.time)

    def _stroke(self, note: _Note, rank: int, velocity: int = 0) -> None:
        entry = _Entry(note.begin, rank, next(self._serial), note, velocity, begins=True)
        heapq.heappush(self._heap, entry)
        self._newest[note.key] = note

    def _plan_end(self, key: int, time: float) -> None:
        note = self._newest.get(key)
        if note is None or note.state is _State.DONE:
            return
        if note.end is None or note.provisional:
            self._end_at(note, time, provisional=False)

    def _end_at(self, note: _Note, time: float, provisional: bool) -> None:
        rank = _MOVE if note.key == _PEDAL else _OFF
        if note.state is _State.PLANNED and time <= note.begin:
            time = note.begin
            rank = _MOVE if note.key == _PEDAL else _OFF_AT_ONCE
        note.end = _Entry(time, rank, next(self._serial), note)
        note.provisional = provisional
        heapq.heappush(self._heap, note.end)

    def _begin(self, entry: _Entry, now: float) -> Event | None:
        note = entry.note
        before = self._down.pop(note.key, None)
        if before is not None:
            before.state = _State.DONE
        if note.key != _PEDAL and now - entry.time > self._latest:
            note.state = _State.DONE
            self.dropped += 1
            return None if before is None else NoteOff(entry.time, note.key, before.part)
        note.state = _State.DOWN
        self._down[note.key] = note
        if note.key == _PEDAL:
            return Pedal(entry.time, True, note.part)
        return NoteOn(entry.time, note.key, entry.velocity, note.part)

    def _end(self, entry: _Entry) -> Event:
        note = entry.note
        note.state = _State.DONE
        del self._down[note.key]
        if note.key == _PEDAL:
            return Pedal(entry.time, False, note.part)
        return NoteOff(entry.time, note.key, note.part)

    def _notes(self) -> Iterator[_Note]:
        """Every note that sounds or is to come."""
        yield from self._down.values()
        yield from (entry.note for entry in self._heap if entry.begins and not entry.dead)
