"""The scheduler, judged by the bytes at its output: on a virtual clock, and with threads on the real one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plugin_bridge.duet.scheduler import Scheduler, Sent
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.ports.clock import now

PARTNER = Part.PARTNER
PEDAL_UP = bytes((0xB0, 64, 0))
ALL_NOTES_OFF = bytes((0xB0, 123, 0))
ALL_SOUND_OFF = bytes((0xB0, 120, 0))
PATIENCE = 20.0  # seconds that a threaded test waits for what must come


def on(pitch: int, velocity: int = 80) -> bytes:
    return bytes((0x90, pitch, velocity))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 64))


class Instrument:
    """What is plugged in at the other end: it keeps the messages and knows which keys are down."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.down: set[int] = set()
        self.pedal = False
        self.double_strokes = 0
        self.broken: Exception | None = None
        self.arrived = threading.Condition()

    def send(self, message: bytes) -> None:
        with self.arrived:
            if self.broken is not None:
                raise self.broken
            self.messages.append(message)
            status, first, second = message
            if status & 0xF0 == 0x90 and second > 0:
                self.double_strokes += first in self.down
                self.down.add(first)
            elif status & 0xF0 == 0x80:
                self.down.discard(first)
            elif first == 64:
                self.pedal = second >= 64
            self.arrived.notify_all()

    def wait_for(self, message: bytes) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: message in self.messages, PATIENCE), self.messages

    @property
    def silent(self) -> bool:
        return not self.down and not self.pedal


class Stage:
    """A scheduler without a thread, an instrument, and a clock that is moved by hand."""

    def __init__(self, channel: int = 0, latest: float = 0.08) -> None:
        self.time = 0.0
        self.instrument = Instrument()
        self.sent: list[Sent] = []
        self.failures: list[Exception] = []
        self.scheduler = Scheduler(
            self.instrument.send,
            lambda: self.time,
            self.sent.append,
            channel,
            latest,
            on_failure=self.failures.append,
            threaded=False,
        )

    def play(self, until: float) -> list[bytes]:
        """Let time pass to `until`, every event on time; the messages that came."""
        before = len(self.instrument.messages)
        while (due := self.scheduler.turn()) is not None and due <= until:
            self.time = max(self.time, due)
        self.time = max(self.time, until)
        self.scheduler.turn()
        return self.instrument.messages[before:]

    def stall(self, until: float) -> list[bytes]:
        """Nothing runs before `until`, and then everything at once."""
        before = len(self.instrument.messages)
        self.time = until
        self.scheduler.turn()
        return self.instrument.messages[before:]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    stage.scheduler.begin(0)
    yield stage
    stage.scheduler.close()


def note(begin: float, end: float, pitch: int, velocity: int = 80) -> list[Event]:
    return [NoteOn(begin, pitch, velocity, PARTNER), NoteOff(end, pitch, PARTNER)]


def test_events_leave_when_they_are_due_and_not_before(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(1.0, 2.0, 60), Pedal(1.5, True)])
    assert stage.play(0.999) == []
    assert stage.play(1.0) == [on(60)]
    assert stage.play(1.9) == [bytes((0xB0, 64, 127))]
    assert stage.play(2.0) == [off(60)]
    assert [(sent.due, sent.lateness) for sent in stage.sent] == [(1.0, 0.0), (1.5, 0.0), (2.0, 0.0)]


def test_messages_go_out_on_the_given_channel() -> None:
    stage = Stage(channel=5)
    stage.scheduler.begin(0)
    stage.scheduler.schedule(0, note(0.0, 1.0, 60))
    stage.play(0.0)
    stage.scheduler.close()
    assert [message[0] & 0x0F for message in stage.instrument.messages] == [5] * 4
    with pytest.raises(ValueError, match="channel 16"):
        Scheduler(stage.instrument.send, channel=16, threaded=False)


def test_a_restrike_closes_the_old_note_first(stage: Stage) -> None:
    stage.scheduler.schedule(0, [NoteOn(0.0, 60, 80), NoteOn(1.0, 60, 90), NoteOff(2.0, 60)])
    assert stage.play(3.0) == [on(60), off(60), on(60, 90), off(60)]


def test_a_late_note_on_is_dropped_with_its_off_and_late_offs_are_sent(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 1.0, 60), *note(1.1, 1.3, 64), *note(1.98, 2.5, 67)])
    stage.play(0.5)
    assert stage.stall(2.0) == [off(60), on(67)]
    assert stage.play(3.0) == [off(67)]
    assert stage.scheduler.snapshot().dropped == 1
    assert [round(sent.lateness, 6) for sent in stage.sent] == [0, 1.0, 0.02, 0]


