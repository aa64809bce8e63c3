"""How long a sound rings on: playing and processing until it is silent, and where to cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plugin_bridge.render.piano import Audio

SILENCE_DB = -60.0
"""A tail is over where it stays so far below the loudest peak of its clip."""

_CHAIN_SILENCE_DB = -80.0  # between stages: what follows may make quiet things louder
_STEP_SECONDS = 0.5
_FADE_IN, _FADE_OUT = 0.001, 0.03


def ring_out(first: Audio, step: Callable[[int], Audio], sample_rate: int, limit: float) -> Audio:
    """`first` with what `step(samples)` goes on to give, until that is silent or `limit` seconds are over."""
    floor = _peak(first) * 10 ** (_CHAIN_SILENCE_DB / 20)
    blocks, left = [first], round(limit * sample_rate)
    count = round(_STEP_SECONDS * sample_rate)
    while left > 0:
        block = step(min(count, left))
        left -= min(count, left)
        blocks.append(block)
        if _peak(block) <= floor:
            break
    return np.concatenate(blocks, axis=1)


def process_out(process: Callable[..., Audio], audio: Audio, sample_rate: int, limit: float) -> Audio:
    """An effect's sound with its tail. `process(audio, sample_rate, reset=...)`: as pedalboard's effects."""
    first = process(audio, sample_rate, reset=True)
    channels = audio.shape[0]
    return ring_out(
        first,
        lambda count: process(np.zeros((channels, count), np.float32), sample_rate, reset=False),
        sample_rate,
        limit,
    )


def trimmed(audio: Audio) -> Audio:
    """`audio` without what is silent, for whatever may follow, at its end."""
    loud = np.abs(audio).max(axis=0, initial=0.0) > _peak(audio) * 10 ** (_CHAIN_SILENCE_DB / 20)
    return audio[:, : len(loud) - int(np.argmax(loud[::-1]))] if loud.any() else audio[:, :0]


def cut_point(audio: Audio, sample_rate: int, end: float, limit: float) -> int:
    """Samples to keep: past `end` seconds until all that follows lies below `SILENCE_DB` under the loudest
    peak, and at most `limit` seconds past it."""
    loud = np.abs(audio).max(axis=0, initial=0.0) > _peak(audio) * 10 ** (SILENCE_DB / 20)
    last = len(loud) - int(np.argmax(loud[::-1])) if loud.any() else 0
    least = round(end * sample_rate)
    return min(max(last + round(_FADE_OUT * sample_rate), least), least + round(limit * sample_rate))


def cut(audio: Audio, samples: int, sample_rate: int) -> Audio:
    """`audio` cut or filled up to `samples`, faded over 1 ms at its start and 30 ms at its end."""
    kept = np.zeros((audio.shape[0], samples), np.float32)
    length = min(samples, audio.shape[1])
    kept[:, :length] = audio[:, :length]
    into, out = (min(round(seconds * sample_rate), samples) for seconds in (_FADE_IN, _FADE_OUT))
    kept[:, :into] *= np.linspace(0, 1, into, endpoint=False, dtype=np.float32)
    kept[:, samples - out :] *= np.linspace(1, 0, out, dtype=np.float32)
    return kept


def _peak(audio: Audio) -> float:
    return float(np.abs(audio).max(initial=0.0))
