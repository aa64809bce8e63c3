"""Loudness to a target, true peaks below a limit.

Loudness is integrated loudness by ITU-R BS.1770-4 (pyloudnorm). A true peak is the largest value of the
signal oversampled four times (BS.1770-4, Annex 2). The limiter looks ahead: its gain reaches what a peak
needs before the peak comes, and moves over 40 ms, so that it does not distort.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from plugin_bridge._native import interpolated_peaks
from plugin_bridge.render.piano import Audio

_OVERSAMPLING = 4
_LOOK_SECONDS = 0.02
_SHORTEST = 0.4
"""Seconds: a block of BS.1770. What is shorter has no loudness."""
_CLOSE_ENOUGH = 0.1  # LU
_PASSES = 6


@dataclass(frozen=True, slots=True)
class Mastering:
    """What was done, and what came of it. `gain` [samples] is what the mix was multiplied with; `loudness`
    in LUFS is None for silence and for what is shorter than 0.4 s; `true_peak` in dBTP is None for silence;
    `limited` is the most that the limiter took away, in dB."""

    gain: Audio
    loudness: float | None
    true_peak: float | None
    limited: float


def master(audio: Audio, sample_rate: int, loudness: float | None, peak: float) -> Mastering:
    """The gain that brings `audio`, float32 [channels, samples], to `loudness` LUFS (None: leaves it) with
    true peaks of at most `peak` dBTP. Where both cannot be had, the peak is kept."""
    peaks = oversampled_peaks(audio)
    measured = integrated_loudness(audio, sample_rate)
    wanted = 0.0 if loudness is None or measured is None else loudness - measured
    gain_db, reached, limited = wanted, measured, 0.0
    curve = np.ones(audio.shape[1], np.float32)
    for _ in range(_PASSES):
        linear = 10 ** (gain_db / 20)
        curve = limiter_gain(peaks * np.float32(linear), sample_rate, peak)
        limited = 0.0 - 20 * math.log10(float(curve.min(initial=1.0)))
        curve = curve * np.float32(linear)
        if limited == 0:
            reached = None if measured is None else measured + gain_db
        else:
            reached = integrated_loudness(audio * curve, sample_rate)
        if loudness is None or reached is None or abs(loudness - reached) < _CLOSE_ENOUGH:
            break
        gain_db += loudness - reached
    if limited == 0:  # one gain for all: nothing to measure again
        return Mastering(
            curve, reached, _decibels(float(peaks.max(initial=0.0)) * float(curve.max(initial=0.0))), 0.0
        )
    top = true_peak(audio * curve)
    over = (top or -math.inf) - peak
    if over > 0:  # what oversampling a changing gain adds: hundredths of a decibel
        curve = curve * np.float32(10 ** (-(over + 1e-3) / 20))
        top = true_peak(audio * curve)
        reached = None if reached is None else reached - over
    return Mastering(curve, reached, top, limited)


def integrated_loudness(audio: Audio, sample_rate: int) -> float | None:
    """LUFS of `audio`, float32 [channels, samples]; None for silence and for less than 0.4 s."""
    import pyloudnorm

    if audio.shape[1] <= _SHORTEST * sample_rate:
        return None
    value = float(pyloudnorm.Meter(sample_rate).integrated_loudness(audio.T))
    return value if math.isfinite(value) else None


def true_peak(audio: Audio) -> float | None:
    """dBTP of `audio`, float32 [channels, samples]; None for silence."""
    return _decibels(float(oversampled_peaks(audio).max(initial=0.0)))


def _decibels(magnitude: float) -> float | None:
    return 20 * math.log10(magnitude) if magnitude > 0 else None


def oversampled_peaks(audio: Audio) -> Audio:
    """For each sample the largest magnitude from it to the next, over all channels: [samples]."""
    return interpolated_peaks(np.ascontiguousarray(audio), _between())


@cache
def _between() -> Audio:
    """The filters for the points between two samples, [3, 20]; the samples are left as they are.

    The low-pass is that of `scipy.signal.resample_poly`: a sinc of 20 zero crossings, Kaiser window, beta 5.
    """
    from scipy.signal import firwin

    half = 10 * _OVERSAMPLING
    low_pass = firwin(2 * half + 1, 1 / _OVERSAMPLING, window=("kaiser", 5.0)) * _OVERSAMPLING
    return np.array([low_pass[phase::_OVERSAMPLING][::-1] for phase in range(1, _OVERSAMPLING)], np.float32)


def limiter_gain(peaks: Audio, sample_rate: int, ceiling: float) -> Audio:
    """The gain [samples], at most 1, that keeps `peaks` [samples] at or below `ceiling` dB.

    The least gain needed within 20 ms before and after, smoothed by a window of that width: a mean of
    values none of which is above what the sample in the middle needs.
    """
    from scipy.ndimage import minimum_filter1d
    from scipy.signal import oaconvolve

    limit = np.float32(10 ** (ceiling / 20))
    if float(peaks.max(initial=0.0)) <= limit:
        return np.ones(len(peaks), np.float32)
    half = max(1, round(_LOOK_SECONDS * sample_rate))
    needed = limit / np.maximum(peaks, limit)
    least = minimum_filter1d(needed, 2 * half + 1, mode="nearest")
    window = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(least.astype(np.float64), half, mode="edge")
    smooth = oaconvolve(padded, window / window.sum(), mode="valid")
    return np.asarray(np.minimum(smooth, 1.0), np.float32)