def test_a_dropped_restrike_still_ends_the_note_before_it(stage: Stage) -> None:
    stage.scheduler.schedule(0, [NoteOn(0.0, 60, 80), NoteOn(1.0, 60, 90), NoteOff(5.0, 60)])
    stage.play(0.5)
    assert stage.stall(2.0) == [off(60)]
    assert stage.play(6.0) == []


def test_a_late_pedal_is_still_moved(stage: Stage) -> None:
    stage.scheduler.schedule(0, [Pedal(0.5, True), Pedal(4.0, False)])
    assert stage.stall(2.0) == [bytes((0xB0, 64, 127))]
    assert stage.play(5.0) == [PEDAL_UP]


def test_a_newer_generation_discards_the_plan_and_keeps_the_ends_of_what_sounds(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 3.0, 60), *note(2.0, 3.0, 64)])
    stage.play(1.0)
    assert stage.scheduler.begin(1)
    assert not stage.scheduler.schedule(0, note(2.0, 3.0, 65))
    assert stage.scheduler.schedule(1, note(2.5, 2.8, 67))
    assert stage.play(9.0) == [on(67), off(67), off(60)]


def test_a_newer_generation_may_release_what_sounds_at_once(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 3.0, 60), Pedal(0.0, True)])
    stage.play(1.0)
    assert stage.scheduler.begin(1, release=True)
    assert stage.play(1.0) == [off(60), PEDAL_UP]
    assert stage.play(9.0) == []


def test_a_rewind_takes_back_note_ons_and_lets_the_next_plan_set_the_ends(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 3.0, 60), *note(0.5, 4.0, 62), *note(2.0, 3.0, 64)])
    stage.play(1.0)
    stage.scheduler.cancel_after(1.5)
    stage.scheduler.schedule(0, [NoteOff(1.7, 60), *note(2.0, 2.2, 65)])
    assert stage.play(9.0) == [off(60), on(65), off(65), off(62)]


def test_a_rewind_to_a_rest_ends_what_sounds_there(stage: Stage) -> None:
    stage.scheduler.schedule(
        0, [*note(0.0, 3.0, 60), Pedal(0.5, True), *note(1.2, 4.0, 62), *note(2.0, 3.0, 64)]
    )
    stage.play(1.0)
    stage.scheduler.cancel_after(1.5, keep_offs=False)
    assert stage.play(1.4) == [on(62)]
    assert stage.play(1.5) == [off(60), off(62), PEDAL_UP]
    assert stage.play(9.0) == []


def test_release_ends_what_sounds_and_leaves_the_plan(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 3.0, 60), *note(2.0, 2.5, 64)])
    stage.play(1.0)
    stage.scheduler.release()
    assert stage.play(1.0) == [off(60)]
    assert stage.play(9.0) == [on(64), off(64)]


def test_panic_silences_and_ends_the_generation(stage: Stage) -> None:
    stage.scheduler.schedule(
        0, [*note(0.0, 3.0, 60), *note(0.0, 3.0, 64), Pedal(0.5, True), *note(2.0, 3.0, 67)]
    )
    stage.play(1.0)
    stage.scheduler.panic()
    assert stage.play(1.0) == [PEDAL_UP, off(60), off(64), ALL_NOTES_OFF, ALL_SOUND_OFF]
    assert not stage.scheduler.schedule(0, note(1.5, 2.0, 60))
    assert not stage.scheduler.begin(0)
    assert stage.play(9.0) == []
    assert stage.scheduler.begin(1)
    assert stage.scheduler.schedule(1, note(10.0, 11.0, 60))
    assert stage.play(12.0) == [on(60), off(60)]


def test_a_lost_port_is_reported_and_a_new_one_starts_silent(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 3.0, 60), *note(1.0, 3.0, 64), *note(2.0, 3.0, 67)])
    stage.play(0.5)
    error = OSError("cable pulled")
    stage.instrument.broken = error
    stage.play(1.5)
    assert stage.scheduler.failure is error
    assert stage.failures == [error]
    assert not stage.scheduler.schedule(0, note(2.0, 3.0, 65))
    assert stage.scheduler.snapshot().held == frozenset()
    new = Instrument()
    assert stage.scheduler.reconnect(new.send)
    assert stage.scheduler.failure is None
    stage.play(5.0)
    assert new.messages == [PEDAL_UP, off(60), off(64), ALL_NOTES_OFF]
    assert stage.scheduler.begin(1)
    assert stage.scheduler.schedule(1, note(6.0, 7.0, 60))
    stage.play(8.0)
    assert new.messages[4:] == [on(60), off(60)]


