"""Where FL Studio is, however late, rarely and unevenly its script says so."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_position import WINDOW, PositionLine

BUFFER, TICKS = 512 / 44100, 96
MOST_LATE = BUFFER + 60 / 70 / TICKS  # a buffer and a tick, at the slowest tempo here


@dataclass
class Song:
    """FL as its script sees it: in steps of a buffer, in whole ticks, and told after `way` seconds."""

    tempo: float = 97.0
    time: float = 1000.0
    position: float = 0.0
    way: float = 0.0

    def go(self, seconds: float, tempo: float | None = None, after: float = 0.0) -> None:
        """`seconds` pass; `after` a while of them the tempo changes."""
        self.position += (after * self.tempo + (seconds - after) * (tempo or self.tempo)) / 60
        self.time, self.tempo = self.time + seconds, tempo or self.tempo

    def seen(self) -> float:
        position = self.position - self.time % BUFFER * self.tempo / 60
        return int(position * TICKS // 1) / TICKS

    def report(self, line: PositionLine, held_up: float = 0.0) -> None:
        line.report(self.time + self.way + held_up, self.seen(), self.tempo)

    def begin(self) -> PositionLine:
        return PositionLine(self.time + self.way, self.seen(), self.tempo)

    def error(self, line: PositionLine) -> float:
        """Seconds by which `line` is ahead of the song."""
        return (line.at(self.time) - self.position) * 60 / self.tempo


tempos = st.floats(70, 160)
phases = st.floats(0, BUFFER)
seeds = st.integers(0, 2**32)


@given(tempos, phases)
def test_the_first_report_is_right_within_half_of_what_it_can_be_late(tempo: float, phase: float) -> None:
    song = Song(tempo, 1000 + phase, 7.3)
    assert abs(song.error(song.begin())) <= MOST_LATE / 2 + 0.002


@given(tempos, phases, seeds)
def test_after_a_second_the_place_is_known_within_a_few_milliseconds(
    tempo: float, phase: float, seed: int
) -> None:
    chance = random.Random(seed)
    song = Song(tempo, 1000 + phase)
    line = song.begin()
    for _ in range(50):
        song.go(chance.uniform(0.019, 0.024))
        song.report(line)
    assert abs(song.error(line)) < 0.008  # not half of MOST_LATE, even where ticks and reports keep step


@given(tempos, seeds)
def test_reports_that_are_held_up_mislead_nobody(tempo: float, seed: int) -> None:
    chance = random.Random(seed)
    song = Song(tempo)
    line = song.begin()
    for index in range(100):
        song.go(0.02 + chance.uniform(0, 0.002))
        held_up = chance.uniform(0.03, 0.08)
        if chance.random() < 0.15 and index > 12:
            line.report(song.time + held_up, song.seen(), song.tempo)
            song.go(held_up)
        else:
            song.report(line)
    assert abs(song.error(line)) < 0.009


@given(tempos, tempos, st.floats(0, 0.02), seeds)
@example(100.0, 84.0, 0.0078125, 255)
@example(102.10239391767067, 83.6922681146225, 0.013431366671586328, 864963)
def test_a_change_of_tempo_costs_no_more_than_the_time_in_which_it_may_have_come(
    before: float, after: float, when: float, seed: int
) -> None:
    chance = random.Random(seed)
    song = Song(before, 1000 + chance.uniform(0, BUFFER))
    line = song.begin()
    for _ in range(100):
        song.go(0.02 + chance.uniform(0, 0.002))
        song.report(line)
    song.go(0.02, tempo=after, after=when)
    song.report(line)
    assert abs(song.error(line)) < 0.005 + 0.01 * abs(after - before) / after + 0.002
    for _ in range(25):
        song.go(0.02 + chance.uniform(0, 0.002))
        song.report(line)
    assert abs(song.error(line)) < 0.009


@given(st.lists(tempos, min_size=2, max_size=60), seeds)
def test_a_tempo_that_never_rests_is_followed(tempos: list[float], seed: int) -> None:
    chance = random.Random(seed)
    song = Song(tempos[0])
    line = song.begin()
    for tempo in tempos:
        song.go(0.02, tempo, chance.uniform(0, 0.02))
        song.report(line)
        assert abs(song.error(line)) < 2 * MOST_LATE


@given(tempos, st.floats(0.0, 0.05))
def test_a_constant_way_is_seen_as_that_and_nothing_else(tempo: float, way: float) -> None:
    near, far = Song(tempo), Song(tempo, way=way)
    lines = near.begin(), far.begin()
    for _ in range(100):
        for song, line in zip((near, far), lines, strict=True):
            song.go(0.0207)
            song.report(line)
    assert near.error(lines[0]) - far.error(lines[1]) == pytest.approx(way, abs=1e-6)


def test_a_loop_takes_no_time() -> None:
    song = Song()
    line = song.begin()
    for _ in range(60):
        song.go(0.021)
        song.report(line)
    before = song.error(line)
    song.position -= 8
    line.move(-8)
    assert song.error(line) == pytest.approx(before, abs=1e-9)


def test_what_is_kept_is_bounded() -> None:
    song = Song()
    line = song.begin()
    for _ in range(5000):
        song.go(0.001)
        song.report(line)
    assert len(line._late) <= 256
    assert line.time - line._late[0][0] <= WINDOW
