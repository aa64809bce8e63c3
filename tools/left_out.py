"""When each note of a clip begins in its sound: the sound, less the clip rendered again without the note.

What remains is the note as it is in the sound: through the effects, turned down by the compressor, mastered.
For that all that listens to the sound is held as it was with all notes there: the gain of the compressor and
of mastering at every sample, where the parts sit, how long things last. With these held the rest of the way
is linear, so notes that are left out take nothing with them but their own sound; and the gain is the one that
the note got in the sound. Where strings end is held as well: one that is struck again stops its earlier sound
where it did, though the new stroke is left out.

Several notes are left out at once, of which each has rung out before the next begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import oaconvolve

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.render.audio import PAN, balance, render_blocks
from plugin_bridge.render.effects import BuiltInEffect, Chain, build
from plugin_bridge.render.mastering import master
from plugin_bridge.render.piano import Audio, Piano
from plugin_bridge.render.settings import Output
from plugin_bridge.render.sustain import sounding_notes
from plugin_bridge.render.tails import cut, cut_point, process_out, trimmed

LINEAR = frozenset(
    ["Delay", "Gain", "HighpassFilter", "HighShelfFilter", "LowpassFilter", "LowShelfFilter", "PeakFilter",
     "Reverb"]
)  # fmt: skip
GAINS = frozenset(["Compressor", "NoiseGate"])
"""Effects that multiply every sample with a gain that they find by listening."""

WINDOW = 0.01
"""Seconds of the Hann window that a level is smoothed by: a period of the lowest strings' louder partials."""
REACH = 0.05
"""Seconds in which a note has to reach the level whose half is its onset, as for the piano's samples."""
_BEFORE, _AFTER = 0.1, 0.25  # seconds around a note's start in which its onset is sought
_RING = 0.6  # seconds after its end in which a string dies away, by 50 dB or more
_QUIET = 0.25
"""Of the level reached: what there may be at most until 0.05 s before the onset; after that it may swell."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An effect, how many samples came of it, and the gain [channels, samples] that it found, if it does."""

    effect: BuiltInEffect
    samples: int
    gain: Audio | None


@dataclass(frozen=True, slots=True)
class Held:
    """A clip's way to its sound, held: `audio` is the sound, float32 [channels, samples], and `heard` are its
    notes with the ends that are heard; `dry` is what the instrument plays for each part."""

    piano: Piano
    output: Output
    heard: tuple[Note, ...]
    dry: dict[Part, Audio]
    stages: tuple[Stage, ...]
    gain: Audio
    audio: Audio

    def without(self, notes: Sequence[Note]) -> Audio:
        """What is heard when `notes`, some of `heard`, are left out: float32 [channels, samples]."""
        return self._mixed({part: dry - self._played(part, notes) for part, dry in self.dry.items()})

    def only(self, notes: Sequence[Note]) -> Audio:
        """What is heard of `notes`, some of `heard`: float32 [channels, samples]."""
        return self._mixed({part: self._played(part, notes) for part in self.dry})

    def _played(self, part: Part, notes: Sequence[Note]) -> Audio:
        own = Clip(tuple(note for note in notes if note.part is part))
        return _to_length(_joined(own, self.output, self.piano), self.dry[part].shape[1])

    def _mixed(self, dry: dict[Part, Audio]) -> Audio:
        rate = self.output.sample_rate
        mix = _together(dry)
        for stage in self.stages:
            mix = _to_length(mix, stage.samples)
            mix = build(stage.effect)(mix, rate, reset=True) if stage.gain is None else mix * stage.gain
        return cut(_channels(mix, self.output), self.audio.shape[1], rate) * self.gain


def hold(clip: Clip, piano: Piano, effects: Chain, output: Output, least: float = 0.0) -> Held:
    """Render `clip` as `Renderer.render` does. Raises ValueError for effects that no gain makes linear."""
    rate = output.sample_rate
    dry: dict[Part, Audio] = {}
    heard: list[Note] = []
    for part in Part:
        own = clip.part(part)
        if own.notes:
            dry[part] = trimmed(_joined(own, output, piano))
            heard += sounding_notes(own, own.duration + output.tail)
    mix = _together(dry)
    stages: list[Stage] = []
    for effect in effects:
        if not isinstance(effect, BuiltInEffect) or effect.kind not in LINEAR | GAINS:
            raise ValueError(f"notes cannot be told apart behind {effect}")
        before, mix = mix, process_out(build(effect), mix, rate, output.tail)
        gain = _gain_between(before, mix) if effect.kind in GAINS else None
        stages.append(Stage(effect, mix.shape[1], gain))
    mix = _channels(mix, output)
    mix = cut(mix, cut_point(mix, rate, max(clip.duration, least), output.tail), rate)
    gain = master(mix, rate, output.loudness, output.peak).gain
    return Held(piano, output, tuple(sorted(heard)), dry, tuple(stages), gain, mix * gain)


