"""Which chord sounds: pitch-class evidence matched to chord templates, live and for whole clips.

Chords are the states of a hidden Markov chain that may change at each group of notes, more readily where a
bass note is struck, and rather to a chord of notes that were heard lately. Live the chain is filtered
forward; a clip is decoded with the Viterbi algorithm. Templates over pitch classes go back to Fujishima
(ICMC 1999), the chain to Sheh and Ellis (ISMIR 2003). :mod:`plugin_bridge.music.chord_evidence` has the
rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, inf

import numpy as np

from plugin_bridge.music.chord_evidence import (
    RULES,
    STATES,
    DetectionRules,
    Floats,
    Group,
    Grouping,
    Templates,
)
from plugin_bridge.music.chords import QUALITIES, Chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip
from plugin_bridge.music.events import Event

_ON_BEAT = 0.07
"""Seconds from a beat within which a group is on it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The chord reported since `since` seconds (None: none), and how likely it is now among all chords."""

    chord: Chord | None
    probability: float
    since: float


_NOTHING = Heard(None, 0.0, -inf)


class ChordDetector:
    """The chord of a performance as it is played: `hear` every event, ask at any time. One thread.

    Times, in seconds, go forward; an event that comes late is taken at the time already reached. A step
    costs one product of the templates (216 x 12) with the evidence, a query at most a few, and asking
    changes no later answer. A chord is reported at the close of the group that makes it the likeliest by
    `margin`, which is `gather` after the group began; or later, when what sounds on has said enough.
    """

    def __init__(self, rules: DetectionRules = RULES) -> None:
        self._rules = rules
        self._templates = Templates(rules)
        self._grouping = Grouping(rules)
        self._belief = self._templates.expected(np.zeros(12))
        self._bass = np.zeros(12)
        self._state = -1
        self._look, self._wait = inf, 0.0
        self._heard = _NOTHING

    def hear(self, event: Event) -> None:
        """Take an event in."""
        self._decide(event.time)
        if self._grouping.sounding.silence(event.time) > self._rules.silence:
            self._state, self._heard = -1, _NOTHING
        self._grouping.hear(event)

    def heard_at(self, time: float) -> Heard:
        """What is heard at `time` seconds: no chord before the first one, and in silence."""
        self._decide(time)
        excess = self._grouping.sounding.silence(time) - self._rules.silence
        return Heard(None, 0.0, time - excess) if excess > 0 else self._heard

    def chord_at(self, time: float) -> Chord | None:
        """The chord that sounds at `time` seconds, None where there is none."""
        return self.heard_at(time).chord

    def _decide(self, time: float) -> None:
        """Decide, up to `time`, at the close of each group and again after it at distances that double: sound
        fades, so what comes late says little."""
        while (due := min(self._grouping.closes, self._look)) <= time:
            if due == self._grouping.closes:
                self._take(self._grouping.close())
                self._wait = self._rules.gather
            else:
                self._grouping.sounding.advance(due)
                self._weigh(self._grouping.sounding.take(), np.zeros(12), np.zeros(12))
            self._wait *= 2
            self._look = due + self._wait if self._wait < 4 * self._rules.fade else inf

    def _take(self, group: Group) -> None:
        change = self._templates.change(group)
        self._belief = (1 - change) * self._belief + change * self._templates.expected(group.lately)
        self._bass += group.bass
        self._weigh(group.before, group.struck, group.bass)

    def _weigh(self, sound: Floats, struck: Floats, bass: Floats) -> None:
        fit = self._templates.fit(sound, struck, bass)
        belief = self._belief * np.exp(fit - fit.max())
        self._belief = belief / belief.sum()
        best = int(self._belief.argmax())
        if self._state < 0 or self._belief[best] > exp(self._rules.margin) * self._belief[self._state]:
            if best != self._state:
                self._bass = bass
            self._state = best
        chord = _named(self._state, self._bass)
        since = self._heard.since if chord == self._heard.chord else self._grouping.sounding.now
        self._heard = Heard(chord, float(self._belief[self._state]), since)


def detect_chords(
    clip: Clip, beats: Sequence[Beat] | None = None, rules: DetectionRules = RULES
) -> list[ChordSpan]:
    """The chords of a finished clip, both parts together, in time order; None where it is silent for long.

    With `beats` (`clip.beats`, say) chords change rather on beats, and on strong ones most.
    """
    groups, last = _groups(clip, rules)
    if not groups:
        return []
    templates = Templates(rules)
    sound = np.array([*(group.before for group in groups[1:]), last])
    struck, bass = (np.array([getattr(group, name) for group in groups]) for name in ("struck", "bass"))
    change = np.clip([templates.change(group) for group in groups], 1e-6, 1 - 1e-6)
    if beats:
        odds = change / (1 - change) * _beat_odds([group.start for group in groups], beats, rules)
        change = odds / (1 + odds)
    expected = templates.expected(_lately_and_soon(groups, rules.memory))
    path = _viterbi(templates.fit(sound, struck, bass), change, expected)
    spans: list[ChordSpan] = []
    firsts = [i for i in range(len(path)) if i == 0 or path[i] != path[i - 1] or _rests(groups[i], rules)]
    for first, end in zip(firsts, [*firsts[1:], len(path)], strict=True):
        group = groups[first]
        if first and _rests(group, rules):
            spans.append(ChordSpan(group.start - group.silence, None))
        spans.append(ChordSpan(group.start, _named(path[first], bass[first:end].sum(axis=0))))
    return spans


def _rests(group: Group, rules: DetectionRules) -> bool:
    return group.silence > rules.silence


def _named(state: int, bass: Floats) -> Chord:
    """The chord of `state`, over the bass that most was struck, float64 [12], where that is a chord tone."""
    root, quality = STATES[state]
    lowest = int(bass.argmax())
    over = (lowest - root) % 12 in QUALITIES[quality][1:] and bass[lowest] > 0.6 * bass.sum()
    return _chord(root, quality, lowest if over else None)


@cache
def _chord(root: int, quality: str, bass: int | None) -> Chord:
    chord = Chord("C", quality).transposed(root)
    return chord if bass is None else replace(chord, bass=Chord("C").transposed(bass).root)


def _groups(clip: Clip, rules: DetectionRules) -> tuple[list[Group], Floats]:
    """The groups of a clip, and what sounds after the last."""
    grouping = Grouping(rules)
    groups: list[Group] = []
    for event in clip.events():
        if grouping.closes <= event.time:
            groups.append(grouping.close())
        grouping.hear(event)
    if grouping.closes < inf:
        groups.append(grouping.close())
    return groups, grouping.sounding.take()


def _lately_and_soon(groups: Sequence[Group], memory: float) -> Floats:
    """What was struck around each group, before and after it alike, [groups, 12]."""
    soon, later = np.zeros(12), groups[-1].start
    around: list[Floats] = []
    for group in reversed(groups):
        soon = soon * exp((group.start - later) / memory)
        around.append(group.lately + soon)
        soon, later = soon + group.struck, group.start
    return np.array(around[::-1])


def _beat_odds(starts: Sequence[float], beats: Sequence[Beat], rules: DetectionRules) -> Floats:
    """The factor of each group by the beat it falls on. Strong are the first of the bar and, where beats
    come in pairs, the middle one."""
    strong, weak, off = rules.beat_odds
    times = [beat.time for beat in beats]
    factors = []
    for start in starts:
        index = bisect_left(times, start - _ON_BEAT)
        if index == len(times) or times[index] > start + _ON_BEAT:
            factors.append(off)
        else:
            beat = beats[index]
            factors.append(strong if beat.number in (0, beat.beats_in_bar / 2) else weak)
    return np.array(factors)


def _viterbi(fit: Floats, change: Floats, expected: Floats) -> list[int]:
    """The likeliest path through the states. `fit`, `expected`: [groups, states]; `change`: [groups]."""
    score = np.log(expected[0]) + fit[0]
    came_from = np.empty(fit.shape, np.int64)
    for i in range(1, len(fit)):
        best = int(score.argmax())
        moved = score[best] + np.log(change[i] * expected[i])
        stayed = score + np.log(1 - change[i] + change[i] * expected[i])
        came_from[i] = np.where(moved > stayed, best, np.arange(len(score)))
        score = np.maximum(moved, stayed) + fit[i]
    path = [int(score.argmax())]
    for i in range(len(fit) - 1, 0, -1):
        path.append(int(came_from[i, path[-1]]))
    return path[::-1]
