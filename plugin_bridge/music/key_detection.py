"""Which key a performance is in: pitch-class profiles, with exponential forgetting.

The time that each pitch class sounds, old sound counting less and less, is correlated with a profile in
all 24 keys (Krumhansl and Schmuckler's algorithm, in Krumhansl, Cognitive Foundations of Musical Pitch,
1990, chapter 4). The profiles are those that Albrecht and Shanahan counted in 982 pieces (The Use of Large
Corpora to Train a New Type of Key-Finding Algorithm, Music Perception 31, 2013); Krumhansl and Kessler's,
from listeners' ratings (Psychological Review 89, 1982), are there to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.music.chord_evidence import Sounding
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.events import Event

Mode = Literal["major", "minor"]

_TONICS: dict[Mode, tuple[str, ...]] = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
_SCALES: dict[Mode, tuple[int, ...]] = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}

Profiles = tuple[tuple[float, ...], tuple[float, ...]]
"""The weight of each step above the tonic, in major and in minor."""

ALBRECHT_SHANAHAN: Profiles = (
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
KRUMHANSL_KESSLER: Profiles = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key: `tonic` is a pitch class, 0 (C) to 11."""

    tonic: int
    mode: Mode

    @property
    def pitch_classes(self) -> frozenset[int]:
        """The seven pitch classes of its scale (natural minor)."""
        return frozenset((self.tonic + step) % 12 for step in _SCALES[self.mode])

    @property
    def relative(self) -> Key:
        """The key of the other mode with the same scale."""
        if self.mode == "major":
            return Key((self.tonic + 9) % 12, "minor")
        return Key((self.tonic + 3) % 12, "major")

    def __str__(self) -> str:
        return f"{_TONICS[self.mode][self.tonic]} {self.mode}"


@dataclass(frozen=True, slots=True)
class KeySpan:
    """`key` holds from `start` seconds until the next span."""

    start: float
    key: Key


KEYS = tuple(Key(tonic, mode) for mode in ("major", "minor") for tonic in range(12))
"""Every key: the twelve in major, then in minor."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """`forget`: seconds after which sound counts 1/e; infinity never forgets. `fade`: time constant, in
    seconds, of a note held on, so that a long pedal does not decide. `margin`: how much better, in
    correlation, another key must fit to be reported. `fewest`: how many pitch classes a key needs."""

    forget: float = 20.0
    fade: float = 1.0
    margin: float = 0.05
    fewest: int = 3


class KeyDetector:
    """The key of a performance as it is played: `hear` every event, ask at any time. One thread.

    Times, in seconds, go forward. A query costs one product of 24 profiles with 12 durations.
    """

    def __init__(self, rules: KeyRules = KeyRules(), profiles: Profiles = ALBRECHT_SHANAHAN) -> None:
        self._rules = rules
        self._rows = _rows(profiles)
        self._sounding = Sounding(rules.fade)
        self._durations = np.zeros(12)
        self._key: Key | None = None

    def hear(self, event: Event) -> None:
        """Take an event in; a note sounds on while its key or its part's pedal is down."""
        self._advance(event.time)
        self._sounding.hear(event)

    def key_at(self, time: float) -> Key | None:
        """The key at `time` seconds, None while too few pitch classes have sounded."""
        self._advance(time)
        if np.count_nonzero(self._durations) >= self._rules.fewest:
            fit = self._rows @ _standard(self._durations)
            best = int(fit.argmax())
            if fit[best] <= 0:  # all pitch classes alike
                return self._key
            if self._key is None or fit[best] > fit[KEYS.index(self._key)] + self._rules.margin:
                self._key = KEYS[best]
        return self._key

    def _advance(self, time: float) -> None:
        before = self._sounding.now
        if time > before:
            self._sounding.advance(time)
            if before > -inf:
                self._durations *= exp((before - time) / self._rules.forget)
            self._durations += self._sounding.take()


def detect_key(clip: Clip, profiles: Profiles = ALBRECHT_SHANAHAN) -> Key | None:
    """The key of a whole clip, both parts together; None where it has too few pitch classes to tell."""
    spans = detect_keys(clip, KeyRules(forget=inf), inf, profiles)
    return spans[0].key if spans else None


def detect_keys(
    clip: Clip, rules: KeyRules = KeyRules(), step: float = 1.0, profiles: Profiles = ALBRECHT_SHANAHAN
) -> list[KeySpan]:
    """The keys of a clip one after the other, as they are heard live, looked at every `step` seconds and at
    its end."""
    detector = KeyDetector(rules, profiles)
    spans: list[KeySpan] = []

    def look(time: float) -> None:
        key = detector.key_at(time)
        if key is not None and (not spans or spans[-1].key != key):
            spans.append(KeySpan(time, key))

    due = step
    for event in clip.events():
        while due <= event.time:
            look(due)
            due += step
        detector.hear(event)
    look(clip.duration)
    return spans


def _rows(profiles: Profiles) -> NDArray[np.float64]:
    """Profiles in all keys, [24, 12], standardised: a product with a standard vector is Pearson's r."""
    return np.array([_standard(np.roll(row, tonic)) for row in profiles for tonic in range(12)])


def _standard(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """`row` with mean zero and length one; zeros where all its entries are alike."""
    centred = row - row.mean()
    length = float(np.linalg.norm(centred))
    result: NDArray[np.float64] = centred / length if length > 1e-9 * float(np.abs(row).sum()) else 0 * row
    return result
