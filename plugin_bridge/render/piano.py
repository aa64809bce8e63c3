"""A sampled instrument: one preset of a SoundFont, played note by note.

symusic 0.5.8 was measured first and is not used: it plays A4 of this preset at 784 Hz (the overriding root
key is ignored), every velocity equally loud, notes of 1 ms not at all, and notes above C6 never decay.

Loudness follows velocity as in Dannenberg, "The Interpretation of MIDI Velocity" (ICMC 2006), over 40 dB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from plugin_bridge._native import add_voice
from plugin_bridge.errors import BridgeError
from plugin_bridge.render.regions import SILENCE_DB, Region, regions
from plugin_bridge.render.soundfont import FormatError, SoundFont, read

Audio: TypeAlias = npt.NDArray[np.float32]

MAX_RING = 30.0
"""Seconds after which a note is damped although its key or the pedal is still down."""

DYNAMIC_RANGE_DB = 40.0
_TAPS, _PHASES = 16, 1024
_HIGHEST_CUTOFF = 0.45  # of the sample rate: a low-pass above that is none


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
    """Plays single notes. Not for several threads at once: it keeps what it has looked up."""

    def __init__(
        self, sample_rate: int = 44100, font: SoundFont | None = None, *, bank: int = 0, program: int = 0
    ) -> None:
        """`font` is the built-in piano unless given. Raises BridgeError when it lacks the preset."""
        if not 8000 <= sample_rate <= 192000:
            raise BridgeError(f"sample rate {sample_rate} is not 8000 to 192000 Hz")
        self.sample_rate = sample_rate
        self._font = builtin_soundfont() if font is None else font
        self._regions = regions(self._font, bank, program)
        self._voices: dict[tuple[int, int], tuple[_Voice, ...]] = {}
        self._release = max(region.envelope.release for region in self._regions)

    def note(self, pitch: int, velocity: int, seconds: float) -> Audio:
        """The sound of a key held for `seconds`, with its release: float32 [2, samples], not normalised.

        It is shorter where the sample or its envelope ends before. Held longer than `MAX_RING` it is damped
        there. Keys that the preset does not cover borrow its nearest key, retuned.
        """
        held = self._held(seconds)
        sound = np.zeros((2, max(v.length(held) for v in self._playing(pitch, velocity))), np.float32)
        self.add(sound, 0, pitch, velocity, seconds)
        return sound

    def add(
        self, out: Audio, at: int, pitch: int, velocity: int, seconds: float,
        gains: tuple[float, float] = (1.0, 1.0),
    ) -> None:  # fmt: skip
        """Add the note to `out`, float32 [2, samples], from sample `at` on, its channels times `gains`.
        Raises ValueError where `out` ends before the note does."""
        held = self._held(seconds)
        for voice in self._playing(pitch, velocity):
            voice.add(out, at, held, gains)

    def longest(self, seconds: float) -> int:
        """Samples that no note lasts longer than whose key is held for `seconds` or less."""
        return self._held(seconds) + math.ceil(self._release * self.sample_rate) + 1

    def _held(self, seconds: float) -> int:
        return round(min(seconds, MAX_RING) * self.sample_rate)

    def _playing(self, pitch: int, velocity: int) -> tuple[_Voice, ...]:
        key = (pitch, velocity)
        if key not in self._voices:
            playing = [r for r in self._regions if r.plays(pitch, velocity)] or self._nearest(pitch, velocity)
            # Softer is darker: two octaves between velocity 127 and 0, the model's default (SF2 8.4.2).
            cutoff = min(r.cutoff for r in playing) * 2 ** (-2 * (127 - velocity) / 128) / self.sample_rate
            self._voices[key] = tuple(
                self._voice(region, pitch, velocity_gain(velocity), cutoff) for region in playing
            )
        return self._voices[key]

    def _nearest(self, pitch: int, velocity: int) -> list[Region]:
        def distance(region: Region) -> int:
            low, high = region.keys
            return max(low - pitch, pitch - high, 0)

        near = [r for r in self._regions if r.velocities[0] <= velocity <= r.velocities[1]] or list(
            self._regions
        )
        closest = min(distance(region) for region in near)
        return [region for region in near if distance(region) == closest]

    def _voice(self, region: Region, pitch: int, gain: float, cutoff: float) -> _Voice:
        sample, envelope, rate = self._font.samples[region.sample], region.envelope, self.sample_rate
        step = sample.rate * 2 ** ((pitch - region.root) * region.cents_per_key / 1200) / rate
        angle = (region.pan + 1) * math.pi / 4
        return _Voice(
            points=np.frombuffer(sample.points, "<i2"),
            loop=sample.loop if region.looped else (0, 0),
            table=_table(round(max(1.0, step), 4)),
            step=step,
            envelope=(
                envelope.delay * rate, envelope.attack * rate, envelope.hold * rate, envelope.decay * rate,
                envelope.sustain, envelope.release * rate,
            ),
            cutoff=cutoff if cutoff < _HIGHEST_CUTOFF else 0.5,
            gains=(gain * region.gain * math.cos(angle), gain * region.gain * math.sin(angle)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Voice:
    """A region at a pitch and velocity, as `add_voice` takes it: times in samples, `step` points a sample."""

    points: npt.NDArray[np.int16]
    loop: tuple[int, int]
    table: Audio
    step: float
    envelope: tuple[float, float, float, float, float, float]
    cutoff: float
    gains: tuple[float, float]

    def length(self, held: int) -> int:
        """Samples until all has died away after a key was held for so many."""
        delay, attack, hold, decay, sustain, release = self.envelope
        sounds = held + round(release) + 1
        if sustain >= SILENCE_DB:
            sounds = min(sounds, math.ceil(delay + attack + hold + decay))
        if self.loop[0] == self.loop[1]:
            sounds = min(sounds, math.ceil(len(self.points) / self.step))
        return sounds

    def add(self, out: Audio, at: int, held: int, gains: tuple[float, float]) -> None:
        left, right = (own * given for own, given in zip(self.gains, gains, strict=True))
        add_voice(
            out, at, self.length(held), self.points, self.loop, self.table, self.step, self.envelope, held,
            self.cutoff, (left, right),
        )  # fmt: skip


@cache
def _table(width: float) -> Audio:
    """A Kaiser-windowed sinc at `_PHASES` + 1 offsets between two points: [phases + 1, taps].

    `width` is 1, or the step between points where that is larger, which keeps aliases out.
    """
    half = 2 * math.ceil(_TAPS / 4 * width)
    taps = np.arange(-half + 1, half + 1)
    distance = (taps[None, :] - np.linspace(0, 1, _PHASES + 1)[:, None]) / width
    inside = 1 - (distance / (_TAPS / 2)) ** 2
    window = np.where(inside >= 0, np.i0(8.0 * np.sqrt(inside.clip(0))) / np.i0(8.0), 0.0)
    table = np.sinc(distance * 0.95) * window
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float32)
