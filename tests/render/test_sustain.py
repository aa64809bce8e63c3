"""How long strings sound."""

from __future__ import annotations

import pytest

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.render.sustain import pedal_spans, sounding_notes

ME = Part.PARTNER


def ends(notes: list[tuple[float, float, int]], pedals: list[tuple[float, bool]]) -> list[float]:
    clip = Clip(tuple(Note(a, b, p, 80, ME) for a, b, p in notes), tuple(Pedal(t, d, ME) for t, d in pedals))
    return [note.end for note in sounding_notes(clip, until=10)]


@pytest.mark.parametrize(
    ("pedals", "end"),
    [
        ([], 1),
        ([(0.5, True), (2, False)], 2),
        ([(0, True), (1, False)], 1),  # up as the key comes up
        ([(1, True), (2, False)], 1),  # down as the key comes up: too late
        ([(1.5, True), (2, False)], 1),
        ([(0.5, True)], 10),  # never released
        ([(0, True), (0.5, False), (0.7, True), (3, False)], 3),
        ([(0.5, True), (0.6, True), (2, False), (3, False)], 2),
        ([(0.2, False), (0.5, True), (4, False)], 4),
    ],
)
def test_the_pedal_decides_when_a_note_ends(pedals: list[tuple[float, bool]], end: float) -> None:
    assert ends([(0, 1, 60)], pedals) == [end]


def test_a_string_struck_again_stops_its_earlier_sound() -> None:
    assert ends([(0, 1, 60), (2, 3, 60)], [(0.5, True), (5, False)]) == [2, 5]
    assert ends([(0, 4, 60), (2, 3, 60)], []) == [2, 3]


def test_notes_without_length_are_left_out() -> None:
    assert ends([(0, 0, 60), (1, 2, 62)], [(0, True), (5, False)]) == [5]


def test_parts_have_pedals_and_strings_of_their_own() -> None:
    clip = Clip(
        (Note(0, 1, 60, 80, Part.PLAYER), Note(0.5, 1, 60, 80, ME)), (Pedal(0, True, ME), Pedal(3, False, ME))
    )
    assert {note.part: note.end for note in sounding_notes(clip, 10)} == {Part.PLAYER: 1, ME: 3}
    assert pedal_spans(clip, ME) == [(0, 3)]
    assert pedal_spans(clip, Part.PLAYER) == []
