"""The vocabulary: what each token id means, and a hash that travels with every checkpoint and bundle.

Performance encoding after Oore et al., "This Time with Feeling" (2018) and Music Transformer (Huang et
al., 2018): note-on, note-off, time-shift and velocity tokens on a 10 ms grid; here with two parts and
a pedal. Ids are laid out once and never reordered without a new `VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from enum import IntEnum

VERSION = 1

TICK_SECONDS = 0.01
MAX_SHIFT = 100
VELOCITY_BINS = 32

PAD, BOS, EOS = 0, 1, 2
PART_BASE = 3  # player, partner
PEDAL_BASE = 5  # up, down
NOTE_ON_BASE = 7
NOTE_OFF_BASE = NOTE_ON_BASE + 128
SHIFT_BASE = NOTE_OFF_BASE + 128  # 1 tick to MAX_SHIFT ticks
VELOCITY_BASE = SHIFT_BASE + MAX_SHIFT
SIZE = VELOCITY_BASE + VELOCITY_BINS


class Kind(IntEnum):
    """What a token does."""

    SPECIAL = 0
    PART = 1
    PEDAL = 2
    NOTE_ON = 3
    NOTE_OFF = 4
    SHIFT = 5
    VELOCITY = 6


_BASES = (
    (VELOCITY_BASE, Kind.VELOCITY),
    (SHIFT_BASE, Kind.SHIFT),
    (NOTE_OFF_BASE, Kind.NOTE_OFF),
    (NOTE_ON_BASE, Kind.NOTE_ON),
    (PEDAL_BASE, Kind.PEDAL),
    (PART_BASE, Kind.PART),
)


def kind(token: int) -> tuple[Kind, int]:
    """The kind of `token` and its value: a pitch, ticks - 1 of a shift, a bin, 0 or 1, or the id."""
    if not 0 <= token < SIZE:
        raise ValueError(f"token {token} is not in the vocabulary of {SIZE}")
    for base, what in _BASES:
        if token >= base:
            return what, token - base
    return Kind.SPECIAL, token


def velocity_bin(velocity: int) -> int:
    """The bin 0..31 of a MIDI velocity 1..127."""
    return velocity * VELOCITY_BINS // 128


def bin_velocity(index: int) -> int:
    """The MIDI velocity at the centre of bin 0..31; `velocity_bin` maps it back to the same bin."""
    return index * 4 + 2


def name(token: int) -> str:
    """A readable name, for messages and for the hash."""
    what, value = kind(token)
    if what is Kind.SPECIAL:
        return ("pad", "bos", "eos")[value]
    if what is Kind.SHIFT:
        return f"shift:{value + 1}"
    return f"{what.name.lower()}:{value}"


def fingerprint() -> str:
    """SHA-256 over version, grid and the meaning of every id, as 16 hex digits."""
    table = [VERSION, TICK_SECONDS, [bin_velocity(b) for b in range(VELOCITY_BINS)]]
    text = json.dumps([table, [name(token) for token in range(SIZE)]], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
