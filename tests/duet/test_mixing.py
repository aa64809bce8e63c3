"""Which of the partner's notes the model hears."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plugin_bridge.duet.mixing import Mixing, admit, loudest_heard
from plugin_bridge.music.events import NoteOn, Part


def note(pitch: int) -> NoteOn:
    return NoteOn(0.0, pitch, 80, Part.PARTNER)


@given(st.floats(0, 1), st.integers(1, 200))
def test_interleaved_just_the_share_enters(share: float, count: int) -> None:
    debt, entered = 0.0, 0
    for _ in range(count):
        admission = admit(note(60), Mixing.INTERLEAVE, share, [], debt)
        debt = admission.debt
        entered += admission.admitted
    assert abs(entered - share * count) <= 1


@pytest.mark.parametrize(
    ("pitch", "held", "enters"),
    [
        (64, [60], True),  # a third
        (67, [60, 64], True),  # a fifth and a minor third
        (61, [60], False),  # a semitone
        (66, [60], False),  # a tritone
        (71, [60], False),  # a major seventh
        (52, [60], True),  # a minor sixth below
        (61, [], True),  # against nothing
    ],
)
def test_harmonic_lets_in_what_is_consonant(pitch: int, held: list[int], enters: bool) -> None:
    assert admit(note(pitch), Mixing.HARMONIC, 0.0, held).admitted is enters


def test_as_played_and_by_velocity_everything_enters() -> None:
    for mixing in (Mixing.AS_PLAYED, Mixing.VELOCITY):
        assert admit(note(61), mixing, 0.0, [60]).admitted


def test_only_by_velocity_it_is_heard_softer_than_the_player() -> None:
    assert loudest_heard(Mixing.VELOCITY, 0.5, 80.0) == 40
    assert loudest_heard(Mixing.VELOCITY, 0.0, 80.0) == 1
    assert loudest_heard(Mixing.VELOCITY, 0.5, None) is None
    assert loudest_heard(Mixing.HARMONIC, 0.5, 80.0) is None
