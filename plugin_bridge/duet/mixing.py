"""Which of the partner's own notes the model gets to hear: pure policies, one decision a note.

The stream holds both parts, and a model that hears itself too much follows itself instead of the player.
So the partner's notes can enter it as played, only in part, only where they are consonant with the
player's, or softer than the player.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from plugin_bridge.music.events import NoteOn

CONSONANT = frozenset({0, 3, 4, 5, 7, 8, 9})
"""Pitch-class intervals in semitones: unison, thirds, fourth, fifth, sixths (Tenney, "A History of
'Consonance' and 'Dissonance'", 1988, the fourth counted in as in harmony of several parts)."""


class Mixing(Enum):
    """How the partner's notes enter what the model hears."""

    AS_PLAYED = "as_played"
    INTERLEAVE = "interleave"
    HARMONIC = "harmonic"
    VELOCITY = "velocity"


ADMITS_ALL = frozenset({Mixing.AS_PLAYED, Mixing.VELOCITY})
"""Those that keep no note out."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a note enters the stream."""

    admitted: bool
    debt: float = 0.0


def admit(
    note: NoteOn, mixing: Mixing, share: float, player_holds: Iterable[int], debt: float = 0.0
) -> Admission:
    """Whether `note` enters. `debt` is what earlier calls left over: with it, of any n notes that are
    interleaved `share` * n enter, give or take one. `player_holds`: pitches that the player holds."""
    match mixing:
        case Mixing.INTERLEAVE:
            owed = debt + share
            return Admission(owed >= 1.0 - 1e-9, owed - (owed >= 1.0 - 1e-9))
        case Mixing.HARMONIC:
            return Admission(all((note.pitch - pitch) % 12 in CONSONANT for pitch in player_holds), debt)
        case _:
            return Admission(True, debt)


def loudest_heard(mixing: Mixing, share: float, player_velocity: float | None) -> int | None:
    """The velocity (1 to 127) that the partner's notes enter with at most: `share` of the player's mean;
    None where they enter as they are."""
    if mixing is not Mixing.VELOCITY or player_velocity is None:
        return None
    return max(1, min(127, round(share * player_velocity)))
