"""A clip: a finished list of notes and pedals, with the chords and beats that go with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import Chord
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal, canonical_key


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A note from `start` to `end` seconds; `pitch` 0..127, `velocity` 1..127."""

    start: float
    end: float
    pitch: int
    velocity: int
    part: Part = Part.PARTNER

    def __post_init__(self) -> None:
        if not self.end >= self.start:
            raise BridgeError(f"a note ends ({self.end:.3f} s) before it starts ({self.start:.3f} s)")


@dataclass(frozen=True, slots=True)
class ChordSpan:
    """`chord` sounds from `start` seconds until the next span; None stands for "no chord" (N.C.)."""

    start: float
    chord: Chord | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A beat at `time` seconds. `number` counts from 0 within the bar of `beats_in_bar` beats, each
    `sixteenths` sixteenth notes long (4 for a quarter, 2 for an eighth)."""

    time: float
    number: int
    beats_in_bar: int = 4
    sixteenths: int = 4


@dataclass(frozen=True, slots=True)
class Clip:
    """Notes sorted by start, pedals by time; both parts together."""

    notes: tuple[Note, ...] = ()
    pedals: tuple[Pedal, ...] = ()
    chords: tuple[ChordSpan, ...] = ()
    beats: tuple[Beat, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def duration(self) -> float:
        """Seconds until the last note or pedal ends."""
        last_note = max((note.end for note in self.notes), default=0.0)
        return max(last_note, max((pedal.time for pedal in self.pedals), default=0.0))

    def part(self, part: Part) -> Clip:
        """Only what `part` plays."""
        return replace(
            self,
            notes=tuple(note for note in self.notes if note.part is part),
            pedals=tuple(pedal for pedal in self.pedals if pedal.part is part),
        )

    def with_part(self, part: Part) -> Clip:
        """The same music, all of it played by `part`."""
        return replace(
            self,
            notes=tuple(replace(note, part=part) for note in self.notes),
            pedals=tuple(replace(pedal, part=part) for pedal in self.pedals),
        )

    def shifted(self, seconds: float) -> Clip:
        """The same music, `seconds` later."""
        return replace(
            self,
            notes=tuple(replace(n, start=n.start + seconds, end=n.end + seconds) for n in self.notes),
            pedals=tuple(replace(p, time=p.time + seconds) for p in self.pedals),
            chords=tuple(replace(c, start=c.start + seconds) for c in self.chords),
            beats=tuple(replace(b, time=b.time + seconds) for b in self.beats),
        )

    def slice(self, start: float, end: float) -> Clip:
        """What lies between `start` and `end` seconds, moved to begin at 0; notes are cut at `end`."""
        inside = [n for n in self.notes if start <= n.start < end]
        before = [c for c in self.chords if c.start <= start][-1:]
        spans = before + [c for c in self.chords if start < c.start < end]
        cut = replace(
            self,
            notes=tuple(replace(n, end=min(n.end, end)) for n in inside),
            pedals=tuple(p for p in self.pedals if start <= p.time < end),
            chords=tuple(replace(c, start=max(c.start, start)) for c in spans),
            beats=tuple(b for b in self.beats if start <= b.time < end),
        )
        return cut.shifted(-start)

    def chord_at(self, time: float) -> Chord | None:
        """The chord that sounds at `time` seconds, None where there is none."""
        sounding = [span for span in self.chords if span.start <= time]
        return sounding[-1].chord if sounding else None

    def events(self) -> list[Event]:
        """The clip as events in canonical order, every note-on with its own note-off.

        Notes of one part that overlap on one pitch are made sequential: a re-strike closes the old
        note first, as a keyboard does.
        """
        result: list[Event] = list(self.pedals)
        sounding_until: dict[tuple[Part, int], Note] = {}
        closed: list[Note] = []
        for note in sorted(self.notes):
            key = (note.part, note.pitch)
            previous = sounding_until.get(key)
            if previous is not None and previous.end > note.start:
                previous = replace(previous, end=note.start)
            if previous is not None:
                closed.append(previous)
            sounding_until[key] = note
        closed.extend(sounding_until.values())
        for note in closed:
            if note.end <= note.start:
                continue  # two strikes at one instant: the later one is the note
            result.append(NoteOn(note.start, note.pitch, note.velocity, note.part))
            result.append(NoteOff(note.end, note.pitch, note.part))
        return sorted(result, key=canonical_key)


def clip_from_events(events: Iterable[Event], *, end: float | None = None) -> Clip:
    """Pair note-ons with note-offs. Notes still down are closed at `end` (or at the last event)."""
    notes: list[Note] = []
    pedals: list[Pedal] = []
    held: dict[tuple[Part, int], NoteOn] = {}
    last = 0.0

    def close(key: tuple[Part, int], time: float) -> None:
        on = held.pop(key, None)
        if on is not None:
            notes.append(Note(on.time, max(time, on.time), on.pitch, on.velocity, on.part))

    for event in events:
        last = max(last, event.time)
        match event:
            case NoteOn():
                close((event.part, event.pitch), event.time)
                held[event.part, event.pitch] = event
            case NoteOff():
                close((event.part, event.pitch), event.time)
            case Pedal():
                pedals.append(event)
    for key in list(held):
        close(key, last if end is None else max(end, last))
    return Clip(tuple(sorted(notes)), tuple(pedals))
