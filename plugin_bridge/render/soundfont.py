"""SoundFont 2 files: the values they hold, and a strict reader.

Formats and numbers follow "SoundFont Technical Specification 2.04" (Creative, 2006), cited as SF2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

GEN_INSTRUMENT = 41
GEN_SAMPLE = 53
MONO, RIGHT, LEFT = 1, 2, 4

PRESET = struct.Struct("<20sHHHIII")  # name, program, bank, first bag, library, genre, morphology
INSTRUMENT = struct.Struct("<20sH")  # name, first bag
BAG = struct.Struct("<HH")  # first generator, first modulator
GENERATOR = struct.Struct("<HH")  # operator, amount
MODULATOR = struct.Struct("<HHhHH")
SAMPLE = struct.Struct("<20sIIIIIBbHH")  # name, start, end, loop start and end, rate, key, cents, link, type

Row = tuple[int, ...]
T = TypeVar("T")


class FormatError(ValueError):
    """The bytes are not the SoundFont that the specification describes."""


@dataclass(frozen=True, slots=True)
class Zone:
    """Generators as (operator, raw amount) in file order, and modulators as read."""

    generators: tuple[tuple[int, int], ...]
    modulators: tuple[Row, ...] = ()

    def target(self, operator: int) -> int | None:
        """The index that the zone's last generator names, None for a global zone."""
        if self.generators and self.generators[-1][0] == operator:
            return self.generators[-1][1]
        return None

    def aimed(self, operator: int, index: int) -> Zone:
        """The same zone, pointing at `index`."""
        return replace(self, generators=(*self.generators[:-1], (operator, index)))


@dataclass(frozen=True, slots=True)
class Sample:
    """16-bit mono points with their loop, relative to the first; `link` is an index of the other side."""

    name: bytes
    points: bytes
    loop: tuple[int, int]
    rate: int
    key: int
    cents: int
    link: int
    kind: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """A name and its zones; the samples they aim at are indexes."""

    name: bytes
    zones: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """A program of a bank; its zones aim at instruments."""

    name: bytes
    program: int
    bank: int
    zones: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class SoundFont:
    """A whole SoundFont in memory."""

    info: tuple[tuple[bytes, bytes], ...]
    presets: tuple[Preset, ...]
    instruments: tuple[Instrument, ...]
    samples: tuple[Sample, ...]


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The RIFF chunks that fill `data` exactly."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise FormatError("a chunk header is cut off")
        name, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if at + size > len(data):
            raise FormatError(f"chunk {name!r} says {size} bytes where {len(data) - at} are left")
        yield name, data[at : at + size]
        at += size + size % 2


def _lists(data: memoryview) -> dict[bytes, list[tuple[bytes, memoryview]]]:
    outer = list(_chunks(data))
    if len(outer) != 1 or outer[0][0] != b"RIFF" or bytes(outer[0][1][:4]) != b"sfbk":
        raise FormatError("this is not a SoundFont 2 file")
    found = {
        bytes(body[:4]): list(_chunks(body[4:])) for name, body in _chunks(outer[0][1][4:]) if name == b"LIST"
    }
    if list(found) != [b"INFO", b"sdta", b"pdta"]:
        raise FormatError(f"the lists are {list(found)}, not INFO, sdta, pdta")
    return found


def _rows(tables: dict[bytes, memoryview], name: bytes, form: struct.Struct) -> list[tuple[Any, ...]]:
    data = tables.get(name)
    if data is None or len(data) % form.size or len(data) < form.size:
        raise FormatError(f"table {name!r} is missing or not made of records of {form.size} bytes")
    return list(form.iter_unpack(data))


def _span(rows: list[T], start: int, end: int, what: str) -> list[T]:
    """Rows `start` to `end`; the terminal row is never among them."""
    if not 0 <= start <= end <= len(rows) - 1:
        raise FormatError(f"{what}: records {start} to {end} of {len(rows) - 1}")
    return rows[start:end]


class _Zones:
    """The three tables behind the zones of presets (prefix `p`) or instruments (prefix `i`)."""

    def __init__(self, tables: dict[bytes, memoryview], prefix: bytes) -> None:
        self._prefix = prefix.decode()
        self._bags = _rows(tables, prefix + b"bag", BAG)
        self._generators = _rows(tables, prefix + b"gen", GENERATOR)
        self._modulators = _rows(tables, prefix + b"mod", MODULATOR)

    def between(self, start: int, end: int) -> tuple[Zone, ...]:
        _span(self._bags, start, end, f"{self._prefix}bag")
        return tuple(self._zone(index) for index in range(start, end))

    def _zone(self, index: int) -> Zone:
        (generator, modulator), (generator_end, modulator_end) = self._bags[index : index + 2]
        generators = _span(self._generators, generator, generator_end, f"{self._prefix}gen")
        modulators = _span(self._modulators, modulator, modulator_end, f"{self._prefix}mod")
        return Zone(tuple(generators), tuple(modulators))


def read(data: bytes) -> SoundFont:
    """Parse a SoundFont 2 file. Raises FormatError where the bytes contradict the specification.

    24-bit samples (chunk `sm24`) and samples in ROM are refused: the result would not sound the same.
    """
    lists = _lists(memoryview(data))
    sound = dict(lists[b"sdta"])
    if set(sound) != {b"smpl"}:
        raise FormatError(f"sample data {sorted(sound)}: only 16-bit samples (smpl) are read")
    tables = dict(lists[b"pdta"])
    preset_zones, instrument_zones = _Zones(tables, b"p"), _Zones(tables, b"i")
    headers = _rows(tables, b"phdr", PRESET)
    presets = tuple(
        Preset(text(row[0]), row[1], row[2], preset_zones.between(row[3], following[3]))
        for row, following in pairwise(headers)
    )
    headers = _rows(tables, b"inst", INSTRUMENT)
    instruments = tuple(
        Instrument(text(row[0]), instrument_zones.between(row[1], following[1]))
        for row, following in pairwise(headers)
    )
    points = sound[b"smpl"]
    samples = tuple(_sample(row, points) for row in _rows(tables, b"shdr", SAMPLE)[:-1])
    _check_targets(presets, GEN_INSTRUMENT, len(instruments))
    _check_targets(instruments, GEN_SAMPLE, len(samples))
    return SoundFont(
        tuple((name, bytes(body)) for name, body in lists[b"INFO"]), presets, instruments, samples
    )


def _check_targets(groups: Sequence[Preset | Instrument], operator: int, count: int) -> None:
    for group in groups:
        for zone in group.zones:
            if (target := zone.target(operator)) is not None and target >= count:
                raise FormatError(f"{group.name!r} names record {target} of {count}")


def text(name: bytes) -> bytes:
    return name.split(b"\0", 1)[0]


def _sample(row: tuple[Any, ...], points: memoryview) -> Sample:
    name, start, end, loop_start, loop_end, rate, key, cents, link, kind = row
    if kind & 0x8000:
        raise FormatError(f"sample {text(name)!r} lies in ROM")
    if not start <= loop_start <= loop_end <= end <= len(points) // 2:
        raise FormatError(f"sample {text(name)!r} reaches outside the sample data")
    loop = (loop_start - start, loop_end - start)
    return Sample(text(name), bytes(points[2 * start : 2 * end]), loop, rate, key, cents, link, kind)
