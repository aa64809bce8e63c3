"""A sampled instrument: one preset of a SoundFont, played note by note.

Of the SoundFont model (SF2 8.1) it plays what a piano uses: key and velocity ranges, tuning, loops, pan,
attenuation, the volume envelope and the low-pass filter. Modulation envelopes and LFOs are left out.
symusic 0.5.8 was measured first and is not used: it plays A4 of this preset at 784 Hz (the overriding root
key is ignored), every velocity equally loud, notes of 1 ms not at all, and notes above C6 never decay.

Loudness follows velocity as in Dannenberg, "The Interpretation of MIDI Velocity" (ICMC 2006), over 40 dB.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.soundfont import (
    GEN_INSTRUMENT,
    GEN_SAMPLE,
    FormatError,
    Sample,
    SoundFont,
    Zone,
    read,
)

Audio: TypeAlias = npt.NDArray[np.float32]

MAX_RING = 30.0
"""Seconds after which a note is damped although its key or the pedal is still down."""

DYNAMIC_RANGE_DB = 40.0
_TAPS, _PHASES = 16, 1024
_SILENCE_DB = 100.0  # envelopes of the SoundFont model end here

_SHORT = {8: 13500, 17: 0, 33: -12000, 34: -12000, 35: -12000, 36: -12000, 37: 0, 38: -12000}
_DEFAULTS = _SHORT | {48: 0, 51: 0, 52: 0, 54: 0, 56: 100, 58: -1}
_FILTER, _PAN, _DELAY, _ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = _SHORT
_ATTENUATION, _COARSE, _FINE, _LOOPS, _SCALE, _ROOT = 48, 51, 52, 54, 56, 58
_KEYS, _VELOCITIES = 43, 44
_ABSOLUTE = frozenset({_LOOPS, _ROOT})  # not meaningful in a preset zone (SF2 8.1.2)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The volume envelope: seconds, and `sustain` in dB below full."""

    delay: float
    attack: float
    hold: float
    decay: float
    sustain: float
    release: float


