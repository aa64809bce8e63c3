"""The preset of a SoundFont, flattened: which sample plays at which key and velocity, how high and how loud.

Of the SoundFont model (SF2 8.1) it takes what a piano uses: key and velocity ranges, tuning, loops, pan,
attenuation, the volume envelope and the low-pass filter. Modulation envelopes and LFOs are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.soundfont import GEN_INSTRUMENT, GEN_SAMPLE, Sample, SoundFont, Zone

SILENCE_DB = 100.0
"""How far below full the envelopes of the SoundFont model end (SF2 8.1.2)."""

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
        return float(2 ** (min(max(both(operator), -12000), 8000) / 1200))

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
            sustain=min(max(both(_SUSTAIN) / 10, 0.0), SILENCE_DB),
            release=seconds(_RELEASE),
        ),
    )
