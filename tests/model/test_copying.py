"""Copies: found in any key and with a hand's unevenness, never across two pieces, as long as they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.copying import Line, longest_copies, longest_runs, steps


def line(ticks, pitches):
    return Line(np.array(ticks, np.int64), np.array(pitches, np.int64))


def tune(seed, notes=40):
    """A line of even notes a fifth of a second apart, with pitches that nothing else has."""
    rng = np.random.default_rng(seed)
    return line(np.arange(notes) * 21, rng.integers(40, 90, notes))


def slow_longest_run(one, other):
    """The longest common run by the textbook's table."""
    best, above = 0, [0] * (len(other) + 1)
    for symbol in one:
        row = [0] * (len(other) + 1)
        for j, candidate in enumerate(other):
            row[j + 1] = above[j] + 1 if symbol == candidate else 0
        best, above = max(best, *row), row
    return best


symbols = st.lists(st.integers(0, 2), max_size=14).map(lambda each: np.array(each, np.uint64))


@given(st.lists(symbols, max_size=4), st.lists(symbols, max_size=4))
def test_runs_equal_the_table_of_the_textbook(excerpts, pieces):
    expected = [max((slow_longest_run(e, p) for p in pieces), default=0) for e in excerpts]
    assert longest_runs(excerpts, pieces).tolist() == expected


def test_a_passage_in_another_key_is_a_copy_of_as_many_notes():
    piece = tune(1)
    copied = line(piece.ticks[10:22] - piece.ticks[10], piece.pitches[10:22] + 5)
    assert longest_copies([copied], [tune(2), piece]).tolist() == [12]


def test_a_copy_between_other_notes_is_measured_by_itself():
    piece, other = tune(1), tune(3)
    pitches = np.concatenate((other.pitches[:8], piece.pitches[10:20], other.pitches[20:28]))
    (found,) = longest_copies([line(np.arange(len(pitches)) * 21, pitches)], [piece])
    assert 10 <= found <= 12  # a step to or from the other notes may happen to be in the piece


def test_a_passage_played_a_hundredth_late_here_and_there_is_still_a_copy():
    piece = line([0, 20, 40, 60, 80, 100, 120], [60, 64, 67, 72, 65, 61, 70])  # gaps of 20: next to an edge
    uneven = line([0, 21, 42, 62, 83, 104, 124], piece.pitches)
    assert longest_copies([uneven], [piece]).tolist() == [7]


def test_a_strummed_chord_is_the_same_chord():
    together = line([0, 0, 0, 50, 50, 50], [60, 64, 67, 65, 69, 72])
    strummed = line([0, 1, 2, 50, 51, 52], [67, 64, 60, 72, 69, 65])
    assert steps(strummed).tolist() == steps(together).tolist()


def test_the_same_pitches_in_another_rhythm_are_no_copy():
    piece = tune(1, notes=12)
    slower = line(piece.ticks * 3, piece.pitches)
    assert longest_copies([slower], [piece]).tolist() == [0]


def test_no_copy_reaches_from_one_piece_into_the_next():
    whole = tune(1, notes=20)
    halves = [line(whole.ticks[:10], whole.pitches[:10]), line(whole.ticks[10:], whole.pitches[10:])]
    assert longest_copies([whole], halves).tolist() == [10]


def test_each_excerpt_has_its_own_longest_run():
    piece = tune(1)
    short, long = (line(piece.ticks[:n], piece.pitches[:n]) for n in (4, 30))
    assert longest_copies([short, line([], []), long, line([5], [60])], [piece]).tolist() == [4, 0, 30, 0]


def test_without_training_pieces_nothing_is_a_copy():
    assert longest_copies([tune(1)], []).tolist() == [0]
