import math

import pytest

from plugin_bridge.duet.plan_queue import ORPHAN_SECONDS, PlanQueue
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Pedal


def begun(*events: Event, latest: float = 0.08) -> PlanQueue:
    queue = PlanQueue(latest)
    assert queue.begin(0, 0.0)
    assert queue.plan(0, events)
    return queue


def played(queue: PlanQueue, until: float) -> list[Event]:
    """Everything up to `until`, each event taken exactly when it is due."""
    events = []
    while (due := queue.next_due) is not None and due <= until:
        event = queue.pop(due)
        if event is not None:
            events.append(event)
    return events


def test_simultaneous_events_come_offs_first_then_pedal_then_ons() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOn(1.0, 64, 80), Pedal(1.0, True), NoteOff(1.0, 60))
    assert played(queue, 1.0) == [
        NoteOn(0.0, 60, 80),
        NoteOff(1.0, 60),
        Pedal(1.0, True),
        NoteOn(1.0, 64, 80),
    ]


def test_a_note_of_no_length_is_not_left_hanging() -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(1.0, 60))
    assert played(queue, 2.0) == [NoteOn(1.0, 60, 80), NoteOff(1.0, 60)]


def test_an_end_before_its_beginning_becomes_a_note_of_no_length() -> None:
    queue = begun(NoteOn(1.0, 60, 80))
    queue.plan(0, [NoteOff(0.5, 60)])
    assert played(queue, 2.0) == [NoteOn(1.0, 60, 80), NoteOff(1.0, 60)]


def test_a_repeated_note_off_ends_no_later_note_of_its_key() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(1.0, 60), NoteOff(1.5, 60))
    queue.plan(0, [NoteOn(1.6, 60, 70), NoteOff(3.0, 60)])
    assert played(queue, 9.0)[2:] == [NoteOn(1.6, 60, 70), NoteOff(3.0, 60)]


@pytest.mark.parametrize("new_end", [1.5, 4.0])
def test_after_a_cut_the_next_planned_end_replaces_the_old_one(new_end: float) -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(3.0, 60))
    assert played(queue, 0.5) == [NoteOn(0.0, 60, 80)]
    queue.cancel_after(1.0)
    queue.plan(0, [NoteOff(new_end, 60)])
    assert played(queue, 9.0) == [NoteOff(new_end, 60)]


def test_after_a_cut_an_old_end_does_not_shorten_a_new_note_of_the_same_key() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(3.0, 60))
    played(queue, 0.5)
    queue.cancel_after(1.0)
    queue.plan(0, [NoteOff(1.0, 60), NoteOn(2.0, 60, 70), NoteOff(4.0, 60)])
    assert played(queue, 9.0) == [NoteOff(1.0, 60), NoteOn(2.0, 60, 70), NoteOff(4.0, 60)]


def test_without_a_new_end_the_old_one_stands() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(3.0, 60), NoteOn(3.0, 60, 70), NoteOff(4.0, 60))
    played(queue, 0.5)
    queue.cancel_after(1.0)
    assert played(queue, 9.0) == [NoteOff(3.0, 60)]


def test_a_cut_leaves_notes_that_are_to_begin_before_it_whole() -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(3.0, 60), NoteOn(2.0, 64, 80), NoteOff(2.5, 64))
    queue.cancel_after(2.0)
    assert played(queue, 9.0) == [NoteOn(1.0, 60, 80), NoteOff(3.0, 60)]


def test_after_a_cut_a_note_that_is_still_to_begin_may_get_a_new_end() -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(3.0, 60))
    queue.cancel_after(2.0)
    queue.plan(0, [NoteOff(5.0, 60)])
    assert played(queue, 9.0) == [NoteOn(1.0, 60, 80), NoteOff(5.0, 60)]


def test_a_note_that_a_cancelled_stroke_would_have_ended_still_ends_then() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOn(2.0, 60, 70), NoteOff(3.0, 60))
    played(queue, 0.5)
    queue.cancel_after(1.0)
    assert played(queue, 9.0) == [NoteOff(2.0, 60)]


def test_a_cut_keeps_the_end_of_a_pedal_that_is_down_and_cancels_later_ones() -> None:
    queue = begun(Pedal(0.0, True), Pedal(2.0, False), Pedal(2.5, True), Pedal(3.0, False))
    played(queue, 0.5)
    queue.cancel_after(1.0)
    assert played(queue, 9.0) == [Pedal(2.0, False)]


