"""FL Studio's transport as a duet sees it, from reports that come late, rarely, or not at all."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_position import PositionLine
from plugin_bridge.ports.fl_protocol import PLAYING, SCRIPT, Message, read_messages, write_message
from plugin_bridge.ports.fl_transport import FlTransport, TransportReport, read_report

EARLY = 0.017  # quarter notes: how late a single report is guessed to be
STANDING = TransportReport((1, 0), False, False, True, 120.0, 0.0, None, 4, 4)


def playing(position: float, run: int = 1, tempo: float = 120.0, source: int = 1) -> TransportReport:
    return replace(STANDING, run=(source, run), playing=True, position=position, tempo=tempo)


def message(**values: int) -> Message:
    usual = {
        "flags": PLAYING, "run": 3, "tempo": 97_000, "position": 192, "quarter": 96, "bar": 384,
        "loop_start": -1, "loop_end": -1,
    }  # fmt: skip
    data = write_message("transport", **{**usual, **values})
    return read_messages(data, SCRIPT)[0]


def test_a_report_is_read() -> None:
    report = read_report(message(loop_start=384, loop_end=1152))
    assert report == TransportReport((0, 3), True, False, False, 97.0, 2.0, (4.0, 12.0), 4, 4)


@pytest.mark.parametrize(
    "wrong", [{"quarter": 0}, {"tempo": 0}, {"tempo": 4_000_000_000}], ids=["no ticks", "no tempo", "no song"]
)
def test_a_report_of_what_no_song_can_be_is_none(wrong: dict[str, int]) -> None:
    assert read_report(message(**wrong)) is None


@pytest.mark.parametrize(
    ("bar", "metre"),
    [(384, (4, 4)), (288, (3, 4)), (336, (7, 2)), (480, (5, 4)), (264, (11, 1)), (0, (4, 4)), (385, (4, 4))],
)
def test_the_metre_follows_from_the_ticks_of_a_bar(bar: int, metre: tuple[int, int]) -> None:
    report = read_report(message(bar=bar))
    assert report is not None
    assert (report.beats_in_bar, report.sixteenths) == metre


@pytest.mark.parametrize(("start", "end"), [(-1, -1), (5, 5), (9, 5), (-4, 100)])
def test_a_loop_that_is_none_is_none(start: int, end: int) -> None:
    report = read_report(message(loop_start=start, loop_end=end))
    assert report is not None
    assert report.loop is None


def test_before_the_first_report_nothing_is_known() -> None:
    timeline = FlTransport().at(10.0)
    assert (timeline.alive, timeline.playing, timeline.tempo) == (False, False, None)


def test_from_start_to_stop() -> None:
    transport = FlTransport()
    transport.report(STANDING, 10.0)
    standing = transport.at(10.1)
    assert (standing.alive, standing.playing, standing.position(10.1)) == (True, False, 0.0)
    transport.report(playing(0.0), 10.2)
    begun = transport.at(10.2)
    assert begun.playing
    assert begun.generation == standing.generation + 1
    assert begun.position(11.2) == pytest.approx(2.0, abs=EARLY)
    assert begun.next_bar(10.3) == pytest.approx(12.2, abs=EARLY)
    transport.report(replace(STANDING, position=4.0), 10.4)
    assert transport.at(10.4).generation == begun.generation + 1
    assert transport.at(10.4).position(99.0) == 4.0


@pytest.mark.parametrize("change", ["run", "source"])
def test_a_new_run_is_a_new_generation_and_known_at_once(change: str) -> None:
    transport = FlTransport()
    transport.report(playing(15.9), 10.0)
    before = transport.at(10.0)
    transport.report(playing(8.02, run=2) if change == "run" else playing(8.02, source=9), 10.04)
    after = transport.at(10.04)
    assert after.generation == before.generation + 1
    assert after.position(10.04) == pytest.approx(8.02, abs=EARLY)


def run_to(transport: FlTransport, position: float, loop: tuple[float, float]) -> float:
    """Play at 120 from 8 quarters before `position` to it, at the time that is returned."""
    for index in range(101):
        time = 10 + index * 0.04
        reported = position - 8 + index * 0.08 - (index % 5) * 0.004  # up to 8 ms late
        transport.report(replace(playing(reported), loop=loop), time)
    return 14.0


def test_a_loop_that_wraps_loses_no_time_and_what_was_known_is_known_on() -> None:
    loop = (0.0, 12.0)
    transport = FlTransport()
    time = run_to(transport, 11.98, loop)
    before = transport.at(time)
    transport.report(replace(playing(0.04, run=2), loop=loop), time + 0.04)  # that is 10 ms late
    after = transport.at(time + 0.04)
    assert after.generation == before.generation + 1
    expected = before.position(time + 0.04)
    found = after.position(time + 0.04)
    assert expected is not None and found is not None
    assert found == pytest.approx(expected - 12.0, abs=0.002)


@pytest.mark.parametrize("to", [0.3, 5.0, 11.0])
def test_a_jump_back_in_a_loop_is_no_wrap(to: float) -> None:
    loop = (0.0, 12.0)
    transport = FlTransport()
    time = run_to(transport, 11.98, loop)
    transport.report(replace(playing(to, run=2), loop=loop), time + 0.04)
    assert transport.at(time + 0.04).position(time + 0.04) == pytest.approx(to, abs=EARLY)


def test_what_leaves_by_a_timeline_with_a_lead_leaves_that_much_early() -> None:
    transport = FlTransport()
    transport.report(playing(0.0), 10.0)
    beat, early = transport.at(10.0).time_of(4.0), transport.at(10.0, lead=0.006).time_of(4.0)
    assert beat is not None and early is not None
    assert beat - early == pytest.approx(0.006)


def test_within_a_run_the_generation_stays_through_changes_of_tempo() -> None:
    transport = FlTransport()
    generations = set()
    for index in range(100):
        transport.report(playing(index * 0.08, tempo=120.0 + index), 10.0 + index * 0.04)
        generations.add(transport.at(10.0 + index * 0.04).generation)
    assert len(generations) == 1
    assert transport.at(14.0).tempo == 219.0


def test_a_host_that_falls_silent_is_gone_after_a_second_and_comes_back_as_another_generation() -> None:
    transport = FlTransport()
    transport.report(playing(0.0), 10.0)
    there, gone = transport.at(10.9), transport.at(11.1)
    assert there.playing
    assert (gone.playing, gone.alive, gone.tempo) == (False, False, None)
    assert gone.generation == there.generation + 1
    transport.report(playing(10.0), 15.0)
    back = transport.at(15.0)
    assert back.playing
    assert back.generation == gone.generation + 1
    assert back.position(15.0) == pytest.approx(10.0, abs=EARLY)


def test_a_host_that_says_goodbye_is_gone_at_once() -> None:
    transport = FlTransport()
    transport.report(playing(0.0), 10.0)
    before = transport.at(10.0)
    transport.leave()
    assert not transport.at(10.0).playing
    assert transport.at(10.0).generation == before.generation + 1


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 3), st.floats(-100, 100), st.floats(1, 999), st.floats(0, 3)),
        max_size=40,
    )
)
def test_generations_only_grow_and_tell_every_change_of_playing(
    reports: list[tuple[bool, int, float, float, float]],
) -> None:
    transport, time = FlTransport(), 0.0
    last = transport.at(time)
    for plays, run, position, tempo, pause in reports:
        for moment in (time, time + pause):
            state = transport.at(moment)
            assert state.generation >= last.generation
            if state.playing != last.playing:
                assert state.generation > last.generation
            last = state
        time += pause
        transport.report(replace(playing(position, run, tempo), playing=plays), time)
        state = transport.at(time)
        assert state.generation >= last.generation
        assert state.playing is plays
        if state.playing != last.playing:
            assert state.generation > last.generation
        last = state


def late(chance: random.Random) -> float:
    """What FL's idle loop, its audio buffer and the way add, in seconds."""
    return chance.uniform(0.0, 0.012) + abs(chance.gauss(0, 0.002)) + (0.08 if chance.random() < 0.02 else 0)


