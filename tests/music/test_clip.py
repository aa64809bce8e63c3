"""Clips: notes of both parts as values, cut, moved, and turned into events and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from music_strategies import clips

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import Chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note, clip_from_events
from plugin_bridge.music.events import NoteOff, NoteOn, Part, Pedal, canonical_key, close_all

C, G = Chord("C"), Chord("G", "7")


def test_a_note_does_not_end_before_it_starts() -> None:
    with pytest.raises(BridgeError, match="ends"):
        Note(1.0, 0.5, 60, 64)
    with pytest.raises(BridgeError, match="ends"):
        Note(0.0, float("nan"), 60, 64)


@pytest.mark.parametrize("pitch", [-1, 128])
def test_pitches_are_midi_note_numbers(pitch: int) -> None:
    with pytest.raises(BridgeError, match="pitch"):
        NoteOn(0.0, pitch, 64)
    with pytest.raises(BridgeError, match="pitch"):
        NoteOff(0.0, pitch)


@pytest.mark.parametrize("velocity", [0, 128])
def test_velocity_zero_is_no_note_on(velocity: int) -> None:
    with pytest.raises(BridgeError, match="velocity"):
        NoteOn(0.0, 60, velocity)


@given(clips())
def test_events_are_ordered_and_every_note_on_has_its_note_off(clip: Clip) -> None:
    events = clip.events()
    assert events == sorted(events, key=canonical_key)
    held = set()
    for event in events:
        match event:
            case NoteOn():
                assert (event.part, event.pitch) not in held
                held.add((event.part, event.pitch))
            case NoteOff():
                held.remove((event.part, event.pitch))
    assert held == set()


@given(clips())
def test_a_clip_of_its_events_has_the_same_events(clip: Clip) -> None:
    events = clip.events()
    again = clip_from_events(events)
    assert again.events() == events
    assert again.pedals == tuple(event for event in events if isinstance(event, Pedal))
    assert len(again.notes) == sum(isinstance(event, NoteOn) for event in events)


@given(clips())
def test_both_parts_together_are_the_clip(clip: Clip) -> None:
    player, partner = clip.part(Part.PLAYER), clip.part(Part.PARTNER)
    assert sorted(player.notes + partner.notes) == list(clip.notes)
    assert {note.part for note in player.notes} <= {Part.PLAYER}
    assert len(player.pedals) + len(partner.pedals) == len(clip.pedals)
    assert {note.part for note in clip.with_part(Part.PLAYER).notes} <= {Part.PLAYER}


def test_a_restrike_ends_the_old_note_as_a_keyboard_does() -> None:
    clip = Clip((Note(0.0, 2.0, 60, 64), Note(1.0, 3.0, 60, 80)))
    assert clip.events() == [
        NoteOn(0.0, 60, 64, Part.PARTNER),
        NoteOff(1.0, 60, Part.PARTNER),
        NoteOn(1.0, 60, 80, Part.PARTNER),
        NoteOff(3.0, 60, Part.PARTNER),
    ]


def test_a_note_that_lies_within_another_ends_where_it_ends() -> None:
    clip = Clip((Note(0.0, 4.0, 60, 64), Note(1.0, 2.0, 60, 80)))
    assert [event.time for event in clip.events()] == [0.0, 1.0, 1.0, 2.0]


def test_the_same_key_of_the_two_parts_is_two_keys() -> None:
    clip = Clip((Note(0.0, 2.0, 60, 64, Part.PLAYER), Note(1.0, 3.0, 60, 80, Part.PARTNER)))
    assert clip_from_events(clip.events()).notes == clip.notes


def test_of_two_strikes_at_one_instant_one_sounds() -> None:
    clip = Clip((Note(0.0, 1.0, 60, 64), Note(0.0, 2.0, 60, 80)))
    assert clip.events() == [NoteOn(0.0, 60, 80, Part.PARTNER), NoteOff(2.0, 60, Part.PARTNER)]


def test_notes_of_no_length_are_no_events() -> None:
    assert Clip((Note(1.0, 1.0, 60, 64),)).events() == []


def test_simultaneous_events_end_before_they_begin() -> None:
    events = [
        NoteOn(1.0, 64, 64, Part.PARTNER),
        NoteOn(1.0, 72, 64, Part.PLAYER),
        NoteOn(1.0, 60, 64, Part.PLAYER),
        Pedal(1.0, True, Part.PLAYER),
        NoteOff(1.0, 60, Part.PARTNER),
    ]
    assert sorted(events, key=canonical_key) == [events[4], events[3], events[2], events[1], events[0]]


def test_notes_still_down_are_closed_at_the_end() -> None:
    events = [NoteOn(0.0, 60, 64), NoteOn(1.0, 64, 64)]
    assert {note.end for note in clip_from_events(events, end=4.0).notes} == {4.0}
    assert {note.end for note in clip_from_events(events).notes} == {1.0}
    assert {note.end for note in clip_from_events(events, end=0.5).notes} == {1.0}


def test_close_all_releases_notes_and_pedals_of_both_parts() -> None:
    events = [
        NoteOn(0.0, 60, 64, Part.PLAYER),
        NoteOn(0.0, 48, 64, Part.PARTNER),
        Pedal(0.0, True, Part.PLAYER),
        Pedal(0.1, True, Part.PARTNER),
        Pedal(0.2, False, Part.PLAYER),
        NoteOff(0.5, 60, Part.PLAYER),
    ]
    assert list(close_all(events, 2.0)) == [
        *events,
        NoteOff(2.0, 48, Part.PARTNER),
        Pedal(2.0, False, Part.PARTNER),
    ]


def example() -> Clip:
    return Clip(
        (Note(0.0, 1.0, 60, 64), Note(1.0, 5.0, 62, 64), Note(3.0, 4.0, 64, 64)),
        (Pedal(0.5, True), Pedal(2.5, False)),
        (ChordSpan(0.0, C), ChordSpan(2.0, G), ChordSpan(4.0, None)),
        tuple(Beat(i * 1.0, i % 4) for i in range(6)),
    )


def test_a_slice_begins_at_zero_with_the_chord_that_sounds_there() -> None:
    part = example().slice(1.0, 3.5)
    assert part.notes == (Note(0.0, 2.5, 62, 64), Note(2.0, 2.5, 64, 64))
    assert part.pedals == (Pedal(1.5, False),)
    assert part.chords == (ChordSpan(0.0, C), ChordSpan(1.0, G))
    assert [beat.number for beat in part.beats] == [1, 2, 3]
    assert part.beats[0].time == 0.0


def test_a_slice_of_everything_is_the_clip() -> None:
    assert example().slice(0.0, 100.0) == example()


def test_durations_count_pedals_too() -> None:
    assert example().duration == 5.0
    assert Clip(pedals=(Pedal(7.0, False),)).duration == 7.0
    assert Clip().duration == 0.0


@pytest.mark.parametrize(("time", "chord"), [(0.0, C), (1.99, C), (2.0, G), (9.0, None), (-1.0, None)])
def test_a_chord_sounds_until_the_next(time: float, chord: Chord | None) -> None:
    assert example().chord_at(time) == chord


@given(clips(), st.integers(-8, 8))
def test_moving_there_and_back_changes_nothing(clip: Clip, quarters: int) -> None:
    seconds = quarters * 0.25
    back = clip.shifted(seconds).shifted(-seconds)
    assert [note.pitch for note in back.notes] == [note.pitch for note in clip.notes]
    assert [note.start for note in back.notes] == pytest.approx([note.start for note in clip.notes])
    assert [pedal.time for pedal in back.pedals] == pytest.approx([pedal.time for pedal in clip.pedals])
