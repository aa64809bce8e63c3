"""When the notes of a clip begin in its sound: found in partials that no other note of that moment has.

A partial is seen through a window of 20 ms, which cannot tell tones apart that are less than 100 Hz from
each other, and a hammer's knock is heard at all frequencies. So a note is judged

- that has no neighbour: no other note begins within 0.1 s of it, but for those that begin at the same time;
- that has three partials or more of its own: 100 Hz or more from every partial of the notes of that time;
- that raises three of these by 12 dB: strings that ring already do not show when they are struck again.

The first two follow from the MIDI alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.render.piano import Audio

_WINDOW = 0.02  # seconds of a Hann window, whose main lobe reaches 2 / _WINDOW Hz to either side
_APART = 2 / _WINDOW
_LOWEST, _HIGHEST, _MOST, _LEAST = 180.0, 5000.0, 16, 3
_NEIGHBOUR, _TOGETHER = 0.1, 0.001  # seconds between the starts of two notes
_BEFORE, _EARLIEST, _LATEST = -0.06, -0.03, 0.04
"""Seconds around a note's start: from the first to the second its partials are still silent, and from the
second to the third its onset is sought."""
_STANDS_OUT = 4.0  # 12 dB
_SILENCE = 1e-5  # of full scale


def onset_errors(audio: Audio, rate: int, clip: Clip) -> list[tuple[Note, float]]:
    """The notes of `clip` that can be judged, and milliseconds from their start to their onset: the median of
    the times at which their own partials pass half of what they rise to.

    `audio`: float32 [channels, samples]. A partial is brought to 0 Hz and smoothed by the window, which
    passes the half in its middle where a sound begins at once.
    """
    window = np.hanning(round(_WINDOW * rate))
    window /= window.sum()
    half = len(window) // 2
    first, begin, last = (round(seconds * rate) for seconds in (_BEFORE, _EARLIEST, _LATEST))
    pad = half - first
    padded = np.pad(audio.mean(axis=0), (pad, pad + last))
    found: list[tuple[Note, float]] = []
    for note in clip.notes:
        own = own_partials(note, clip)
        if len(own) < _LEAST:
            continue
        at = round(note.start * rate) + pad
        segment = padded[at + first - half : at + last + half]
        turns = np.exp(-2j * np.pi / rate * own[:, None] * np.arange(len(segment)))
        levels = np.abs(fftconvolve(segment * turns, window[None, :], mode="valid", axes=1))
        before, rising = np.split(levels, [begin - first], axis=1)
        top = rising.max(axis=1)
        clear = (top > _STANDS_OUT * before.max(axis=1)) & (top > _SILENCE)
        if clear.sum() >= _LEAST:
            crossed = np.argmax(rising[clear] > top[clear, None] / 2, axis=1)
            found.append((note, float(np.median(crossed) + begin) * 1000 / rate))
    return found


def own_partials(note: Note, clip: Clip) -> NDArray[np.float64]:
    """Hertz of the partials that `note` can be judged by; none where it has a neighbour."""
    near = [each for each in clip.notes if each is not note and abs(each.start - note.start) < _NEIGHBOUR]
    if any(abs(each.start - note.start) >= _TOGETHER for each in near):
        return np.zeros(0)
    mine = _harmonics(note.pitch)
    mine = mine[(mine >= _LOWEST) & (mine <= _HIGHEST)][:_MOST]
    for each in near:
        theirs = _harmonics(each.pitch)
        mine = mine[(np.abs(mine[:, None] - theirs) >= _APART).all(axis=1)]
    return mine


def _harmonics(pitch: int) -> NDArray[np.float64]:
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    return np.asarray(hertz * np.arange(1, (_HIGHEST + _APART) // hertz + 1))
