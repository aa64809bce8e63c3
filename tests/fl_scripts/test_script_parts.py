"""The script's parts by themselves: runs of the transport, knobs, held notes."""

from __future__ import annotations

import importlib.util
import random
from types import ModuleType
from typing import Any

import pytest
from fakes.fl_host import SCRIPT
from hypothesis import given
from hypothesis import strategies as st


def part(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUNS, KNOBS, NOTES = part("bridge_runs"), part("bridge_knobs"), part("bridge_notes")


class Song:
    """A transport that is looked at: 96 ticks a quarter note."""

    def __init__(self, tempo: float = 120.0) -> None:
        self.runs: Any = RUNS.Runs()
        self.time, self.position, self.tempo = 0.0, 0.0, tempo
        self.look(True)

    def look(self, playing: bool = True) -> int:
        self.runs.observe(self.time, playing, int(self.position), int(self.tempo * 1000), 96)
        return int(self.runs.number)

    def go(self, seconds: float, step: float = 0.02) -> int:
        for _ in range(round(seconds / step)):
            self.time += step
            self.position += step * self.tempo * 96 / 60
            self.look()
        return int(self.runs.number)


def test_starting_is_a_run_and_playing_on_is_the_same_one() -> None:
    song = Song()
    assert song.go(600.0) == 1
    song.look(playing=False)
    assert song.look() == 2


def test_an_idle_loop_that_is_not_punctual_makes_no_run() -> None:
    song, chance = Song(), random.Random(1)
    for _ in range(5000):
        song.go(0.02 + chance.uniform(-0.015, 0.3), step=0.001 * chance.randint(1, 400))
    assert song.runs.number == 1


@pytest.mark.parametrize("ticks", [-1, -4, -96, 24, 96, 5000])
def test_a_jump_is_a_new_run_and_going_back_by_a_tick_is_one(ticks: int) -> None:
    song = Song()
    song.go(3.0)
    song.time += 0.001
    song.position += ticks
    assert song.look() == 2
    assert song.go(3.0) == 2


def test_an_engine_that_stands_still_for_a_moment_makes_a_new_run() -> None:
    song = Song()
    song.go(3.0)
    for _ in range(5):
        song.time += 0.02
        song.look()
    assert song.runs.number > 1


def test_after_half_a_second_in_which_nobody_looked_it_is_another_run() -> None:
    song = Song()
    song.go(3.0)
    song.go(0.45, step=0.45)
    assert song.runs.number == 1
    song.go(0.55, step=0.55)
    assert song.runs.number == 2


def test_tempo_changes_make_no_run() -> None:
    song = Song()
    for tempo in (60.0, 180.0, 97.0, 140.0):
        song.tempo = tempo
        assert song.go(2.0) == 1


def test_runs_are_counted_modulo_128() -> None:
    song = Song()
    for _ in range(127):
        song.look(playing=False)
        song.look()
    assert song.runs.number == 0


def test_a_knob_that_sweeps_is_reported_where_it_is() -> None:
    knobs = KNOBS.Knobs()
    for value in range(64):
        knobs.turned(0, 21, value)
    assert knobs.report(0.0) == (1, bytes((0, 21, 63)))


def test_reports_repeat_the_last_moves_for_a_while_and_then_end() -> None:
    knobs = KNOBS.Knobs()
    for number in range(5):
        knobs.turned(0, number, 1)
    reports = [knobs.report(0.02 * index) for index in range(4)]
    assert [count for count, _ in reports] == [2, 4, 5, 5]
    assert [len(moves) // 3 for _, moves in reports] == [2, 4, 4, 4]
    assert knobs.report(0.5) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 127), st.integers(0, 2)), max_size=300))
def test_whatever_is_turned_every_knob_ends_where_it_was_left_and_presses_are_not_lost(
    turns: list[tuple[int, int, int]],
) -> None:
    knobs, told, last, time = KNOBS.Knobs(), {}, 0, 0.0
    left: dict[int, int] = {}
    crossings: dict[int, list[bool]] = {}
    heard: dict[int, list[bool]] = {}

    def take() -> None:
        nonlocal last, time
        time += 0.02
        report = knobs.report(time)
        if report is None:
            return
        count, moves = report
        new = count - last
        for at in range(max(0, len(moves) - 3 * new), len(moves), 3):
            told[moves[at + 1]] = moves[at + 2]
            side = heard.setdefault(moves[at + 1], [])
            if not side or side[-1] is not (moves[at + 2] >= 64):
                side.append(moves[at + 2] >= 64)
        last = count

    for number, value, reports in turns[:60]:
        knobs.turned(0, number, value)
        left[number] = value
        side = crossings.setdefault(number, [])
        if not side or side[-1] is not (value >= 64):
            side.append(value >= 64)
        for _ in range(reports):
            take()
    for _ in range(70):
        take()
    assert told == left
    assert heard == crossings


def test_knobs_that_nobody_asks_for_are_not_hoarded() -> None:
    knobs = KNOBS.Knobs()
    for index in range(5000):
        knobs.turned(index % 16, index % 100, 127 * (index % 2))
    assert len(knobs._waiting) <= KNOBS.MOST_WAITING


def test_notes_are_released_where_they_were_struck_and_once() -> None:
    notes, offs = NOTES.HeldNotes(), []
    notes.struck(1, 60)
    notes.struck(2, 60)
    notes.struck(1, 64)
    notes.released(64)
    assert notes.owe_all() == 2
    assert notes.pay(lambda channel, note: offs.append((channel, note)) or True) == 2
    assert notes.pay(lambda channel, note: offs.append((channel, note)) or True) == 0
    assert offs == [(1, 60), (2, 60)]
    assert len(notes) == 0


def test_what_cannot_be_released_now_stays_owed() -> None:
    notes, offs = NOTES.HeldNotes(), []
    for note in range(40, 44):
        notes.struck(0, note)
    notes.owe_all()
    assert notes.pay(lambda channel, note: note < 42 and not offs.append(note)) == 2
    assert notes.pay(lambda channel, note: False) == 0
    assert notes.pay(lambda channel, note: not offs.append(note)) == 2
    assert offs == [40, 41, 42, 43]


def test_no_more_are_released_at_a_time_than_asked_for_and_the_first_come_first() -> None:
    notes, offs = NOTES.HeldNotes(), []
    for note in range(5):
        notes.struck(0, note)
    notes.owe_all()
    counts = [notes.pay(lambda channel, note: not offs.append(note), 2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert offs == [0, 1, 2, 3, 4]