def test_release_ends_what_began_before_and_leaves_what_comes_after() -> None:
    queue = begun(NoteOn(0.0, 60, 80), Pedal(0.2, True), NoteOn(0.5, 62, 80), NoteOn(2.0, 64, 80))
    played(queue, 0.3)
    queue.release(1.0)
    assert played(queue, 9.0) == [
        NoteOn(0.5, 62, 80),
        NoteOff(1.0, 60),
        NoteOff(1.0, 62),
        Pedal(1.0, False),
        NoteOn(2.0, 64, 80),
    ]


def test_release_does_not_lengthen_a_note() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(1.0, 60))
    played(queue, 0.5)
    queue.release(5.0)
    assert played(queue, 9.0) == [NoteOff(1.0, 60)]


def test_a_note_whose_generation_ends_before_its_end_was_planned_does_not_hang() -> None:
    queue = begun(NoteOn(0.0, 60, 80))
    played(queue, 0.5)
    assert queue.begin(1, 0.5)
    assert played(queue, 9.0) == [NoteOff(0.5 + ORPHAN_SECONDS, 60)]


def test_a_newer_generation_may_end_an_older_ones_notes() -> None:
    queue = begun(NoteOn(0.0, 60, 80))
    played(queue, 0.5)
    queue.begin(1, 0.5)
    queue.plan(1, [NoteOff(8.0, 60)])
    assert played(queue, 9.0) == [NoteOff(8.0, 60)]


def test_what_is_thrown_away_is_not_waited_for() -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(2.0, 60))
    assert (queue.next_due, len(queue)) == (1.0, 2)
    queue.cancel_after(0.5)
    assert (queue.next_due, len(queue)) == (None, 0)


@pytest.mark.parametrize("late, kept", [(0.079, True), (0.081, False)])
def test_latest_is_where_a_note_on_becomes_too_late(late: float, kept: bool) -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(2.0, 60))
    assert (queue.pop(1.0 + late) is not None) is kept
    assert queue.dropped == (not kept)


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_refused_and_nothing_is_planned(time: float) -> None:
    queue = PlanQueue()
    queue.begin(0, 0.0)
    with pytest.raises(ValueError, match="no usable time"):
        queue.plan(0, [NoteOn(0.0, 60, 80), NoteOn(time, 61, 80)])
    assert len(queue) == 0


def test_a_generation_that_was_not_begun_is_a_mistake_and_an_old_one_is_refused() -> None:
    queue = PlanQueue()
    with pytest.raises(ValueError, match="was not begun"):
        queue.plan(0, [])
    assert queue.begin(3, 0.0)
    assert queue.begin(3, 0.0)
    assert not queue.begin(2, 0.0)
    assert not queue.plan(2, [NoteOn(0.0, 60, 80)])
    queue.clear()
    assert not queue.begin(3, 0.0)
    assert not queue.plan(3, [NoteOn(0.0, 60, 80)])


def test_latest_must_be_a_duration() -> None:
    with pytest.raises(ValueError, match="latest"):
        PlanQueue(math.nan)


def test_what_is_planned_moves_along_with_the_beat() -> None:
    queue = begun(NoteOn(0.0, 60, 80), NoteOff(2.0, 60), NoteOn(2.0, 64, 80), Pedal(2.5, True))
    played(queue, 1.0)
    queue.plan(0, [NoteOff(3.0, 64), Pedal(3.0, False)])
    queue.retime(lambda time: time + 0.01)
    assert played(queue, 9.0) == [
        NoteOff(2.01, 60), NoteOn(2.01, 64, 80), Pedal(2.51, True), NoteOff(3.01, 64), Pedal(3.01, False),
    ]  # fmt: skip


def test_a_note_that_the_beat_leaves_no_length_begins_before_it_ends() -> None:
    queue = begun(NoteOn(0.5, 60, 80), NoteOff(1.0, 60), NoteOn(1.0, 60, 70), NoteOff(1.5, 60))
    queue.retime(lambda time: 3.0)
    messages = played(queue, 9.0)
    assert sum(isinstance(each, NoteOn) for each in messages) == 2
    assert isinstance(messages[0], NoteOn)
    assert isinstance(messages[-1], NoteOff)
    assert len(queue) == 0


def test_after_the_beat_has_moved_the_next_cut_falls_where_the_notes_are_now() -> None:
    queue = begun(NoteOn(1.0, 60, 80), NoteOff(1.2, 60), NoteOn(2.0, 64, 80), NoteOff(2.2, 64))
    queue.retime(lambda time: time + 0.5)
    queue.cancel_after(2.4)
    assert played(queue, 9.0) == [NoteOn(1.5, 60, 80), NoteOff(1.7, 60)]