def onsets(audio: Audio, held: Held) -> list[tuple[Note, float | None]]:
    """Seconds at which each of the heard notes begins in `audio`, float32 [channels, samples], of the clip
    that `held` is; None for one that is never seen in silence."""
    found: dict[Note, float | None] = {}
    alone: list[list[Note]] = []
    for notes in apart(held.heard):
        these = _onsets(audio, held, notes)
        found |= these
        alone += [[note] for note, onset in these.items() if onset is None and len(notes) > 1]
    for notes in alone:
        found |= _onsets(audio, held, notes)
    return [(note, found[note]) for note in held.heard]


def _onsets(audio: Audio, held: Held, notes: list[Note]) -> dict[Note, float | None]:
    remains = audio - held.without(notes)
    return {note: onset(remains, held.output.sample_rate, note.start) for note in notes}


def onset(remains: Audio, rate: int, about: float) -> float | None:
    """Seconds at which a sound begins that is expected `about` then: where its level passes half of the most
    that it reaches within 0.05 s. None where it does not stand out from what there is before it.

    The level is the mean magnitude of all channels, smoothed by a window that passes the half in its middle
    where a sound begins at once.
    """
    window = np.hanning(round(WINDOW * rate) | 1)
    first = round((about - _BEFORE) * rate)
    last = round((about + _AFTER) * rate)
    half = len(window) // 2
    inside = np.abs(remains[:, max(first - half, 0) : last + half]).mean(axis=0)
    inside = np.pad(inside, (max(half - first, 0), max(last + half - remains.shape[1], 0)))
    level = oaconvolve(inside, window / window.sum(), mode="valid")
    begun = int(np.argmax(level >= level.max() / 2))
    top = float(level[begun : begun + round(REACH * rate)].max())
    at = int(np.argmax(level >= top / 2))
    before = level[: max(at - round(REACH * rate), 0)]
    if top == 0 or float(before.max(initial=0.0)) > _QUIET * top:
        return None
    return (first + at) / rate


def apart(notes: Sequence[Note]) -> list[list[Note]]:
    """`notes`, sorted by start, in sets, as few as can be, in which each rings out before the next begins."""
    sets: list[list[Note]] = []
    for note in notes:
        free = (each for each in sets if each[-1].end + _RING <= note.start)
        chosen = next(free, None)
        if chosen is None:
            sets.append([note])
        else:
            chosen.append(note)
    return sets


def _joined(part: Clip, output: Output, piano: Piano) -> Audio:
    blocks = list(render_blocks(part, output.sample_rate, output.tail, piano=piano))
    return np.concatenate(blocks, axis=1)


def _together(dry: dict[Part, Audio]) -> Audio:
    """All parts, each at its side; one that plays alone sits in the middle."""
    mix = np.zeros((2, max(sound.shape[1] for sound in dry.values())), np.float32)
    for part, sound in dry.items():
        sides = balance(PAN[part] if len(dry) > 1 else 0.0)
        mix[:, : sound.shape[1]] += sound * np.array(sides, np.float32)[:, None]
    return mix


def _to_length(audio: Audio, samples: int) -> Audio:
    return np.pad(audio[:, :samples], ((0, 0), (0, max(samples - audio.shape[1], 0))))


def _channels(audio: Audio, output: Output) -> Audio:
    return audio if output.channels == 2 else audio.mean(axis=0, keepdims=True)


def _gain_between(before: Audio, after: Audio) -> Audio:
    """What `before` was multiplied with; at zeros of the sound, where that is not told, a straight line."""
    gains = np.ones_like(after)
    for source, result, gain in zip(before, after, gains, strict=True):
        told = np.flatnonzero(np.abs(source) > 1e-20)
        if len(told):
            gain[:] = np.interp(np.arange(len(result)), told, result[told] / source[told])
    return gains
