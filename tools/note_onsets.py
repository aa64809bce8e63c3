"""When the notes of a clip begin in its sound: found partial by partial, where a note stands out."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.render.piano import Audio

_LOWEST, _HIGHEST, _PARTIALS = 180.0, 4000.0, 4
_WINDOW = 0.02
_BEFORE, _AFTER = 0.06, 0.08
_STANDS_OUT = 4.0  # 12 dB


def onset_errors(audio: Audio, rate: int, clip: Clip) -> list[tuple[Note, float]]:
    """Milliseconds from each note's start to where its partials pass half of what they rise to.

    `audio`: float32 [channels, samples]. A partial is brought to 0 Hz and smoothed by a Hann window of 20 ms,
    which passes the half in its middle where a sound begins at once. Notes whose partials sounded already, or
    that do not raise them by 12 dB, are left out: their onset cannot be told apart.
    """
    mono = audio.mean(axis=0)
    window = np.hanning(round(_WINDOW * rate))
    window /= window.sum()
    pad = round(0.2 * rate)
    padded = np.pad(mono, pad)
    found: list[tuple[Note, float]] = []
    for note in clip.notes:
        at = round(note.start * rate) + pad
        first = at - round((_BEFORE + _WINDOW) * rate)
        segment = padded[first : at + round((_AFTER + _WINDOW) * rate)]
        time = np.arange(len(segment)) / rate
        level = np.zeros(len(segment) - len(window) + 1)
        pitch = 440 * 2 ** ((note.pitch - 69) / 12)
        partials = [k * pitch for k in range(1, 40) if _LOWEST <= k * pitch <= _HIGHEST][:_PARTIALS]
        for hertz in partials:
            level += np.abs(fftconvolve(segment * np.exp(-2j * np.pi * hertz * time), window, mode="valid"))
        zero = at - first - len(window) // 2
        before = level[: zero - round(0.015 * rate)].max()
        after = level[zero : zero + round(0.05 * rate)].max()
        if after > _STANDS_OUT * before and after > 1e-4:
            crossed = int(np.argmax(level > after / 2))
            found.append((note, (crossed - zero) * 1000 / rate))
    return found