@pytest.mark.parametrize("tempo", [60.0, 97.0, 174.0])
def test_the_position_is_right_within_three_milliseconds_although_reports_are_late(tempo: float) -> None:
    chance = random.Random(1)
    line, worst = PositionLine(0.0, 0.0, tempo), 0.0
    for index in range(1, 1500):
        time = index * 0.04
        line.report(time, max(time - late(chance), 0.0) * tempo / 60, tempo)
        if index > 50:
            worst = max(worst, abs(line.at(time) - time * tempo / 60) * 60 / tempo)
    assert worst < 0.003


def test_of_the_first_reports_of_a_run_what_they_are_late_on_average_is_taken_off() -> None:
    chance, off = random.Random(3), []
    for _ in range(500):
        line = PositionLine(0.0, -2 * chance.uniform(0, 0.012), 120.0, 0.012)
        for time in (0.04, 0.08):
            line.report(time, 2 * (time - chance.uniform(0, 0.012)), 120.0)
        off.append(line.at(0.08) / 2 - 0.08)
    assert abs(sum(off) / 500) < 0.0005
    assert max(map(abs, off)) < 0.009


def test_a_ramp_of_the_tempo_is_followed() -> None:
    line, position, worst = PositionLine(0.0, 0.0, 100.0), 0.0, 0.0
    chance = random.Random(2)
    for index in range(1, 8000):  # 100 to 180 in 8 seconds, a millisecond at a time
        tempo = 100 + index / 100
        position += tempo / 60 * 0.001
        if index % 40 == 0:
            delay = chance.uniform(0.0, 0.012)
            line.report(index * 0.001, position - delay * tempo / 60, tempo)
            if index > 500:
                worst = max(worst, abs(line.at(index * 0.001) - position) * 60 / tempo)
    assert worst < 0.008


def test_a_step_of_the_tempo_is_followed_from_the_first_report_on() -> None:
    line = PositionLine(0.0, 0.0, 97.0)
    for index in range(1, 100):
        line.report(index * 0.04, index * 0.04 * 97 / 60, 97.0)
    position = 99 * 0.04 * 97 / 60 + 0.02 * 97 / 60 + 0.02 * 140 / 60  # it changed halfway
    line.report(4.0, position, 140.0)
    assert line.at(4.5) == pytest.approx(position + 0.5 * 140 / 60, abs=1e-6)


def test_a_step_of_the_tempo_that_is_reported_late_is_still_placed_by_what_was_known() -> None:
    line = PositionLine(0.0, 0.0, 97.0)
    for index in range(1, 100):
        line.report(index * 0.04, index * 0.04 * 97 / 60, 97.0)
    position = 99 * 0.04 * 97 / 60 + 0.02 * 97 / 60 + 0.02 * 140 / 60
    line.report(4.0, position - 0.015 * 140 / 60, 140.0)
    assert line.at(4.0) == pytest.approx(position, abs=0.002)


def test_clocks_that_differ_by_a_thousandth_are_followed() -> None:
    line = PositionLine(0.0, 0.0, 120.0)
    for index in range(1, 5000):
        line.report(index * 0.04, index * 0.04 * 2.002, 120.0)
    assert line.at(200.0) == pytest.approx(200.0 * 2.002, abs=0.01)
