"""Charts: which chord sounds when, and the window of chords around a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plugin_bridge.music.chords import QUALITY_NAMES, Chord
from plugin_bridge.music.clip import ChordSpan, Clip
from plugin_bridge.music.events import Part

NO_ROOT, NO_QUALITY = 12, len(QUALITY_NAMES)
"""Ids that stand for "no chord" (N.C.)."""

ChordIds = tuple[int, int, int]
"""Root, quality and bass ids of a chord, as the model is told it."""

_GRACE = 0.005
"""Seconds that a chord may be written late: half a tick of the token grid."""


def chord_ids(chord: Chord | None) -> ChordIds:
    """The ids of a chord; None stands for "no chord"."""
    if chord is None:
        return NO_ROOT, NO_QUALITY, NO_ROOT
    return chord.root_class, chord.quality_id, chord.bass_class


@dataclass(frozen=True, slots=True)
class Chart:
    """Chords in time order. Repeats of one chord are one span."""

    spans: tuple[ChordSpan, ...]

    @classmethod
    def of(cls, spans: Iterable[ChordSpan]) -> Chart:
        """A chart from spans in any order, repeats merged."""
        merged: list[ChordSpan] = []
        for span in sorted(spans, key=lambda span: span.start):
            if not merged or merged[-1].chord != span.chord:
                merged.append(span)
        return cls(tuple(merged))

    def index(self, seconds: float) -> int:
        """Which span sounds at `seconds`; -1 before the first."""
        return bisect_right(self.spans, seconds + _GRACE, key=lambda span: span.start) - 1

    def chord(self, seconds: float) -> Chord | None:
        """The chord at `seconds`, None where there is none."""
        index = self.index(seconds)
        return self.spans[index].chord if index >= 0 else None

    def window(self, index: int, before: int, after: int) -> tuple[ChordIds | None, ...] | None:
        """The chords around span `index`, `before` + 1 + `after` entries, None where the chart has none;
        None altogether before the first chord."""
        if index < 0:
            return None
        around = range(index - before, index + after + 1)
        return tuple(chord_ids(self.spans[i].chord) if 0 <= i < len(self.spans) else None for i in around)


def even_chart(chords: Sequence[Chord | None], length: float, *, start: float = 0.0, end: float) -> Chart:
    """`chords` one after the other, `length` seconds each, again and again from `start` until `end`."""
    spans, time, index = [], start, 0
    while time < end - 1e-9:
        spans.append(ChordSpan(time, chords[index % len(chords)]))
        index += 1
        time = start + index * length
    return Chart.of(spans)


def chord_tone_rate(clip: Clip, part: Part = Part.PARTNER) -> float | None:
    """The share of a part's sounding time that is chord tones, where a chord sounds; None where none does.

    A note counts from its onset until it ends or for two seconds, under the chord at its onset: what a
    listener hears as belonging to that chord.
    """
    chart = Chart.of(clip.chords)
    inside = total = 0.0
    for note in clip.notes:
        chord = chart.chord(note.start)
        if note.part is part and chord is not None:
            length = min(note.end - note.start, 2.0)
            total += length
            inside += length * (note.pitch % 12 in chord.pitch_classes)
    return inside / total if total else None
