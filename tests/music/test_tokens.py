"""Events to tokens and back lose only the 10 ms grid and the 32 velocity steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music_strategies import clips

from plugin_bridge.music import tokens as codec
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.vocabulary import Kind


def names(tokens: object) -> list[str]:
    return [v.name(int(token)) for token in np.asarray(tokens)]


def on_the_grid(event: Event) -> Event:
    """What the codec keeps of an event: the nearest tick, the centre of the velocity bin."""
    event = replace(event, time=codec.tick_of(event.time) * v.TICK_SECONDS)
    if isinstance(event, NoteOn):
        event = replace(event, velocity=v.bin_velocity(v.velocity_bin(event.velocity)))
    return event


@given(clips(on_grid=False))
def test_only_grid_and_velocity_steps_are_lost(clip: Clip) -> None:
    events = clip.events()
    rows = codec.rows_from_events(events)
    decoded = codec.decode(codec.encode(rows))
    np.testing.assert_array_equal(decoded, rows)
    back = codec.events_from_rows(decoded)
    assert back == [on_the_grid(event) for event in events]
    assert all(abs(a.time - b.time) <= v.TICK_SECONDS / 2 + 1e-9 for a, b in zip(back, events, strict=True))


@given(clips(on_grid=False))
def test_the_incremental_encoder_equals_the_array_codec(clip: Clip) -> None:
    events = clip.events()
    encoder = codec.Encoder()
    one_by_one = [token for event in events for token in encoder.push(event)]
    assert one_by_one == codec.encode(codec.rows_from_events(events)).tolist()


@given(clips())
def test_the_incremental_decoder_equals_the_array_codec(clip: Clip) -> None:
    tokens = codec.encode(codec.rows_from_events(clip.events()))
    decoder = codec.Decoder()
    one_by_one = [event for token in tokens.tolist() if (event := decoder.push(token)) is not None]
    assert one_by_one == codec.events_from_rows(codec.decode(tokens))
    assert decoder.invalid == 0
    assert decoder.held == set()


@given(st.lists(st.integers(0, v.SIZE - 1), max_size=80))
def test_the_decoder_takes_anything_and_plays_each_key_once_at_a_time(tokens: list[int]) -> None:
    decoder, held, last = codec.Decoder(), set(), 0.0
    for token in tokens:
        event = decoder.push(token)
        if event is None:
            continue
        assert event.time >= last
        last = event.time
        if isinstance(event, NoteOn):
            assert (event.part, event.pitch) not in held
            held.add((event.part, event.pitch))
        elif isinstance(event, NoteOff):
            held.remove((event.part, event.pitch))
    assert decoder.held == held


@given(st.lists(st.integers(0, v.SIZE - 1), max_size=80))
def test_arrays_of_any_tokens_decode_to_rows_that_encode_again(tokens: list[int]) -> None:
    rows = codec.decode(np.array(tokens, np.uint16))
    np.testing.assert_array_equal(codec.decode(codec.encode(rows)), rows)


@given(clips(), st.integers(0, 200))
def test_an_encoder_that_follows_tokens_goes_on_like_the_one_that_wrote_them(clip: Clip, cut: int) -> None:
    events = clip.events()
    cut = min(cut, len(events))
    writer, follower = codec.Encoder(), codec.Encoder()
    for event in events[:cut]:
        for token in writer.push(event):
            follower.follow(token)
    assert follower == writer
    copied = writer.copy()
    rest = [copied.push(event) for event in events[cut:]]
    assert rest == [follower.push(event) for event in events[cut:]]
    assert copied is not writer


def test_a_long_silence_is_full_shifts_and_a_rest() -> None:
    tokens = codec.encode(codec.rows_from_events([Pedal(0.0, True), Pedal(3.25, False)]))
    assert names(tokens) == [
        "part:0", "pedal:1", "shift:100", "shift:100", "shift:100", "shift:25", "pedal:0",
    ]  # fmt: skip


def test_an_hour_of_silence_survives() -> None:
    events = [NoteOn(3600.0, 60, 62), NoteOff(7200.55, 60)]
    tokens = codec.encode(codec.rows_from_events(events))
    assert codec.events_from_rows(codec.decode(tokens)) == events
    assert codec.ticks(tokens)[-1] == 720_055


def test_parts_and_velocities_are_said_only_when_they_change() -> None:
    events = [
        NoteOn(0.0, 60, 62, Part.PLAYER),
        NoteOn(0.0, 40, 62, Part.PARTNER),
        NoteOn(0.0, 43, 62, Part.PARTNER),
        NoteOff(0.5, 60, Part.PLAYER),
        NoteOn(0.5, 62, 63, Part.PLAYER),
        NoteOn(0.5, 64, 100, Part.PLAYER),
    ]
    assert names(codec.encode(codec.rows_from_events(events))) == [
        "part:0", "velocity:15", "note_on:60",
        "part:1", "velocity:15", "note_on:40", "note_on:43",
        "shift:50", "part:0", "note_off:60", "note_on:62", "velocity:25", "note_on:64",
    ]  # fmt: skip


@given(clips())
def test_scores_without_touch_carry_no_velocities(clip: Clip) -> None:
    rows = codec.rows_from_events(clip.events())
    tokens = codec.encode(rows, velocities=False)
    assert not (tokens >= v.VELOCITY_BASE).any()
    decoded = codec.decode(tokens)
    for field in ("tick", "kind", "value", "part"):
        np.testing.assert_array_equal(decoded[field], rows[field])


def test_rows_that_go_back_in_time_are_refused() -> None:
    rows = codec.rows_from_events([Pedal(1.0, True), Pedal(0.5, False)])
    with pytest.raises(ValueError, match="time order"):
        codec.encode(rows)


def test_nothing_encodes_to_nothing() -> None:
    assert codec.encode(codec.rows_from_events([])).tolist() == []
    assert len(codec.decode(np.zeros(0, np.uint16))) == 0


def test_a_late_event_of_a_live_input_is_written_now() -> None:
    encoder = codec.Encoder()
    encoder.push(NoteOn(1.0, 60, 62))
    assert names(encoder.push(NoteOff(0.98, 60))) == ["note_off:60"]
    assert encoder.tick == 100


def test_what_makes_no_sense_is_counted() -> None:
    decoder = codec.Decoder()
    on, off = v.NOTE_ON_BASE + 60, v.NOTE_OFF_BASE + 60
    assert decoder.push(off) is None
    assert decoder.invalid == 1
    assert decoder.push(on) is not None
    assert decoder.push(on) is None
    assert decoder.invalid == 2
    decoder.push(v.VELOCITY_BASE + 3)
    decoder.push(v.SHIFT_BASE)
    assert decoder.invalid == 3


@pytest.mark.parametrize("kind", [Kind.NOTE_ON, Kind.NOTE_OFF, Kind.PEDAL])
def test_rows_hold_every_kind_of_event(kind: Kind) -> None:
    events = Clip((Note(0.0, 1.0, 127, 126),), (Pedal(0.5, True), Pedal(0.7, False))).events()
    assert kind in codec.rows_from_events(events)["kind"]
