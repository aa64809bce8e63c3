"""Tempo and beat of one player, estimated as the notes come, where no clock tells them.

A Bayes filter over tempo and place in the beat. Where in the beat a note falls is likely on the beat, less
so half way, little elsewhere: the metrical prior of Cemgil and Kappen ("Monte Carlo methods for tempo
tracking and rhythm quantization", JAIR 18, 2003). Loud notes and chords fall on the beat more often. The
belief is a table of tempos by places, the bar pointer of Whiteley, Cemgil and Godsill ("Bayesian modelling
of temporal structure in musical audio", ISMIR 2006); it moves on from onset to onset and costs nothing in
between. The tempo has a prior around 100 beats a minute, for listeners prefer beats of about 600 ms
(Parncutt, "A perceptual model of pulse salience and metrical accent in musical rhythms", Music Perception
11, 1994), and may wander from onset to onset.

The confidence is the belief in a beat within 70 ms and 8 % of the tempo that is told: what the estimate
itself expects of its chance to be right. Beats are counted, bars are not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

SLOWEST, FASTEST = 40.0, 240.0
"""Beats a minute that are considered."""
LEAST_CONFIDENCE = 0.4
"""Below it there is no beat."""
SILENCE = 4.0
"""Seconds after the last onset for which its beat goes on."""

_TEMPOS, _PLACES = 91, 64  # 2 % from tempo to tempo, and 8 ms from place to place at 120
_STEP = math.log(FASTEST / SLOWEST) / (_TEMPOS - 1)
_PRIOR_TEMPO, _PRIOR_WIDTH = 100.0, 0.35  # beats a minute, and standard deviation of their logarithm
_PULL = 0.25  # the prior's weight at each onset: without it many notes decide for half the tempo
_TRUST = 0.7  # the weight of an onset: those of one bar repeat each other
_JITTER = 0.022  # seconds, standard deviation of onsets
_ANYWHERE = 0.15  # the share of notes with no place of their own: ornaments, slips
_WANDER = 0.02  # standard deviation of the logarithm of the tempo, for each 0.6 seconds
_FORGET = 0.01  # of the belief in a second: so that what was ruled out can come back
_CHORD = 0.035  # seconds within which onsets are one chord
_LOUDER = 20.0  # velocity steps above the mean that make a full accent
_ACCENT, _CHORD_ACCENT = 0.75, 0.2  # shares of a full accent: of a loud note, of each further key of a chord
_WITHIN = 0.07  # seconds, as beats are scored
_NEAR = 4  # tempos to either side that are the same tempo

_THIRD = 1 / 3
_PLAIN = {0.0: 0.45, 0.5: 0.35, 0.25: 0.12, 0.75: 0.12, _THIRD: 0.08, 2 * _THIRD: 0.08}
_STRONG = {0.0: 0.9, 0.5: 0.35, 0.25: 0.06, 0.75: 0.06, _THIRD: 0.04, 2 * _THIRD: 0.04}
_WEAK = {0.0: 0.27, 0.5: 0.35, 0.25: 0.16, 0.75: 0.16, _THIRD: 0.08, 2 * _THIRD: 0.08}
"""How often a note, a loud one and a soft one fall on a place in the beat, in proportion."""


@dataclass(frozen=True, slots=True)
class BeatEstimate:
    """Where the beat is, as far as known. `tempo` is in beats a minute, None where there is no beat; the
    beat number `beat` falls on `beat_time` seconds. `confidence` is 0 to 1."""

    tempo: float | None = None
    confidence: float = 0.0
    beat_time: float = 0.0
    beat: int = 0

    def position(self, time: float) -> float | None:
        """Beats at `time` seconds, counted from any one of them."""
        return None if self.tempo is None else self.beat + (time - self.beat_time) * self.tempo / 60

    def time_of(self, position: float) -> float | None:
        """Seconds at which `position` (beats) is reached."""
        return None if self.tempo is None else self.beat_time + (position - self.beat) * 60 / self.tempo

    def next_beat(self, time: float) -> float | None:
        """Seconds of the first beat at or after `time`."""
        position = self.position(time)
        return None if position is None else self.time_of(math.ceil(position - 1e-6))


class BeatTracker:
    """Follows one player. Some 0.2 ms for an onset, whatever was played before."""

    def __init__(self, least_confidence: float = LEAST_CONFIDENCE) -> None:
        self.least_confidence = least_confidence
        self._periods = 60 / (SLOWEST * np.exp(_STEP * np.arange(_TEMPOS)))
        liked = -0.5 * (np.log(60 / self._periods / _PRIOR_TEMPO) / _PRIOR_WIDTH) ** 2
        self._liked = _PULL * liked[:, None]
        prior = np.exp(liked)
        self._unknown = np.repeat(prior[:, None] / (prior.sum() * _PLACES), _PLACES, 1)
        self._belief = self._unknown.copy()
        self._plain, strong, weak = (_likelihood(w, self._periods) for w in (_PLAIN, _STRONG, _WEAK))
        self._louder, self._softer = strong - self._plain, weak - self._plain
        self._onset: float | None = None  # the last one, the first note of a chord
        self._heard = 0.0  # when the last note came
        self._velocity = 64.0  # a running mean
        self._estimate = BeatEstimate()

    def hear(self, time: float, velocity: int) -> None:
        """A note is struck at `time` seconds, not before the last one, with `velocity` 1..127."""
        if self._onset is not None and time - self._onset < _CHORD:
            self._see(_CHORD_ACCENT * (self._louder - self._softer))
        else:
            if self._onset is None or time - self._onset > SILENCE:
                self._belief = self._unknown.copy()
            else:
                self._move_on(time - self._onset)
            self._onset = time
            accent = _ACCENT * min(max((velocity - self._velocity) / _LOUDER, -1.0), 1.0)
            self._velocity += 0.1 * (velocity - self._velocity)
            towards = self._louder if accent > 0 else self._softer
            self._see(_TRUST * (self._plain + abs(accent) * towards) + self._liked)
        self._estimate = self._best(self._onset)

    def at(self, time: float) -> BeatEstimate:
        """The beat as known at `time` seconds, which is not before the last onset."""
        if self._onset is None or time - self._onset > SILENCE:
            return BeatEstimate()
        if self._estimate.confidence < self.least_confidence:
            return BeatEstimate(confidence=self._estimate.confidence)
        return self._estimate

    def _see(self, logarithm: Table) -> None:
        """Bayes' rule, given the logarithm of the likelihood."""
        self._belief *= np.exp(logarithm)
        self._belief /= self._belief.sum()

    def _move_on(self, seconds: float) -> None:
        """Let `seconds` pass: places move on at their tempo, tempos wander, a little is forgotten."""
        came_from = np.arange(_PLACES) - seconds / self._periods[:, None] * _PLACES
        whole = np.floor(came_from)
        share = came_from - whole
        first = whole.astype(np.int64) % _PLACES
        rows = np.arange(_TEMPOS)[:, None]
        belief = self._belief[rows, first] * (1 - share) + self._belief[rows, (first + 1) % _PLACES] * share
        variance = min(seconds, 2.0) / 0.6 * (_WANDER / _STEP) ** 2
        rounds = math.ceil(variance / 0.6)
        for _ in range(rounds):
            outwards = variance / rounds / 2 * belief
            belief -= 2 * outwards
            belief[1:] += outwards[:-1]
            belief[:-1] += outwards[1:]
            belief[0] += outwards[0]
            belief[-1] += outwards[-1]
        kept = math.exp(-_FORGET * seconds)
        self._belief = kept / belief.sum() * belief + (1 - kept) * self._unknown

    def _best(self, onset: float) -> BeatEstimate:
        """The beat that most of the belief is near, its tempo and place the means of that."""
        smooth = self._belief + np.roll(self._belief, 1, 1) + np.roll(self._belief, -1, 1)
        smooth[1:-1] = smooth[:-2] + smooth[1:-1] + smooth[2:]
        tempo, place = divmod(int(smooth.argmax()), _PLACES)
        rows = slice(max(tempo - _NEAR, 0), tempo + _NEAR + 1)
        reach = round(min(_WITHIN / self._periods[tempo], 0.25) * _PLACES)
        places = np.arange(place - reach, place + reach + 1)
        near = self._belief[rows, places % _PLACES]
        confidence = float(near.sum())
        period = math.exp(float(near.sum(1) @ np.log(self._periods[rows])) / confidence)
        passed = float(near.sum(0) @ places) / confidence / _PLACES
        beat_time, last = onset - passed * period, self._estimate
        beat = last.beat + round((beat_time - last.beat_time) / period)
        return BeatEstimate(60 / period, confidence, beat_time, beat)


def _likelihood(weights: dict[float, float], periods: Table) -> Table:
    """Logarithms of how likely a note is at each place (columns) of a beat of each period (rows), as a
    density over the beat: around its `weights` places, spread by the jitter, or anywhere."""
    places = np.arange(_PLACES) / _PLACES
    spread = np.maximum(_JITTER / periods, 0.6 / _PLACES)[:, None]
    density = np.zeros((len(periods), _PLACES))
    for place, weight in weights.items():
        away = (places - place + 0.5) % 1 - 0.5
        density += weight * np.exp(-0.5 * (away / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    return np.log(_ANYWHERE + (1 - _ANYWHERE) * density / sum(weights.values()))
