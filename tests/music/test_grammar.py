"""What is drawn under the grammar's mask is valid by construction, whatever the limits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music_strategies import clips

from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.events import Event, NoteOn, Part, Pedal
from plugin_bridge.music.grammar import (
    Grammar,
    Limit,
    NoEnd,
    NotBefore,
    OnlyPart,
    PitchRange,
    Polyphony,
    StartBy,
    UsefulPedal,
)
from plugin_bridge.music.tokens import Decoder, Encoder, encode, rows_from_events
from plugin_bridge.music.vocabulary import Kind

PLAYER, PARTNER, ON, OFF = v.PART_BASE, v.PART_BASE + 1, v.NOTE_ON_BASE, v.NOTE_OFF_BASE
LOUD = v.VELOCITY_BASE + 20


@st.composite
def pitch_ranges(draw: st.DrawFn) -> PitchRange:
    low = draw(st.integers(0, 127))
    return PitchRange(low, draw(st.integers(low, min(low + 3, 127)) | st.integers(low, 127)))


ANY_LIMIT = st.one_of(
    st.builds(OnlyPart, st.sampled_from(Part)),
    pitch_ranges(),
    st.builds(Polyphony, st.integers(0, 5)),
    st.builds(NotBefore, st.integers(0, 500)),
    st.builds(StartBy, st.sampled_from(Part), st.integers(0, 300)),
    st.just(NoEnd()),
)
LIMITS = st.lists(ANY_LIMIT, max_size=7)


def after(*tokens: int) -> Grammar:
    grammar = Grammar()
    for token in tokens:
        grammar.push(token)
    return grammar


def allowed(grammar: Grammar, *limits: Limit) -> set[int]:
    return set(np.flatnonzero(grammar.mask(limits)).tolist())


def kinds(tokens: set[int]) -> set[Kind]:
    return {v.kind(token)[0] for token in tokens}


def walk(
    grammar: Grammar, decoder: Decoder, limits: Sequence[Limit], steps: int, dice: random.Random
) -> list[Event]:
    """Draw tokens under the mask: first a kind, then one of that kind, so that rare kinds come too."""
    events = []
    for _ in range(steps):
        options = sorted(allowed(grammar, *limits))
        assert options, "nothing is allowed"
        kind = dice.choice(sorted({v.kind(token)[0] for token in options}))
        token = dice.choice([token for token in options if v.kind(token)[0] is kind])
        grammar.push(token)
        event = decoder.push(token)
        if event is not None:
            events.append(event)
        if token == v.EOS:
            break
    return events


@given(LIMITS, st.integers(0, 2**32), st.integers(1, 250))
def test_random_walks_write_nothing_invalid(limits: list[Limit], seed: int, steps: int) -> None:
    grammar, decoder = Grammar(), Decoder()
    events = walk(grammar, decoder, limits, steps, random.Random(seed))
    assert decoder.invalid == 0
    assert decoder.held == {(Part(part), int(pitch)) for part, pitch in np.argwhere(grammar.held)}
    for event in events:
        for limit in limits:
            if isinstance(limit, OnlyPart):
                assert event.part is limit.part
            elif isinstance(limit, NotBefore):
                assert event.time >= limit.tick * v.TICK_SECONDS
            elif isinstance(limit, PitchRange) and isinstance(event, NoteOn):
                assert limit.low <= event.pitch <= limit.high


@given(st.integers(0, 5), st.integers(0, 2**32))
def test_polyphony_is_never_exceeded(notes: int, seed: int) -> None:
    grammar, decoder, dice = Grammar(), Decoder(), random.Random(seed)
    for _ in range(120):
        walk(grammar, decoder, [Polyphony(notes), NoEnd()], 1, dice)
        assert all(grammar.polyphony(part) <= notes for part in Part)


@given(clips(), LIMITS, st.integers(0, 2**32))
def test_the_model_may_go_on_from_wherever_a_player_stopped(
    clip: Clip, limits: list[Limit], seed: int
) -> None:
    """The player's events are followed without a mask; then the model plays under limits."""
    grammar, decoder, encoder = Grammar(), Decoder(), Encoder()
    events = clip.events()
    dice = random.Random(seed)
    for event in events[: dice.randint(0, len(events))]:
        for token in encoder.push(event):
            grammar.push(token)
            decoder.push(token)
    walk(grammar, decoder, limits, 60, dice)
    assert decoder.invalid == 0