@dataclass(frozen=True, slots=True)
class Region:
    """One sample over a rectangle of keys and velocities. `gain` is linear, `pan` -1 (left) to 1."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    sample: int
    looped: bool
    root: float
    cents_per_key: float
    gain: float
    pan: float
    cutoff: float
    envelope: Envelope

    def plays(self, pitch: int, velocity: int) -> bool:
        return self.keys[0] <= pitch <= self.keys[1] and self.velocities[0] <= velocity <= self.velocities[1]


def velocity_gain(velocity: int) -> float:
    """Linear gain of a velocity 1..127: (m v + b)^2, 1 at 127 and -40 dB as v goes to 1 (Dannenberg 2006)."""
    b = 127 / (126 * 10 ** (DYNAMIC_RANGE_DB / 40)) - 1 / 126
    return float(((1 - b) / 127 * velocity + b) ** 2)


@cache
def builtin_soundfont() -> SoundFont:
    """The piano that is installed with the package (FluidR3's Yamaha Grand Piano, MIT licence)."""
    return read(files("plugin_bridge.render").joinpath("data/piano.sf2").read_bytes())


def load_soundfont(path: Path) -> SoundFont:
    """Read a SoundFont 2 file. Raises BridgeError, naming the file, when it is missing or no SoundFont."""
    try:
        return read(path.read_bytes())
    except FormatError as error:
        raise BridgeError(f"{path} cannot be played: {error}; choose an uncompressed .sf2 file") from error
    except OSError as error:
        raise BridgeError(
            f"cannot read {path}: {error.strerror or error}; check the name of the SoundFont"
        ) from error


class Piano:
    """Plays single notes. Not for several threads at once: it keeps what it has resampled."""

    def __init__(
        self, sample_rate: int = 44100, font: SoundFont | None = None, *, bank: int = 0, program: int = 0,
        memory: int = 128 * 2**20,
    ) -> None:  # fmt: skip
        """`font` is the built-in piano unless given; `memory` is the bytes of resampled strings that it may
        keep. Raises BridgeError when it lacks the preset."""
        from pedalboard import LowpassFilter, Pedalboard

        if not 8000 <= sample_rate <= 192000:
            raise BridgeError(f"sample rate {sample_rate} is not 8000 to 192000 Hz")
        self.sample_rate = sample_rate
        self._font = builtin_soundfont() if font is None else font
        self._regions = regions(self._font, bank, program)
        self._strings: OrderedDict[tuple[int, bool, float], Audio] = OrderedDict()
        self._cached = 0
        self._memory = memory
        self._poles = (LowpassFilter(), LowpassFilter())
        self._filter: Any = Pedalboard(list(self._poles))

    def note(self, pitch: int, velocity: int, seconds: float) -> Audio:
        """The sound of a key held for `seconds`, with its release: float32 [2, samples], not normalised.

        Held longer than `MAX_RING` it is damped there. Keys that the preset does not cover borrow its
        nearest key, retuned.
        """
        playing = [r for r in self._regions if r.plays(pitch, velocity)] or self._nearest(pitch, velocity)
        seconds = min(seconds, MAX_RING)
        held = round(seconds * self.sample_rate)
        length = held + max(round(r.envelope.release * self.sample_rate) for r in playing) + 1
        sound = np.zeros((2, length), np.float32)
        levels: dict[Envelope, Audio] = {}
        for region in playing:
            release = round(region.envelope.release * self.sample_rate) + 1
            string = self._string(region, pitch, held + release)[: held + release]
            if region.envelope not in levels:
                levels[region.envelope] = _levels(region.envelope, held, held + release, self.sample_rate)
            shaped = string * levels[region.envelope][: len(string)]
            angle = (region.pan + 1) * math.pi / 4
            sound[0, : len(shaped)] += np.float32(region.gain * math.cos(angle)) * shaped
            sound[1, : len(shaped)] += np.float32(region.gain * math.sin(angle)) * shaped
        sound *= np.float32(velocity_gain(velocity))
        return self._filtered(sound, min(r.cutoff for r in playing), velocity)

    def _nearest(self, pitch: int, velocity: int) -> list[Region]:
        def distance(region: Region) -> int:
            low, high = region.keys
            return max(low - pitch, pitch - high, 0)

        near = [r for r in self._regions if r.velocities[0] <= velocity <= r.velocities[1]] or list(
            self._regions
        )
        closest = min(distance(region) for region in near)
        return [region for region in near if distance(region) == closest]

    def _filtered(self, sound: Audio, cutoff: float, velocity: int) -> Audio:
        """Softer is darker: two octaves between velocity 127 and 0, the model's default (SF2 8.4.2)."""
        hertz = cutoff * 2 ** (-2 * (127 - velocity) / 128)
        if hertz >= 0.45 * self.sample_rate:
            return sound
        for pole in self._poles:
            pole.cutoff_frequency_hz = hertz
        filtered: Audio = self._filter.process(sound, self.sample_rate, reset=True)
        return filtered

    def _string(self, region: Region, pitch: int, length: int) -> Audio:
        """At least `length` points (fewer where an unlooped sample ends) of the sample at that pitch."""
        sample = self._font.samples[region.sample]
        cents = (pitch - region.root) * region.cents_per_key
        key = (region.sample, region.looped, cents)
        known = self._strings.pop(key, None)
        if known is None or (len(known) < length and region.looped):
            if known is not None:
                self._cached -= known.nbytes
            wanted = self.sample_rate << max(0, math.ceil(math.log2(length / self.sample_rate)))
            known = resampled(
                sample, region.looped, sample.rate * 2 ** (cents / 1200) / self.sample_rate, wanted
            )
            self._cached += known.nbytes
        self._strings[key] = known
        while self._cached > self._memory and len(self._strings) > 1:
            self._cached -= self._strings.popitem(last=False)[1].nbytes
        return known


def _levels(envelope: Envelope, held: int, length: int, sample_rate: int) -> Audio:
    """The envelope, linear, for a key up after `held` points."""
    time = np.arange(length, dtype=np.float32) / np.float32(sample_rate)
    start = envelope.delay + envelope.attack + envelope.hold
    fall = np.minimum((time - start).clip(0) / max(envelope.decay, 1e-3) * _SILENCE_DB, envelope.sustain)
    released = (time - held / sample_rate).clip(0) / max(envelope.release, 1e-3) * _SILENCE_DB
    level = np.exp2((fall + released) * np.float32(-math.log2(10) / 20))
    level *= ((time - envelope.delay) / max(envelope.attack, 1e-6)).clip(0, 1)
    return level


@cache
def _kernel(width: float) -> Audio:
    """A Kaiser-windowed sinc at `_PHASES` + 1 offsets between two points: [phases + 1, taps].

    `width` is 1, or the step between points where that is larger, which keeps aliases out.
    """
    half = math.ceil(_TAPS / 2 * width)
    taps = np.arange(-half + 1, half + 1)
    distance = (taps[None, :] - np.linspace(0, 1, _PHASES + 1)[:, None]) / width
    window = np.i0(8.0 * np.sqrt((1 - (distance / (_TAPS / 2)) ** 2).clip(0))) / np.i0(8.0)
    table = np.sinc(distance * 0.95) * window
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float32)


