"""Which of several continuations is the best: a pure score of what they would play.

The model proposes, this chooses. Each part of the score lies between 0 (bad) and 1, so that weights say
what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin_bridge.music.chords import Chord
from plugin_bridge.music.events import Event, NoteOn


@dataclass(frozen=True, slots=True)
class Background:
    """What a continuation is played against: the chord, what the player holds, and the partner's latest
    pitches, the newest last."""

    chord: Chord | None = None
    player_holds: frozenset[int] = frozenset()
    recent: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the score counts."""

    chord_fit: float = 1.0
    clash: float = 1.0
    range: float = 0.5
    repetition: float = 0.7
    continuity: float = 0.5


def score(events: Sequence[Event], background: Background, weights: Weights = Weights()) -> float:
    """The score of a continuation, the higher the better; nothing played scores 0."""
    notes = [event for event in events if isinstance(event, NoteOn)]
    if not notes:
        return 0.0
    pitches = [note.pitch for note in notes]
    return (
        weights.chord_fit * chord_fit(pitches, background.chord)
        + weights.clash * (1.0 - clash(pitches, background.player_holds))
        + weights.range * in_range(pitches, background.recent)
        + weights.repetition * (1.0 - repetition(pitches, background.recent))
        + weights.continuity * continuity(pitches, background.recent)
    )


def chord_fit(pitches: Sequence[int], chord: Chord | None) -> float:
    """The share of notes that belong to the chord; 1 where there is none to fit."""
    if chord is None:
        return 1.0
    return sum(pitch % 12 in chord.pitch_classes for pitch in pitches) / len(pitches)


def clash(pitches: Sequence[int], held: frozenset[int]) -> float:
    """The share of notes a semitone or a minor ninth from one that the player holds."""
    return sum(any(abs(pitch - other) in (1, 13) for other in held) for pitch in pitches) / len(pitches)


def in_range(pitches: Sequence[int], recent: Sequence[int]) -> float:
    """The share of notes within an octave and a half of the mean of the latest."""
    if not recent:
        return 1.0
    mean = sum(recent) / len(recent)
    return sum(abs(pitch - mean) <= 18 for pitch in pitches) / len(pitches)


def repetition(pitches: Sequence[int], recent: Sequence[int]) -> float:
    """How stuck it is: the largest share of notes that go on with a pattern of one to four pitches which
    has already come twice over."""
    line = [*recent, *pitches]
    worst = 0.0
    for period in range(1, 5):
        first = max(len(recent), 2 * period)
        same = sum(line[i] == line[i - period] == line[i - 2 * period] for i in range(first, len(line)))
        worst = max(worst, same / len(pitches))
    return worst


def continuity(pitches: Sequence[int], recent: Sequence[int]) -> float:
    """1 for an entry within a fourth of one of the latest four notes, down to 0 for two octaves away."""
    if not recent:
        return 1.0
    leap = min(abs(pitches[0] - pitch) for pitch in recent[-4:])
    return 1.0 - min(max(leap - 5, 0) / 19, 1.0)