@given(st.lists(st.integers(0, v.SIZE - 1), max_size=150), LIMITS)
def test_the_mask_is_never_empty_whatever_was_pushed(tokens: list[int], limits: list[Limit]) -> None:
    grammar = Grammar()
    assert grammar.mask(limits).any()
    for token in tokens:
        grammar.push(token)
        assert grammar.mask(limits).any()


@given(clips())
def test_what_musicians_play_passes_the_mask(clip: Clip) -> None:
    """Every token of an encoded performance is allowed where it stands: training data and generation
    speak one language."""
    pedals = [Pedal(index * 0.7, index % 2 == 0, Part.PLAYER) for index in range(len(clip.pedals))]
    grammar = Grammar()
    for token in encode(rows_from_events(replace(clip, pedals=tuple(pedals)).events())).tolist():
        assert grammar.mask()[token], v.name(token)
        grammar.push(token)


@given(st.lists(st.integers(0, v.SIZE - 1), max_size=60), LIMITS)
def test_limits_only_ever_forbid_except_that_time_may_pass(tokens: list[int], limits: list[Limit]) -> None:
    grammar = after(*tokens)
    extra = allowed(grammar, *limits) - allowed(grammar)
    assert kinds(extra) <= {Kind.SHIFT}


def test_a_velocity_is_followed_by_a_note_and_by_nothing_else() -> None:
    grammar = after(PARTNER, LOUD)
    assert kinds(allowed(grammar)) == {Kind.NOTE_ON}
    grammar.push(ON + 60)
    assert Kind.NOTE_ON in kinds(allowed(grammar))
    assert ON + 60 not in allowed(grammar)


def test_no_note_without_a_velocity_for_its_part() -> None:
    grammar = after(PARTNER)
    assert Kind.NOTE_ON not in kinds(allowed(grammar))
    grammar = after(PARTNER, LOUD, ON + 60, PLAYER)
    assert Kind.NOTE_ON not in kinds(allowed(grammar))


def test_a_velocity_is_not_said_again_while_it_holds() -> None:
    assert LOUD not in allowed(after(PARTNER, LOUD, ON + 60))


def test_only_sounding_notes_end_and_not_in_the_instant_they_began() -> None:
    grammar = after(PARTNER, LOUD, ON + 60)
    assert Kind.NOTE_OFF not in kinds(allowed(grammar))
    grammar.push(v.SHIFT_BASE)
    assert allowed(grammar) & set(range(OFF, v.SHIFT_BASE)) == {OFF + 60}
    grammar.push(OFF + 60)
    assert Kind.NOTE_OFF not in kinds(allowed(grammar))


def test_a_part_is_followed_by_an_event_of_it() -> None:
    assert kinds(allowed(after(PARTNER))) == {Kind.PEDAL, Kind.VELOCITY}


def test_a_pedal_only_changes() -> None:
    up, down = v.PEDAL_BASE, v.PEDAL_BASE + 1
    assert allowed(after(PARTNER)) & {up, down} == {down}
    assert allowed(after(PARTNER, down)) & {up, down} == {up}


def test_short_time_shifts_do_not_follow_each_other_and_full_ones_do() -> None:
    assert Kind.SHIFT not in kinds(allowed(after(v.SHIFT_BASE + 10)))
    assert Kind.SHIFT in kinds(allowed(after(v.SHIFT_BASE + v.MAX_SHIFT - 1)))


