"""Make the built-in piano: one preset of a SoundFont as a small SoundFont of its own.

    python tools/make_piano.py FluidR3_GM.sf2

It needs plugin_bridge installed. The source is FluidR3_GM.sf2 (MIT licence; Debian's package
fluid-soundfont-gm). The result holds what the preset reaches and nothing else: its zones, its instruments,
its samples. Three things are changed so that notes are heard when they begin: no attack is longer than 2 ms
(FluidR3 has 8), samples that swell late lose their first milliseconds, and those that still come to most of
their level late are raised a little there. The same source gives the same bytes. SF2 is "SoundFont Technical
Specification 2.04" (2006).
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.render.soundfont import (
    BAG,
    GEN_INSTRUMENT,
    GEN_SAMPLE,
    GENERATOR,
    INSTRUMENT,
    LEFT,
    MODULATOR,
    MONO,
    PRESET,
    RIGHT,
    SAMPLE,
    FormatError,
    Sample,
    SoundFont,
    Zone,
    read,
    text,
)

DEFAULT_TARGET = Path(__file__).parents[1] / "plugin_bridge" / "render" / "data" / "piano.sf2"

Points: TypeAlias = NDArray[np.int16] | NDArray[np.float64]

GAP = 46  # zero points after every sample (SF2 7.10)

GEN_ATTACK = 34
ATTACK = 0.002
"""Seconds in which a note fades in, at most: enough that a sample cut into a sound does not click."""
SWELL = 0.005
"""Seconds from the start of a sample to where its level passes half of what it reaches, at most."""
_SWELL_WINDOW, _SWELL_WITHIN = 0.01, 0.05  # seconds: what the level is smoothed by, and sought in
_SWELL_STEP = 0.0005  # seconds by which it is tried how much has to go
FIRM, FIRM_WITHIN = 0.65, 0.006
"""A share of that level, and the seconds within which a sample passes it: a sound that stands at half of its
level would begin late wherever something turns it up meanwhile, as a compressor does after a loud chord."""
_MOST_RAISED, _RAISE_STEP = 1.5, 0.05
_RAISED, _AS_IT_WAS = 0.005, 0.012  # seconds until which a beginning is raised, and from which it is not
_SOFTEST = 3000.0  # Hz: the low-pass of FluidR3's piano at the softest stroke, which takes the hammer's knock


# Choosing


def extract(font: SoundFont, bank: int, program: int) -> SoundFont:
    """What preset `program` of `bank` needs, renumbered. Raises FormatError where there is no such preset."""
    preset = next((p for p in font.presets if (p.bank, p.program) == (bank, program)), None)
    if preset is None:
        raise FormatError(f"there is no preset {program} in bank {bank}")
    used = _targets(preset.zones, GEN_INSTRUMENT)
    instruments = [font.instruments[index] for index in used]
    heard = sorted({index for each in instruments for index in _targets(each.zones, GEN_SAMPLE)})
    samples = tuple(font.samples[index] for index in heard)
    return SoundFont(
        font.info,
        (replace(preset, zones=_renumbered(preset.zones, GEN_INSTRUMENT, used)),),
        tuple(replace(each, zones=_renumbered(each.zones, GEN_SAMPLE, heard)) for each in instruments),
        _relinked(samples, heard),
    )


def _targets(zones: tuple[Zone, ...], operator: int) -> list[int]:
    return sorted({index for zone in zones if (index := zone.target(operator)) is not None})


def _renumbered(zones: tuple[Zone, ...], operator: int, kept: list[int]) -> tuple[Zone, ...]:
    return tuple(
        zone if (index := zone.target(operator)) is None else zone.aimed(operator, kept.index(index))
        for zone in zones
    )


def _relinked(samples: tuple[Sample, ...], kept: list[int]) -> tuple[Sample, ...]:
    """Stereo halves point at each other; a half whose other side cannot be told becomes mono.

    FluidR3 carries link 0 on every stereo sample, so where the link is no pair the names `X(L)` and
    `X(R)` decide.
    """
    opposite = {LEFT: RIGHT, RIGHT: LEFT}

    def pair(here: int) -> int | None:
        sample = samples[here]
        other = opposite.get(sample.kind)
        if other is None:
            return None
        if sample.link in kept:
            there = kept.index(sample.link)
            if samples[there].kind == other and samples[there].link == kept[here]:
                return there
        name = _other_side(sample.name)
        found = [i for i, each in enumerate(samples) if each.kind == other and each.name == name]
        return found[0] if len(found) == 1 else None

    pairs = [pair(index) for index in range(len(samples))]
    return tuple(
        replace(sample, link=0, kind=MONO)
        if other is None or pairs[other] != here
        else replace(sample, link=other)
        for here, (sample, other) in enumerate(zip(samples, pairs, strict=True))
    )


def _other_side(name: bytes) -> bytes | None:
    for mine, yours in ((b"(L)", b"(R)"), (b"(R)", b"(L)")):
        if name.endswith(mine):
            return name.removesuffix(mine) + yours
    return None


# Beginning in time


def quickened(font: SoundFont) -> SoundFont:
    """`font` without attacks above 2 ms, with samples that swell to half within 5 ms and are then firm."""
    longest = round(1200 * math.log2(ATTACK))

    def quick(zone: Zone) -> Zone:
        return replace(
            zone,
            generators=tuple(
                (operator, min(_signed(amount), longest) & 0xFFFF if operator == GEN_ATTACK else amount)
                for operator, amount in zone.generators
            ),
        )

    begun = replace(
        font,
        instruments=tuple(replace(each, zones=tuple(map(quick, each.zones))) for each in font.instruments),
        samples=tuple(_begun(sample, _too_late(font, sample)) for sample in font.samples),
    )
    return replace(begun, samples=tuple(_firm(begun, sample) for sample in begun.samples))


def _signed(amount: int) -> int:
    return amount - 0x10000 if amount & 0x8000 else amount


def swell(font: SoundFont, sample: Sample) -> float:
    """Seconds to where the level of both sides together passes half of what it reaches within 50 ms, at the
    softest stroke, which swells latest. The level is that of tools/left_out.py, by which notes are judged."""
    return _swell(_sides(font, sample), sample.rate)


def _too_late(font: SoundFont, sample: Sample) -> float:
    """Seconds that the sample has to lose for it to swell in time. What is left swells to another level than
    the whole does, so it is tried."""
    sides = _sides(font, sample)
    for seconds in np.arange(0, _SWELL_WITHIN, _SWELL_STEP):
        cut = round(seconds * sample.rate)
        if _swell([points[cut:] for points in sides], sample.rate) <= SWELL:
            return float(seconds)
    return 0.0


def _firm(font: SoundFont, sample: Sample) -> Sample:
    """The sample with its beginning raised, by 3.5 dB at most, so far that it comes to most of its level in
    time; as it is where that does not help."""
    sides = _sides(font, sample)
    length = round(2 * _SWELL_WITHIN * sample.rate)
    since = np.arange(length) / sample.rate
    raised = 0.5 + 0.5 * np.cos(np.pi * np.clip((since - _RAISED) / (_AS_IT_WAS - _RAISED), 0, 1))
    for gain in np.arange(1, _MOST_RAISED, _RAISE_STEP):
        curve = 1 + (gain - 1) * raised
        louder = [side[:length] * curve[: len(side)] for side in sides]
        if _swell(louder, sample.rate, FIRM) <= FIRM_WITHIN:
            break
    else:
        return sample
    full = np.iinfo(np.int16)
    if gain == 1 or any(np.rint(each).max() > full.max or np.rint(each).min() < full.min for each in louder):
        return sample  # both sides alike
    start = np.rint(louder[0]).astype("<i2").tobytes()
    return replace(sample, points=start + sample.points[len(start) :])


def _sides(font: SoundFont, sample: Sample) -> list[Points]:
    both = [sample] if sample.kind == MONO else [sample, font.samples[sample.link]]
    return [np.frombuffer(side.points, "<i2") for side in both]


def _swell(sides: list[Points], rate: int, share: float = 0.5) -> float:
    window = np.hanning(round(_SWELL_WINDOW * rate) | 1)
    count = round(_SWELL_WITHIN * rate)
    magnitude = np.zeros(count + len(window) // 2)
    fade = np.minimum(np.arange(len(magnitude)) / (ATTACK * rate), 1.0)
    warped = math.tan(math.pi * _SOFTEST / rate)
    low_pass = np.array([warped, warped]) / (warped + 1), np.array([1, (warped - 1) / (warped + 1)])
    for side in sides:
        points = side[: len(magnitude)] * fade[: len(side)]
        magnitude[: len(points)] += np.abs(lfilter(*low_pass, lfilter(*low_pass, points)))
    level = np.convolve(magnitude, window, "same")[:count]
    return float(np.argmax(level >= level.max() * share) / rate)


def _begun(sample: Sample, seconds: float) -> Sample:
    """The sample without its first `seconds`, where that leaves its loop whole."""
    cut = min(max(round(seconds * sample.rate), 0), sample.loop[0])
    return replace(sample, points=sample.points[2 * cut :], loop=(sample.loop[0] - cut, sample.loop[1] - cut))


# Writing


def write(font: SoundFont) -> bytes:
    """The bytes of `font` as a SoundFont 2 file."""
    preset_bags, preset_tables = _zone_tables([p.zones for p in font.presets], b"p")
    instrument_bags, instrument_tables = _zone_tables([i.zones for i in font.instruments], b"i")
    presets = [
        PRESET.pack(p.name, p.program, p.bank, bag, 0, 0, 0)
        for p, bag in zip(font.presets, preset_bags, strict=False)
    ]
    presets.append(PRESET.pack(b"EOP", 0, 0, preset_bags[-1], 0, 0, 0))
    instruments = [
        INSTRUMENT.pack(i.name, bag) for i, bag in zip(font.instruments, instrument_bags, strict=False)
    ]
    instruments.append(INSTRUMENT.pack(b"EOI", instrument_bags[-1]))
    headers, points = _sample_tables(font.samples)
    tables = [(b"phdr", b"".join(presets)), *preset_tables]
    tables += [(b"inst", b"".join(instruments)), *instrument_tables, (b"shdr", headers)]
    body = _list(b"INFO", font.info) + _list(b"sdta", [(b"smpl", points)]) + _list(b"pdta", tables)
    return _chunk(b"RIFF", b"sfbk" + body)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(name: bytes, chunks: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]) -> bytes:
    return _chunk(b"LIST", name + b"".join(_chunk(*chunk) for chunk in chunks))


def _zone_tables(
    groups: list[tuple[Zone, ...]], prefix: bytes
) -> tuple[list[int], list[tuple[bytes, bytes]]]:
    """First bag of every group (and one past the last), and the bag, modulator and generator tables."""
    first = [0]
    bags: list[bytes] = []
    generators: list[bytes] = []
    modulators: list[bytes] = []
    for zones in groups:
        for zone in zones:
            bags.append(BAG.pack(len(generators), len(modulators)))
            generators += [GENERATOR.pack(*generator) for generator in zone.generators]
            modulators += [MODULATOR.pack(*modulator) for modulator in zone.modulators]
        first.append(len(bags))
    bags.append(BAG.pack(len(generators), len(modulators)))
    generators.append(GENERATOR.pack(0, 0))
    modulators.append(MODULATOR.pack(0, 0, 0, 0, 0))
    parts = ((b"bag", bags), (b"mod", modulators), (b"gen", generators))
    return first, [(prefix + suffix, b"".join(rows)) for suffix, rows in parts]


def _sample_tables(samples: tuple[Sample, ...]) -> tuple[bytes, bytes]:
    headers: list[bytes] = []
    points = bytearray()
    for s in samples:
        start = len(points) // 2
        points += s.points + bytes(2 * GAP)
        loop = (start + s.loop[0], start + s.loop[1])
        end = start + len(s.points) // 2
        headers.append(SAMPLE.pack(s.name, start, end, *loop, s.rate, s.key, s.cents, s.link, s.kind))
    headers.append(SAMPLE.pack(b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0))
    return b"".join(headers), bytes(points)


# The job


def described(font: SoundFont) -> SoundFont:
    """`font` with INFO that keeps its author, copyright and licence and says what was taken from it."""
    old = dict(font.info)
    source = text(old.get(b"INAM", b"?")).decode("latin-1")
    said = text(old.get(b"ICMT", b"")).decode("latin-1")
    preset = font.presets[0]
    remark = f"{said} Preset {preset.bank}:{preset.program} of {source}, made by tools/make_piano.py.".strip()
    info = [
        (b"ifil", struct.pack("<HH", 2, 1)),
        (b"isng", _zstr("EMU8000")),
        (b"INAM", _zstr(preset.name.decode())),
    ]
    info += [(name, old[name]) for name in (b"IENG", b"ICOP") if name in old]
    info.append((b"ICMT", _zstr(remark)))
    return replace(font, info=tuple(info))


def _zstr(text: str) -> bytes:
    """Text ended by one or two zeros, of even length (SF2 4.4)."""
    data = text.encode("latin-1") + b"\0"
    return data + b"\0" * (len(data) % 2)


def make(source: bytes, bank: int = 0, program: int = 0) -> bytes:
    """One preset of the SoundFont `source` as the bytes of a SoundFont of its own, preset 0 of bank 0."""
    font = described(quickened(extract(read(source), bank, program)))
    return write(replace(font, presets=(replace(font.presets[0], bank=0, program=0),)))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a SoundFont of one preset of another.")
    parser.add_argument("source", type=Path, help="the SoundFont to take from (FluidR3_GM.sf2)")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_TARGET)
    parser.add_argument("--bank", type=int, default=0)
    parser.add_argument("--program", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        data = make(options.source.read_bytes(), options.bank, options.program)
        with atomic_path(options.output) as temporary:
            temporary.write_bytes(data)
    except (FormatError, OSError, BridgeError) as error:
        print(f"make_piano: error: {options.source}: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