def test_a_port_that_fails_once_gets_its_note_offs_still() -> None:
    instrument = Instrument()

    def send(message: bytes) -> None:
        if message == on(64):
            raise OSError("buffer full")
        instrument.send(message)

    clock = [0.0]
    scheduler = Scheduler(send, lambda: clock[0], threaded=False)
    scheduler.begin(0)
    scheduler.schedule(0, [*note(0.0, 9.0, 60), *note(1.0, 9.0, 64)])
    scheduler.turn()
    clock[0] = 1.0
    scheduler.turn()
    assert instrument.messages == [on(60), PEDAL_UP, off(60), off(64), ALL_NOTES_OFF]


def test_a_note_off_that_the_port_refused_is_made_up_for(stage: Stage) -> None:
    stage.scheduler.schedule(0, note(0.0, 1.0, 60))
    stage.play(0.5)
    stage.instrument.broken = OSError("gone")
    stage.play(2.0)
    stage.instrument.broken = None
    stage.scheduler.reconnect(stage.instrument.send)
    stage.play(2.0)
    assert stage.instrument.silent


def test_the_note_offs_of_a_panic_that_the_port_refused_are_made_up_for(stage: Stage) -> None:
    stage.scheduler.schedule(0, note(0.0, 9.0, 60))
    stage.play(0.5)
    stage.instrument.broken = OSError("gone")
    stage.scheduler.panic()
    stage.play(0.5)
    assert stage.failures == [stage.instrument.broken]
    stage.instrument.broken = None
    stage.scheduler.reconnect(stage.instrument.send)
    stage.play(0.5)
    assert stage.instrument.silent


def test_changing_the_port_silences_the_old_one(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 9.0, 60), Pedal(0.0, True)])
    stage.play(1.0)
    new = Instrument()
    stage.scheduler.reconnect(new.send)
    stage.play(1.0)
    assert stage.instrument.silent
    assert new.messages == [PEDAL_UP, ALL_NOTES_OFF]


def test_the_old_port_failing_while_it_is_replaced_does_not_stop_the_new_one(stage: Stage) -> None:
    stage.scheduler.schedule(0, note(0.0, 9.0, 60))
    stage.play(1.0)
    stage.instrument.broken = OSError("gone")
    new = Instrument()
    stage.scheduler.reconnect(new.send)
    stage.scheduler.begin(1)
    stage.scheduler.schedule(1, note(2.0, 3.0, 64))
    stage.play(4.0)
    assert new.messages == [PEDAL_UP, ALL_NOTES_OFF, on(64), off(64)]
    assert stage.scheduler.failure is None


def test_close_ends_everything_and_stays_closed(stage: Stage) -> None:
    stage.scheduler.schedule(0, [*note(0.0, 9.0, 60), Pedal(0.0, True), *note(2.0, 3.0, 64)])
    stage.play(1.0)
    stage.scheduler.close()
    assert stage.instrument.messages[-3:] == [PEDAL_UP, off(60), ALL_NOTES_OFF]
    count = len(stage.instrument.messages)
    stage.scheduler.close()
    stage.scheduler.panic()
    assert not stage.scheduler.begin(1)
    assert not stage.scheduler.schedule(0, note(2.0, 3.0, 64))
    assert not stage.scheduler.reconnect(stage.instrument.send)
    stage.play(9.0)
    assert len(stage.instrument.messages) == count


def test_a_callback_that_closes_in_the_middle_of_a_restrike_leaves_nothing_sounding() -> None:
    instrument = Instrument()

    def close_on_off(sent: Sent) -> None:
        if isinstance(sent.event, NoteOff):
            scheduler.close()

    scheduler = Scheduler(instrument.send, lambda: 1.0, close_on_off, threaded=False)
    scheduler.begin(0)
    scheduler.schedule(0, [NoteOn(1.0, 60, 80), NoteOn(1.0, 60, 90)])
    scheduler.turn()
    assert on(60, 90) in instrument.messages
    assert instrument.silent