def resampled(sample: Sample, looped: bool, step: float, length: int) -> Audio:
    """`sample` read every `step` points, float32 of about `length` points in -1..1; shorter if it ends.

    Looped samples go round from the loop's end to its start for as long as needed.
    """
    points = np.frombuffer(sample.points, "<i2").astype(np.float32) / 32768
    needed = math.ceil(length * step) + 2
    start, end = sample.loop
    if looped and end > start and needed > end:
        points = np.concatenate(
            [points[:end], np.tile(points[start:end], -(-(needed - end) // (end - start)))]
        )
    count = min(length, int(max(len(points) - 1, 0) / step))
    table = _kernel(round(max(1.0, step), 4))
    half = table.shape[1] // 2
    padded = np.pad(points, (half - 1, half + 1))
    result = np.empty(count, np.float32)
    for first in range(0, count, 1 << 15):
        at = np.arange(first, min(first + (1 << 15), count)) * step
        whole = at.astype(np.int64)
        phase = np.rint((at - whole) * _PHASES).astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(padded, table.shape[1])[whole]
        result[first : first + len(at)] = np.einsum("ij,ij->i", windows, table[phase])
    return result


def regions(font: SoundFont, bank: int, program: int) -> tuple[Region, ...]:
    """The preset flattened: every preset zone over every zone of its instrument (SF2 9.4)."""
    preset = next((p for p in font.presets if (p.bank, p.program) == (bank, program)), None)
    if preset is None:
        raise BridgeError(f"the SoundFont has no preset {program} in bank {bank}; it has {_listed(font)}")
    found: list[Region] = []
    for above, instrument in _zones(preset.zones, GEN_INSTRUMENT):
        for below, sample in _zones(font.instruments[instrument].zones, GEN_SAMPLE):
            region = _region(above, below, sample, font.samples[sample])
            if region.keys[0] <= region.keys[1] and region.velocities[0] <= region.velocities[1]:
                found.append(region)
    if not found:
        raise BridgeError(f"preset {program} of bank {bank} plays no sample; choose another")
    return tuple(found)


def _listed(font: SoundFont) -> str:
    names = [f"{p.bank}:{p.program}" for p in sorted(font.presets, key=lambda p: (p.bank, p.program))]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _zones(zones: Sequence[Zone], operator: int) -> list[tuple[dict[int, int], int]]:
    """Generators, over those of a leading global zone, and target of every zone that has one."""
    common = dict(zones[0].generators) if zones and zones[0].target(operator) is None else {}
    return [(common | dict(z.generators), t) for z in zones if (t := z.target(operator)) is not None]


def _signed(amount: int) -> int:
    return amount - 0x10000 if amount & 0x8000 else amount


def _region(above: dict[int, int], below: dict[int, int], index: int, sample: Sample) -> Region:
    def both(operator: int) -> int:
        value = _signed(below[operator]) if operator in below else _DEFAULTS[operator]
        return value if operator in _ABSOLUTE else value + _signed(above.get(operator, 0))

    def seconds(operator: int) -> float:
        return float(2 ** (min(both(operator), 8000) / 1200))

    def overlap(operator: int) -> tuple[int, int]:
        one, two = (zone.get(operator, 127 << 8) for zone in (above, below))
        return max(one & 255, two & 255), min(one >> 8, two >> 8)

    root = sample.key if both(_ROOT) < 0 else both(_ROOT)
    tuning = both(_COARSE) * 100 + both(_FINE) + sample.cents
    scale = max(both(_SCALE), 1)
    return Region(
        keys=overlap(_KEYS),
        velocities=overlap(_VELOCITIES),
        sample=index,
        looped=both(_LOOPS) in (1, 3),
        root=root - tuning / scale,
        cents_per_key=scale,
        # Sound cards took 0.4 dB for the specification's 1 dB, and SoundFonts are voiced for that.
        gain=10 ** (-0.4 * max(both(_ATTENUATION), 0) / 200),
        pan=min(max(both(_PAN) / 500, -1.0), 1.0),
        cutoff=8.176 * 2 ** (min(both(_FILTER), 13500) / 1200),
        envelope=Envelope(
            delay=seconds(_DELAY),
            attack=seconds(_ATTACK),
            hold=seconds(_HOLD),
            decay=seconds(_DECAY),
            sustain=min(max(both(_SUSTAIN) / 10, 0.0), _SILENCE_DB),
            release=seconds(_RELEASE),
        ),
    )