def test_a_velocity_promises_a_note_within_all_ranges_together() -> None:
    """Each range has a free note, but none is in both: no velocity may be said."""
    grammar = after(PARTNER, LOUD, ON + 64)
    options = allowed(grammar, PitchRange(60, 64), PitchRange(64, 70))
    assert not kinds(options) & {Kind.VELOCITY, Kind.NOTE_ON}
    assert kinds(options) >= {Kind.SHIFT, Kind.PEDAL}


def test_a_velocity_promises_a_note_in_a_full_range() -> None:
    grammar = after(PARTNER, LOUD, ON + 60, ON + 61)
    assert Kind.VELOCITY not in kinds(allowed(grammar, PitchRange(60, 61)))
    assert Kind.VELOCITY in kinds(allowed(grammar, PitchRange(60, 62)))


def test_a_range_that_narrows_after_a_velocity_lets_time_pass() -> None:
    grammar = after(PARTNER, LOUD, ON + 60, v.VELOCITY_BASE + 3)
    assert kinds(allowed(grammar, PitchRange(60, 60))) == {Kind.SHIFT}


def test_all_notes_of_a_keyboard_held_leave_their_ends() -> None:
    grammar = after(PARTNER, LOUD, *range(ON, OFF), v.SHIFT_BASE)
    options = kinds(allowed(grammar, NoEnd(), OnlyPart(Part.PARTNER)))
    assert options == {Kind.NOTE_OFF, Kind.PEDAL}


def test_not_before_leads_to_its_tick_in_steps_that_do_not_stop_short() -> None:
    assert allowed(Grammar(), NotBefore(30)) == set(range(v.SHIFT_BASE + 29, v.VELOCITY_BASE))
    assert allowed(Grammar(), NotBefore(250)) == {v.VELOCITY_BASE - 1}
    assert Kind.PART in kinds(allowed(after(v.SHIFT_BASE + 29), NotBefore(30)))


def test_the_piece_ends_only_where_it_may() -> None:
    assert v.EOS in allowed(Grammar())
    assert v.EOS not in allowed(Grammar(), NoEnd())


def test_the_other_part_is_not_the_models_to_write() -> None:
    options = allowed(after(PLAYER, LOUD, ON + 60, v.SHIFT_BASE), OnlyPart(Part.PARTNER), NoEnd())
    assert options == {PARTNER}


@pytest.mark.parametrize(("low", "high"), [(-1, 60), (60, 128), (70, 60)])
def test_a_range_that_is_none_is_refused(low: int, high: int) -> None:
    with pytest.raises(BridgeError, match="pitch range"):
        PitchRange(low, high)


def test_a_copy_goes_its_own_way() -> None:
    grammar = after(PARTNER, LOUD, ON + 60)
    before = grammar.mask()
    copy = grammar.copy()
    np.testing.assert_array_equal(copy.mask(), before)
    for token in (v.SHIFT_BASE + 4, OFF + 60, v.PEDAL_BASE + 1, PLAYER, LOUD):
        copy.push(token)
    np.testing.assert_array_equal(grammar.mask(), before)


def test_the_mask_is_written_where_asked() -> None:
    out = np.full(v.SIZE, 9, np.uint8)
    assert Grammar().mask(out=out) is out
    assert set(out.tolist()) == {0, 1}


def test_the_pedal_goes_down_again_only_after_a_note() -> None:
    grammar = Grammar()
    down, up = v.PEDAL_BASE + 1, v.PEDAL_BASE
    note = (v.VELOCITY_BASE + 9, v.NOTE_ON_BASE + 60)

    def may_press() -> bool:
        return bool(grammar.mask([UsefulPedal()])[down])

    grammar.push(v.PART_BASE + 1)
    assert may_press(), "before the first note, as pianists do"
    for token in (down, v.SHIFT_BASE + 20, up):
        grammar.push(token)
    assert not may_press()
    for token in (v.SHIFT_BASE + 20, *note, v.SHIFT_BASE + 3):
        grammar.push(token)
    assert may_press()
    grammar.push(down)
    grammar.push(v.SHIFT_BASE + 5)
    grammar.push(up)
    assert not may_press()