def test_a_callback_that_raises_does_not_stop_the_music(caplog: pytest.LogCaptureFixture) -> None:
    def fail(sent: Sent) -> None:
        raise RuntimeError("statistics broke")

    instrument = Instrument()
    scheduler = Scheduler(instrument.send, lambda: 1.0, fail, threaded=False)
    scheduler.begin(0)
    scheduler.schedule(0, [NoteOn(1.0, 60, 80), NoteOn(1.0, 64, 80)])
    scheduler.turn()
    scheduler.close()
    assert instrument.messages[:2] == [on(60), on(64)]
    assert "statistics broke" in caplog.text


# --- every interleaving -----------------------------------------------------------------------------------

PAIRED = st.integers(60, 65)  # their note-ons always come with a note-off
OPEN = st.integers(70, 72)  # theirs may come without one
SPAN = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0])
AHEAD = st.sampled_from([-0.2, -0.05, 0.0, 0.01, 0.1, 0.25, 0.5, 1.0])


class Interleavings(RuleBasedStateMachine):
    """Anything in any order. The velocity of a note says which generation planned it."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.scheduler = self.stage.scheduler
        self.generation = 0
        self.over = False
        self.scheduler.begin(0)
        self.checked = 0
        self.reported = 0
        self.ends: dict[int, float] = {}
        self.planned: set[tuple[int, float]] = set()
        self.cancelled: set[tuple[int, float]] = set()
        self.horizon = 0.0  # plans of one generation come in time order

    @rule(notes=st.lists(st.tuples(PAIRED, SPAN, SPAN), min_size=1, max_size=6), ahead=AHEAD, step=SPAN)
    def plan_notes_and_play(self, notes: list[tuple[int, float, float]], ahead: float, step: float) -> None:
        self.start_again()
        events: list[Event] = []
        begin = max(self.horizon, self.stage.time + ahead)
        for pitch, gap, length in notes:
            begin += gap
            events += note(begin, begin + length, pitch, self.generation % 127 + 1)
        self.plan(events)
        self.time_passes(step)

    @rule(pitch=OPEN, ahead=AHEAD, down=st.booleans())
    def plan_a_beginning_only(self, pitch: int, ahead: float, down: bool) -> None:
        self.start_again()
        time = max(self.horizon, self.stage.time + ahead)
        self.plan([NoteOn(time, pitch, self.generation % 127 + 1), Pedal(time, down)])

    @rule(pitch=OPEN, ahead=AHEAD)
    def plan_an_end_only(self, pitch: int, ahead: float) -> None:
        self.start_again()
        self.plan([NoteOff(max(self.horizon, self.stage.time + ahead), pitch)])

    def plan(self, events: list[Event]) -> None:
        assert self.scheduler.schedule(self.generation, events)
        begins = [event.time for event in events if not isinstance(event, NoteOff)]
        self.horizon = max([self.horizon, *begins])
        for event in events:
            if isinstance(event, NoteOn):
                self.planned.add((event.pitch, event.time))
                self.cancelled.discard((event.pitch, event.time))
            elif isinstance(event, NoteOff):
                self.ends[event.pitch] = max(event.time, self.ends.get(event.pitch, event.time))

    def start_again(self) -> None:
        """After a panic or the loss of the port: what a session does before it plans anew."""
        if self.scheduler.failure is not None:
            self.the_port_comes_back()
        if self.over:
            self.begin(release=False)

    @rule(pitch=PAIRED)
    @precondition(lambda self: self.over)
    def a_plan_after_the_end_is_refused(self, pitch: int) -> None:
        time = self.stage.time
        assert not self.scheduler.schedule(self.generation, note(time, time + 1, pitch))

    @rule(pitch=PAIRED)
    @precondition(lambda self: self.generation > 0)
    def a_stale_plan_is_refused(self, pitch: int) -> None:
        assert not self.scheduler.schedule(self.generation - 1, note(self.stage.time, self.stage.time, pitch))

    @rule(release=st.booleans())
    def begin(self, release: bool) -> None:
        self.generation += 1
        assert self.scheduler.begin(self.generation, release)
        self.over = self.scheduler.failure is not None
        self.cut(self.stage.time - 99)

    @rule(ahead=AHEAD, keep_offs=st.booleans())
    def rewind(self, ahead: float, keep_offs: bool) -> None:
        time = self.stage.time + ahead
        self.scheduler.cancel_after(time, keep_offs)
        self.cut(time)

    def cut(self, time: float) -> None:
        self.cancelled |= {(pitch, begin) for pitch, begin in self.planned if begin >= time}
        self.horizon = min(self.horizon, time)

    @rule(ahead=st.none() | AHEAD)
    def release(self, ahead: float | None) -> None:
        self.scheduler.release(None if ahead is None else self.stage.time + ahead)

    @rule(step=SPAN)
    def time_passes(self, step: float) -> None:
        self.stage.play(self.stage.time + step)
        self.nothing_is_overdue()

    @rule(step=SPAN)
    def the_machine_stalls(self, step: float) -> None:
        self.stage.stall(self.stage.time + step)
        self.nothing_is_overdue()

    def nothing_is_overdue(self) -> None:
        """A key whose ends are all past is up, however late the machine is."""
        if self.scheduler.failure is None and self.stage.instrument.broken is None:
            overdue = {p for p in self.stage.instrument.down if p < 70 and self.ends[p] <= self.stage.time}
            assert not overdue

    @rule()
    def panic(self) -> None:
        self.scheduler.panic()
        self.scheduler.turn()
        self.over = True
        if self.scheduler.failure is None and self.stage.instrument.broken is None:
            assert self.stage.instrument.silent

    @rule(step=SPAN)
    def the_port_breaks(self, step: float) -> None:
        self.stage.instrument.broken = OSError("gone")
        self.time_passes(step)

    @rule()
    def the_port_comes_back(self) -> None:
        self.stage.instrument.broken = None
        self.scheduler.reconnect(self.stage.instrument.send)
        self.scheduler.turn()
        self.over = True
        assert self.stage.instrument.silent

    @invariant()
    def a_failure_ends_the_generation(self) -> None:
        self.over |= self.scheduler.failure is not None

    @invariant()
    def no_key_is_struck_while_it_is_down(self) -> None:
        assert self.stage.instrument.double_strokes == 0

    @invariant()
    def only_the_present_generation_strikes_keys(self) -> None:
        new = self.stage.instrument.messages[self.checked :]
        self.checked += len(new)
        velocities = {message[2] for message in new if message[0] == 0x90}
        assert velocities <= {self.generation % 127 + 1}

    @invariant()
    def events_leave_in_order_on_time_and_never_after_they_were_cancelled(self) -> None:
        new = self.stage.sent[self.reported :]
        self.reported += len(new)
        for sent in new:
            assert sent.lateness >= 0
            if isinstance(sent.event, NoteOn):
                assert sent.lateness <= 0.08 + 1e-9
                assert (sent.event.pitch, sent.event.time) not in self.cancelled

    @invariant()
    def the_books_agree_with_the_instrument(self) -> None:
        if self.scheduler.failure is None and self.stage.instrument.broken is None:
            state = self.scheduler.snapshot()
            assert (state.held, state.pedal_down) == (self.stage.instrument.down, self.stage.instrument.pedal)

    def teardown(self) -> None:
        if self.stage.instrument.broken is not None or self.scheduler.failure is not None:
            self.the_port_comes_back()
        self.scheduler.close()
        assert self.stage.instrument.silent
        assert self.scheduler.snapshot().pending == 0


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


# --- the thread and the real clock ------------------------------------------------------------------------


def test_the_thread_plays_a_plan_in_order_and_never_early() -> None:
    instrument, sent = Instrument(), list[Sent]()
    start = now() + 0.05
    plan = [event for i in range(40) for event in note(start + i * 0.005, start + i * 0.005 + 0.004, 40 + i)]
    with Scheduler(instrument.send, on_sent=sent.append, latest=60.0) as scheduler:
        scheduler.begin(0)
        scheduler.schedule(0, plan)
        instrument.wait_for(off(79))
    expected = [message for i in range(40) for message in (on(40 + i), off(40 + i))]
    assert instrument.messages[:80] == expected
    assert all(entry.lateness >= 0 for entry in sent)


def test_an_earlier_event_is_not_kept_waiting_by_a_later_one() -> None:
    instrument = Instrument()
    with Scheduler(instrument.send) as scheduler:
        scheduler.begin(0)
        scheduler.schedule(0, note(now() + 3600, now() + 3601, 60))
        scheduler.schedule(0, [NoteOn(now(), 64, 80)])
        instrument.wait_for(on(64))
    assert instrument.silent
    assert on(60) not in instrument.messages


def test_panic_from_another_thread_reaches_a_waiting_scheduler() -> None:
    instrument = Instrument()
    with Scheduler(instrument.send) as scheduler:
        scheduler.begin(0)
        scheduler.schedule(0, note(now(), now() + 3600, 60))
        instrument.wait_for(on(60))
        other = threading.Thread(target=scheduler.panic)
        other.start()
        instrument.wait_for(ALL_SOUND_OFF)
        other.join(PATIENCE)
        assert instrument.silent


def test_leaving_by_an_exception_ends_everything() -> None:
    instrument = Instrument()

    def play_and_fail() -> None:
        with Scheduler(instrument.send) as scheduler:
            scheduler.begin(0)
            scheduler.schedule(0, [NoteOn(now(), 60, 80), Pedal(now(), True)])
            instrument.wait_for(on(60))
            raise RuntimeError("the engine failed")

    with pytest.raises(RuntimeError, match="engine"):
        play_and_fail()
    assert instrument.silent
    assert not any(thread.name == "scheduler" for thread in threading.enumerate())


def test_the_thread_survives_a_lost_port() -> None:
    instrument, lost = Instrument(), threading.Event()
    instrument.broken = OSError("gone")
    with Scheduler(instrument.send, on_failure=lambda error: lost.set()) as scheduler:
        scheduler.begin(0)
        scheduler.schedule(0, [NoteOn(now(), 60, 80)])
        assert lost.wait(PATIENCE)
        instrument.broken = None
        scheduler.reconnect(instrument.send)
        scheduler.begin(1)
        scheduler.schedule(1, [NoteOn(now(), 64, 80)])
        instrument.wait_for(on(64))
    assert instrument.silent


def test_a_callback_may_plan_and_close() -> None:
    instrument, closed = Instrument(), threading.Event()

    def follow(sent: Sent) -> None:
        match sent.event:
            case NoteOn(pitch=60):
                scheduler.schedule(0, [NoteOn(now(), 64, 80)])
            case NoteOn(pitch=64):
                scheduler.close()
                closed.set()

    with Scheduler(instrument.send, on_sent=follow, latest=60.0) as scheduler:
        scheduler.begin(0)
        scheduler.schedule(0, [NoteOn(now(), 60, 80)])
        assert closed.wait(PATIENCE)
    assert instrument.silent


def test_an_output_that_never_returns_blocks_neither_planning_nor_close(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("plugin_bridge.duet.scheduler.JOIN_SECONDS", 0.1)
    entered, let_go = threading.Event(), threading.Event()
    messages: list[bytes] = []

    def send(message: bytes) -> None:
        entered.set()
        let_go.wait(PATIENCE)
        messages.append(message)

    scheduler = Scheduler(send)
    scheduler.begin(0)
    scheduler.schedule(0, [NoteOn(now(), 60, 80)])
    assert entered.wait(PATIENCE)
    assert scheduler.schedule(0, [NoteOn(now(), 64, 80)])
    scheduler.close()
    assert "does not return" in caplog.text
    let_go.set()
    monkeypatch.setattr("plugin_bridge.duet.scheduler.JOIN_SECONDS", PATIENCE)
    scheduler.close()
    assert [message for message in messages if message[0] != 0xB0] == [on(60), off(60)]


def test_many_threads_planning_cutting_and_panicking_leave_nothing_sounding() -> None:
    instrument = Instrument()
    with Scheduler(instrument.send, latest=60.0) as scheduler:
        newest = iter(range(10_000))

        def planner(pitch: int) -> None:
            for step in range(60):
                with lock:
                    generation = next(newest)
                    scheduler.begin(generation, release=step % 3 == 0)
                scheduler.schedule(generation, note(now(), now() + 0.001, pitch + step % 3))
                if step % 5 == 0:
                    with instrument.arrived:
                        instrument.arrived.wait(0.002)
                if step % 7 == 0:
                    scheduler.cancel_after(now(), keep_offs=step % 2 == 0)
                if step % 11 == 0:
                    scheduler.panic()

        lock = threading.Lock()
        threads = [threading.Thread(target=planner, args=(50 + 2 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        scheduler.begin(10_000)
        scheduler.schedule(10_000, [NoteOn(now(), 100, 80)])
        instrument.wait_for(on(100))
    assert instrument.silent
    assert instrument.double_strokes == 0


FORGETFUL = """
import sys
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.music.events import NoteOn, Pedal
from plugin_bridge.ports.clock import now
import threading

struck = threading.Event()
def send(message):
    print(message.hex(), flush=True)
    if message[0] == 0x90:
        struck.set()
scheduler = Scheduler(send)
scheduler.begin(0)
scheduler.schedule(0, [Pedal(now(), True), NoteOn(now(), 60, 80)])
struck.wait(20)
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError"])
def test_a_program_that_ends_without_closing_leaves_nothing_sounding(end: str) -> None:
    program = FORGETFUL.format(end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["b0407f", "903c50", "b04000", "803c40", "b07b00"]
