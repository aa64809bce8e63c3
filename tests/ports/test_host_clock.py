"""The host's clock: what a DAW sends, through jitter, holes and bursts, tells where the music is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.music.rhythm import METRE_SIZE, UNKNOWN, metrical_positions, steady_beats, steady_metre
from plugin_bridge.ports.host_clock import TIMEOUT, HostClock, Timeline, pull_to_grid

CLOCK, START, CONTINUE, STOP = b"\xf8", b"\xfa", b"\xfb", b"\xfc"
FIRST = 10.0
"""When the first clock comes; the start message comes a little before."""


def song_position(sixteenths: int) -> bytes:
    return bytes((0xF2, sixteenths & 0x7F, sixteenths >> 7))


def steady(tempo: float, quarters: float, start: float = FIRST) -> list[float]:
    """The times of the clocks of so many quarter notes."""
    return [start + i * 2.5 / tempo for i in range(round(quarters * 24))]


def changing(tempo_at: Callable[[float], float], quarters: float) -> list[float]:
    times = [FIRST]
    for i in range(1, round(quarters * 24)):
        times.append(times[-1] + 2.5 / tempo_at(i / 24))
    return times


def heard(times: Iterable[float], clock: HostClock | None = None, first: bytes = START) -> HostClock:
    clock = clock or HostClock()
    if first:
        clock.hear(first, FIRST - 0.01)
    for time in times:
        clock.hear(CLOCK, time)
    return clock


def jittered(times: list[float], seconds: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    late = sorted(time + draw.uniform(0, seconds) for time in times)
    return [time - seconds / 2 for time in late]


def test_a_start_begins_at_zero_with_the_next_clock() -> None:
    clock = heard(steady(120, 2))
    timeline = clock.at(FIRST + 1.0)
    assert timeline.playing
    assert timeline.tempo == pytest.approx(120)
    assert timeline.position(FIRST) == pytest.approx(0)
    assert timeline.position(FIRST + 1.25) == pytest.approx(2.5)
    assert timeline.time_of(8.0) == pytest.approx(FIRST + 4.0)


def test_between_start_and_first_clock_nothing_plays_yet() -> None:
    clock = HostClock()
    assert clock.at(0.0) == Timeline()
    clock.hear(START, FIRST)
    assert not clock.at(FIRST).playing
    clock.hear(CLOCK, FIRST + 0.02)
    assert clock.at(FIRST + 0.02).playing
    assert clock.at(FIRST + 0.02).position(FIRST + 0.02) is None  # one clock tells no tempo


def test_clocks_while_standing_tell_the_tempo_and_leave_the_position() -> None:
    clock = heard(steady(90, 2), first=b"")
    timeline = clock.at(FIRST + 1.3)
    assert (timeline.playing, timeline.alive) == (False, True)
    assert timeline.tempo == pytest.approx(90)
    assert timeline.position(FIRST + 1.3) == 0
    assert timeline.time_of(1.0) is None
    assert timeline.metre_id(FIRST + 1.3) == UNKNOWN


def test_after_clocks_while_standing_the_first_beat_is_known_at_once() -> None:
    clock = heard(steady(100, 4), first=b"")
    began = FIRST + 2.4 + 0.011  # the clocks begin afresh, off the old ones
    clock.hear(START, began - 0.001)
    clock.hear(CLOCK, began)
    timeline = clock.at(began)
    assert timeline.tempo == pytest.approx(100)
    assert timeline.time_of(4.0) == pytest.approx(began + 2.4, abs=1e-6)


def test_stop_stands_where_it_stopped_and_continue_goes_on_there() -> None:
    clock = heard(steady(120, 4))
    clock.hear(STOP, FIRST + 2.0)
    stopped = clock.at(FIRST + 2.1)
    assert (stopped.playing, stopped.position(FIRST + 99)) == (False, pytest.approx(4.0))
    clock.hear(CONTINUE, FIRST + 3.99)
    for time in steady(120, 1, FIRST + 4.0):
        clock.hear(CLOCK, time)
    again = clock.at(FIRST + 4.5)
    assert again.position(FIRST + 4.5) == pytest.approx(5.0)
    assert again.generation > stopped.generation > 0


def test_the_song_position_counts_sixteenths_in_fourteen_bits() -> None:
    clock = HostClock()
    clock.hear(song_position(16383), FIRST - 1)
    assert clock.at(FIRST - 1).position(FIRST) == 16383 / 4
    clock.hear(song_position(130), FIRST - 1)
    heard(steady(120, 1), clock, CONTINUE)
    assert clock.at(FIRST + 0.5).position(FIRST) == pytest.approx(32.5)


def test_a_start_does_not_heed_the_song_position() -> None:
    clock = HostClock()
    clock.hear(song_position(64), FIRST - 1)
    assert heard(steady(120, 1), clock).at(FIRST + 0.5).position(FIRST) == pytest.approx(0)


@pytest.mark.parametrize(
    "back",
    [(song_position(0),), (START,), (STOP, song_position(0), CONTINUE), (STOP, START)],
    ids=["song position", "start", "stop, song position, continue", "stop, start"],
)
def test_a_loop_back_to_bar_one_is_a_jump_however_the_host_tells_it(back: tuple[bytes, ...]) -> None:
    clock = heard(steady(120, 16))
    before = clock.at(FIRST + 8.0)
    for message in back:
        clock.hear(message, FIRST + 7.99)
    for time in steady(120, 1, FIRST + 8.0):
        clock.hear(CLOCK, time)
    after = clock.at(FIRST + 8.5)
    assert after.playing
    assert after.generation > before.generation
    assert after.position(FIRST + 8.5) == pytest.approx(1.0)
    assert after.tempo == pytest.approx(120)


def test_a_jump_holds_from_the_message_on() -> None:
    clock = heard(steady(120, 8))
    clock.hear(song_position(64), FIRST + 3.99)
    assert clock.at(FIRST + 3.99).time_of(16.0) == pytest.approx(FIRST + 4.0)


@pytest.mark.parametrize("clocks_off", [-1, 0, 1])
def test_a_song_position_that_says_where_we_are_is_no_jump(clocks_off: int) -> None:
    clock = heard(steady(120, 4 + clocks_off / 24))
    before = clock.at(FIRST + 2.0)
    clock.hear(song_position(16), FIRST + 2.0)
    assert clock.at(FIRST + 2.0) == before


def test_a_host_that_falls_silent_is_gone_and_may_come_back() -> None:
    clock = heard(steady(120, 4))
    last = steady(120, 4)[-1]
    there, gone = clock.at(last + TIMEOUT - 0.01), clock.at(last + TIMEOUT + 0.01)
    assert (there.playing, there.alive) == (True, True)
    assert (gone.playing, gone.alive, gone.tempo) == (False, False, None)
    assert gone.generation > there.generation
    assert gone.position(last + 5) == pytest.approx(4 - 1 / 24)
    for time in steady(120, 1, last + 3.0):
        clock.hear(CLOCK, time)
    back = clock.at(last + 3.5)
    assert back.generation > gone.generation
    assert back.position(last + 3.0) == pytest.approx(4.0)


def test_a_host_that_comes_back_after_long_plays_when_it_says_so() -> None:
    clock = heard(steady(120, 4))
    for time in steady(120, 1, FIRST + 60):
        clock.hear(CLOCK, time)
    assert not clock.at(FIRST + 60.5).playing
    clock.hear(START, FIRST + 60.5)
    clock.hear(CLOCK, FIRST + 60.51)
    assert clock.at(FIRST + 60.51).position(FIRST + 60.51) == pytest.approx(0, abs=0.01)


def test_a_start_after_a_silence_is_heard_as_one() -> None:
    clock = heard(steady(120, 4))
    late = FIRST + 30
    clock.hear(START, late - 0.01)
    for time in steady(80, 2, late):
        clock.hear(CLOCK, time)
    timeline = clock.at(late + 1.5)
    assert timeline.playing
    assert timeline.position(late + 1.5) == pytest.approx(2.0, abs=0.05)
    assert timeline.tempo == pytest.approx(80, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tempo", [40, 120, 240])
def test_ten_milliseconds_of_jitter_leave_the_beat_within_three(tempo: float, seed: int) -> None:
    """A steady tempo, judged at every clock from the second bar on."""
    times = steady(tempo, 24)
    clock = heard([])
    for i, time in enumerate(jittered(times, 0.01, seed)):
        clock.hear(CLOCK, time)
        if i >= 96:
            timeline = clock.at(time)
            assert timeline.time_of(i / 24) == pytest.approx(times[i], abs=0.003)
            assert timeline.tempo == pytest.approx(tempo, rel=0.01)


@pytest.mark.parametrize("tempo", [60, 120, 174])
def test_clocks_in_blocks_of_an_audio_buffer_give_a_steady_tempo(tempo: float) -> None:
    """2048 samples at 44.1 kHz: clocks come in twos and threes, up to 46 ms late."""
    block = 2048 / 44100
    clock = heard([])
    for i, time in enumerate(steady(tempo, 24)):
        arrival = -(-time // block) * block
        clock.hear(CLOCK, arrival)
        if i >= 96:
            timeline = clock.at(arrival)
            assert timeline.tempo == pytest.approx(tempo, rel=0.02)
            due = timeline.time_of(i / 24)
            assert due is not None
            assert -0.01 < due - time < block + 0.01


@pytest.mark.parametrize(
    ("samples", "tempo"), [(1024, 100), (1024, 104), (1024, 108), (512, 200), (512, 212)]
)
def test_holes_that_are_a_hosts_way_are_no_lost_clocks(samples: int, tempo: float) -> None:
    """Blocks about as long as a clock: every so often a block has none, or two."""
    block = samples / 44100
    times = steady(tempo, 96)
    clock = heard([])
    for time in times:
        clock.hear(CLOCK, -(-time // block) * block)
    due = clock.at(times[-1] + block).time_of(96 - 1 / 24)
    assert due is not None
    assert -0.005 < due - times[-1] < block + 0.005


@pytest.mark.parametrize("seed", range(5))
def test_a_burst_after_a_stall_moves_nothing(seed: int) -> None:
    """The computer stood still for 150 ms: seven clocks come at once."""
    times = jittered(steady(120, 16), 0.004, seed)
    clock = heard([])
    for i, time in enumerate(times):
        arrival = max(time, times[207] + 0.0001 * (i - 207)) if 200 <= i <= 207 else time
        clock.hear(CLOCK, arrival)
        if i >= 96:
            timeline = clock.at(arrival)
            assert timeline.tempo == pytest.approx(120, rel=0.01)
            assert timeline.position(FIRST + i / 48) == pytest.approx(i / 24, abs=0.01)


@pytest.mark.parametrize("lost", [{150}, {150, 151, 152}, {150, 1200}])
@pytest.mark.parametrize("seed", range(3))
def test_clocks_lost_on_the_way_are_made_up_for(lost: set[int], seed: int) -> None:
    times = jittered(steady(120, 54), 0.006, seed)
    clock = heard(time for i, time in enumerate(times) if i not in lost)
    timeline = clock.at(times[-1])
    assert timeline.generation == 1
    assert timeline.position(FIRST + 27.0) == pytest.approx(54.0, abs=0.01)


@pytest.mark.parametrize(("before", "after"), [(120, 90), (90, 140), (120, 126), (60, 160), (200, 60)])
def test_a_step_in_tempo_is_followed_within_a_beat(before: float, after: float) -> None:
    times = changing(lambda quarter: before if quarter <= 8 else after, 20)
    arrivals = jittered(times, 0.004, 1)
    clock = heard(arrivals[: 8 * 24 + 26])
    timeline = clock.at(arrivals[8 * 24 + 25])
    assert timeline.tempo == pytest.approx(after, rel=0.03)
    assert timeline.time_of(10.0) == pytest.approx(times[240], abs=0.02 * 60 / min(before, after))
    assert timeline.generation == 1  # a change of tempo is no jump


def test_a_ramp_is_followed_with_less_than_a_beat_of_lag() -> None:
    """From 100 to 160 within 16 quarters."""

    def tempo_at(quarter: float) -> float:
        return 100 + 60 * min(max((quarter - 8) / 16, 0), 1)

    times = changing(tempo_at, 32)
    clock = heard([])
    for i, time in enumerate(jittered(times, 0.004, 2)):
        clock.hear(CLOCK, time)
        if i >= 96:
            timeline = clock.at(time)
            assert timeline.tempo == pytest.approx(tempo_at(i / 24), abs=60 / 16 * 1.2)
            assert timeline.position(times[i]) == pytest.approx(i / 24, abs=0.03)


@pytest.mark.parametrize(("beats", "sixteenths"), [(4, 4), (3, 4), (6, 2), (7, 2), (12, 2), (5, 4)])
def test_metre_ids_are_those_that_training_saw(beats: int, sixteenths: int) -> None:
    clock = heard(steady(120, 8), HostClock(beats, sixteenths))
    timeline = clock.at(FIRST + 4.0)
    length = 0.125 * sixteenths
    grid = steady_beats(60 / length, 20.0, beats_in_bar=beats, start=FIRST)
    grid = tuple(type(beat)(beat.time, beat.number, beats, sixteenths) for beat in grid)
    times = FIRST + np.arange(0, 16, 0.0371)
    assert [timeline.metre_id(time) for time in times.tolist()] == metrical_positions(times, grid).tolist()


def test_metre_ids_agree_with_the_steady_metre() -> None:
    timeline = heard(steady(96, 8)).at(FIRST + 5.0)
    metre = steady_metre(96)
    for seconds in np.arange(0.0, 10.0, 0.043).tolist():
        assert timeline.metre_id(FIRST + seconds) == metre(seconds)


def test_the_next_beat_and_bar() -> None:
    timeline = heard(steady(120, 4)).at(FIRST + 2.0)
    assert timeline.next_beat(FIRST + 2.1) == pytest.approx(FIRST + 2.5)
    assert timeline.next_bar(FIRST + 2.1) == pytest.approx(FIRST + 4.0)
    on_it = timeline.time_of(8.0)
    assert on_it is not None
    assert timeline.next_beat(on_it) == pytest.approx(on_it)
    waltz = heard(steady(120, 4), HostClock(beats_in_bar=3)).at(FIRST + 2.0)
    assert waltz.next_bar(FIRST + 2.1) == pytest.approx(FIRST + 3.0)


@pytest.mark.parametrize(
    ("amount", "moved"), [(0.0, 2.07), (0.5, 2.035), (1.0, 2.0)], ids=["off", "half way", "onto it"]
)
def test_an_onset_is_pulled_to_the_nearest_eighth(amount: float, moved: float) -> None:
    timeline = heard(steady(120, 4)).at(FIRST + 2.0)
    assert pull_to_grid(FIRST + 2.07, amount, 0.5, timeline) == pytest.approx(FIRST + moved)


def test_where_nothing_plays_nothing_is_pulled() -> None:
    assert pull_to_grid(1.23, 1.0, 0.25, HostClock().at(0.0)) == 1.23


@pytest.mark.parametrize(("amount", "grid"), [(-0.1, 0.25), (1.1, 0.25), (0.5, 0.0), (0.5, -1.0)])
def test_a_pull_that_makes_no_sense_is_refused(amount: float, grid: float) -> None:
    with pytest.raises(ValueError, match="amount"):
        pull_to_grid(0.0, amount, grid, HostClock().at(0.0))


@given(st.floats(0, 100), st.floats(0, 1), st.sampled_from([0.25, 1 / 3, 0.5, 1.0]))
def test_a_pull_never_leads_past_the_grid_or_away_from_it(late: float, amount: float, grid: float) -> None:
    timeline = Timeline(playing=True, alive=True, tempo=120, anchor_time=FIRST)
    time = FIRST + late
    moved = pull_to_grid(time, amount, grid, timeline)
    before, after = (abs(t - FIRST - round((t - FIRST) / grid * 2) * grid / 2) for t in (time, moved))
    assert after <= before + 1e-9
    assert abs(moved - time) <= grid / 4 + 1e-9


@given(st.floats(0, 20), st.floats(0, 20))
def test_pulled_wholly_an_onset_is_on_the_grid_however_much_later_it_has_to_be(
    late: float, earliest: float
) -> None:
    timeline = Timeline(playing=True, alive=True, tempo=97, anchor_time=FIRST)
    moved = pull_to_grid(FIRST + late, 1.0, 0.25, timeline, FIRST + earliest)
    position = timeline.position(moved)
    assert position is not None
    assert position * 4 == pytest.approx(round(position * 4), abs=1e-5)
    assert moved >= FIRST + earliest - 1e-5
    assert moved - FIRST <= max(late, earliest) + 15 / 97 + 1e-9


MESSAGES = st.one_of(
    st.sampled_from([CLOCK, CLOCK, CLOCK, START, CONTINUE, STOP, b"\xfe", b"\xff", b"\x90\x3c\x40"]),
    st.integers(0, 16383).map(song_position),
    st.binary(max_size=5),
    st.lists(st.integers(-300, 300), max_size=4),
)
STEPS = st.one_of(st.floats(0, 0.05), st.floats(-0.1, 20), st.floats())


@given(st.lists(st.tuples(MESSAGES, STEPS, st.integers(1, 30)), max_size=40), st.floats(0, 1e9))
def test_no_bytes_whatever_raise_and_what_is_told_makes_sense(
    script: list[tuple[bytes | list[int], float, int]], start: float
) -> None:
    clock, time, generation = HostClock(), start, 0
    for message, step, times in script:
        for _ in range(times):
            clock.hear(message, time + step)
            if -1e12 < time + step < 1e12:
                time = max(time, time + step)
            timeline = clock.at(time)
            assert timeline.generation >= generation
            generation = timeline.generation
            assert timeline.tempo is None or 7.9 < timeline.tempo < 1001
            assert 0 <= timeline.metre_id(time) < METRE_SIZE
            position, beat, bar = timeline.position(time), timeline.next_beat(time), timeline.next_bar(time)
            assert (position is None) == (timeline.playing and timeline.tempo is None)
            if beat is not None and bar is not None:
                assert time - 1e-3 <= beat <= bar + 1e-3
