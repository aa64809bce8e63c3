"""What a performance says about its chord: groups of notes, what sounds on, and how chords explain them.

What is struck within 25 ms is one group; what sounds on after it, because a key or the pedal holds it, says
more about the same chord. Pitch classes are drawn from a chord's template, the bass note from its bass
template: shares for root, third, fifth, fourth tone and what lies outside, the same for every quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.music.chords import QUALITIES, QUALITY_NAMES
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal

Floats = NDArray[np.float64]

STATES = tuple((root, quality) for quality in QUALITY_NAMES for root in range(12))
"""Every chord that can be found, bass apart: root class and quality."""

_COMMON = {
    "": 0.34, "m": 0.26, "7": 0.07, "m7": 0.08, "maj7": 0.07, "sus4": 0.025, "sus2": 0.025, "6": 0.03,
    "m6": 0.025, "dim": 0.015, "m7b5": 0.015, "dim7": 0.01, "aug": 0.01, "7sus4": 0.015, "5": 0.02,
    "mmaj7": 0.015, "aug7": 0.005, "augmaj7": 0.005,
}  # fmt: skip
"""How common a quality is before anything is heard: as in songs, but rare ones are not shut out. All roots
are equally likely."""

_NEAR = (2, 5, 9)
"""Steps above the root that melodies pass through most where the chord does not have them."""


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """What the detector believes: seconds, MIDI note numbers, and weights in struck notes.

    `tones` are the shares of the sound that fall on a chord's root, third (or what stands in its place),
    fifth and fourth tone, on one near step outside it, and on one other; `bass` are the same for the bass
    note. They are scaled to sum to one over the twelve pitch classes.

    `gather`: how long a group of notes is waited for. `struck`, `sounding` (a second of sound), `lowest`:
    what they weigh. `fade`: time constant of a sound. `repeat`: for how long a note struck again says less.
    `low`, `high`: up to the one a lowest note counts in full as bass, from the other on not at all.
    `floor_rise`: how fast, in semitones a second, a bass note that has ended is forgotten. `change`,
    `change_bass`, `change_again`: how likely the chord changes at a group without a bass note, with another
    one than before, and with the same. `held`: how much less a bass note says about that under keys that hold
    three tones from before (in proportion under fewer): it passes. `beat_odds`: what the odds of that are
    multiplied by on the strong beats, on the others, off the beat. `memory`: time constant of what was heard
    lately; `familiar`: how strongly a chord is expected to be made of it. `melody`: how much less a note says
    for each octave above middle C, in nats. `margin`: how much likelier, in nats, another chord must be to be
    reported live. `silence`: after how long without any sound there is no chord.
    """

    gather: float = 0.025
    tones: tuple[float, ...] = (0.36, 0.26, 0.26, 0.2, 0.012, 0.006)
    bass: tuple[float, ...] = (0.7, 0.12, 0.12, 0.05, 0.01, 0.005)
    struck: float = 1.0
    sounding: float = 0.2
    lowest: float = 1.2
    fade: float = 0.8
    repeat: float = 0.5
    low: int = 48
    high: int = 62
    floor_rise: float = 48.0
    change: float = 0.06
    change_bass: float = 0.85
    change_again: float = 0.2
    beat_odds: tuple[float, float, float] = (4.0, 1.0, 0.05)
    memory: float = 25.0
    familiar: float = 2.0
    melody: float = 0.7
    held: float = 1.0
    margin: float = 0.3
    silence: float = 3.0


RULES = DetectionRules()


def _weight(pitch: int, melody: float) -> float:
    """What a note says about the chord by its height: above middle C less, `melody` nats an octave."""
    return exp(-melody * max(0, pitch - 60) / 12)


class Sounding:
    """Which notes sound, and for how long each pitch class has. A note sounds while its key or its part's
    pedal is down; how much it says fades with the time constant `fade`, in seconds, as a string does."""

    def __init__(self, fade: float = 1.0, melody: float = 0.0) -> None:
        self._fade, self._melody = fade, melody
        self._starts: dict[tuple[Part, int], float] = {}
        self._lifted: set[tuple[Part, int]] = set()
        self._pedals: set[Part] = set()
        self._durations = np.zeros(12)
        self._silent_since: float | None = -inf
        self.now = -inf

    def advance(self, time: float) -> None:
        """Let what sounds go on sounding until `time`; earlier than now does nothing."""
        if time <= self.now:
            return
        for (_, pitch), start in self._starts.items():
            heard = exp((start - self.now) / self._fade) - exp((start - time) / self._fade)
            self._durations[pitch % 12] += self._fade * heard * _weight(pitch, self._melody)
        self.now = time

    def hear(self, event: Event) -> None:
        """Advance to `event` and take it in."""
        self.advance(event.time)
        match event:
            case NoteOn():
                self._starts[event.part, event.pitch] = self.now
                self._lifted.discard((event.part, event.pitch))
            case NoteOff():
                self._lifted.add((event.part, event.pitch))
            case Pedal(down=True):
                self._pedals.add(event.part)
            case Pedal():
                self._pedals.discard(event.part)
        for key in [key for key in self._lifted if key[0] not in self._pedals]:
            self._lifted.discard(key)
            self._starts.pop(key, None)
        if self._starts:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self.now

    def take(self) -> NDArray[np.float64]:
        """What sounded since this was last asked: faded seconds, float64 [12]."""
        durations, self._durations = self._durations, np.zeros(12)
        return durations

    def kept(self, before: float) -> float:
        """How many of three tones keys hold that were struck earlier than `before`: 0 to 1."""
        classes = {
            key[1] % 12 for key, start in self._starts.items() if start < before and key not in self._lifted
        }
        return min(len(classes) / 3, 1.0)

    @property
    def lowest(self) -> int:
        """The lowest pitch that sounds, 127 where none does."""
        return min((pitch for _, pitch in self._starts), default=127)

    def silence(self, time: float) -> float:
        """Seconds up to `time` without any sound; infinity before the first."""
        return 0.0 if self._silent_since is None else time - self._silent_since


@dataclass(frozen=True, slots=True)
class Group:
    """What was struck together from `start` seconds on, after `silence` seconds without sound. `kept`: how
    many of three tones are held from before, 0 to 1. `struck`, `bass`: mass by pitch class; `before`:
    seconds sounded since the group before; `lately`: what was struck up to now, forgotten by and by. All
    float64 [12]."""

    start: float
    silence: float
    kept: float
    moved: bool
    struck: Floats
    bass: Floats
    before: Floats
    lately: Floats


class Grouping:
    """Turns events, in time order, into groups and what sounds between them."""

    def __init__(self, rules: DetectionRules) -> None:
        self._rules = rules
        self._notes: list[NoteOn] = []
        self._start = self._last = -inf
        self._silence = 0.0
        self._recent, self._lately = np.zeros(12), np.zeros(12)
        self._floor, self._bass_class = 127.0, -1
        self.sounding = Sounding(rules.fade, rules.melody)

    @property
    def closes(self) -> float:
        """When the group that is being gathered is complete; infinity without one."""
        return self._start + self._rules.gather if self._notes else inf

    def hear(self, event: Event) -> None:
        """Take an event in. A group that closes before it must have been taken."""
        self.sounding.advance(event.time)
        if isinstance(event, NoteOn):
            if not self._notes:
                self._start, self._silence = self.sounding.now, self.sounding.silence(self.sounding.now)
            self._notes.append(event)
        self.sounding.hear(event)

    def close(self) -> Group:
        """Advance to where the group closes and take it."""
        rules, notes, start = self._rules, self._notes, self._start
        self.sounding.advance(self.closes)
        self._notes = []
        passed, self._last = start - self._last, start
        mass = np.zeros(12)
        for note in notes:
            mass[note.pitch % 12] += (note.velocity / 80) ** 0.5 * _weight(note.pitch, rules.melody)
        self._recent *= exp(-passed / rules.repeat)
        struck = np.minimum(mass / (1 + self._recent), 1.5)  # doublings and repeats say less each time
        self._recent += mass
        self._lately = self._lately * exp(-passed / rules.memory) + struck
        lowest = min(note.pitch for note in notes)
        # In a broken chord the bass is remembered: the notes above it are none.
        self._floor = min(lowest, self.sounding.lowest, self._floor + rules.floor_rise * min(passed, 60.0))
        depth = min(max((rules.high - lowest) / (rules.high - rules.low), 0.0), 1.0)
        bass = np.zeros(12)
        bass[lowest % 12] = depth * max(0.0, 1 - (lowest - self._floor) / 7)
        kept = self.sounding.kept(start)
        moved = lowest % 12 != self._bass_class
        if bass.any():
            self._bass_class = lowest % 12
        return Group(start, self._silence, kept, moved, struck, bass, self.sounding.take(), self._lately)


class Templates:
    """The rules as arrays over the states (12 roots for each quality, 216 in all)."""

    def __init__(self, rules: DetectionRules) -> None:
        self.rules = rules
        self._tones, self._bass = _log_templates(rules.tones), _log_templates(rules.bass)
        common = np.repeat([_COMMON[quality] for quality in QUALITY_NAMES], 12)
        self._common = np.log(common / common.sum())
        tones = [[step in steps for step in range(12)] for steps in QUALITIES.values()]
        rows = np.array([np.roll(row, root) / sum(row) for row in tones for root in range(12)])
        self._familiar = rules.familiar * rows.T

    def fit(self, sound: Floats, struck: Floats, bass: Floats) -> Floats:
        """Log-likelihood of evidence [..., 12] under each state, [..., 216]: seconds of sound, struck mass,
        bass mass."""
        tones = self.rules.sounding * sound + self.rules.struck * struck
        fit: Floats = tones @ self._tones.T + self.rules.lowest * bass @ self._bass.T
        return fit

    def expected(self, lately: Floats) -> Floats:
        """How likely each state is to come next, [..., 216], given what was heard lately, [..., 12]."""
        share = lately + 0.5
        log_share = np.log(share / share.sum(axis=-1, keepdims=True))
        likely = np.exp(self._common + log_share @ self._familiar)
        expected: Floats = likely / likely.sum(axis=-1, keepdims=True)
        return expected

    def change(self, group: Group) -> float:
        """How likely the chord changes at `group`."""
        if group.silence > self.rules.silence:
            return 1.0
        rare = self.rules.change
        bass = self.rules.change_bass if group.moved else self.rules.change_again
        return rare + (bass - rare) * float(group.bass.sum()) * (1 - self.rules.held * group.kept)


def _log_templates(shares: Sequence[float]) -> Floats:
    rows: list[Floats] = []
    for steps in QUALITIES.values():
        row = np.array([shares[4] if step in _NEAR else shares[5] for step in range(12)])
        for index, step in enumerate(steps):
            row[step] = shares[2 if steps == (0, 7) and index else index]
        rows.extend(np.roll(row / row.sum(), root) for root in range(12))
    return np.log(np.array(rows))
