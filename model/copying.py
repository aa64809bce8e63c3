"""How much a melody or a clip repeats of the training pieces, note for note.

Music is read as steps from note to note: (interval in semitones, time from onset to onset). Intervals
make a transposed copy a copy. Onsets at most 20 ms apart are one chord, read from its lowest note up, so
that a strum is no difference; times are put into steps of 30 ms, up to 2 s. Since two times a
hundredth apart can fall on two sides of a step's edge, everything is read twice, with the edges moved by
10 ms, and the longer run counts. A copy at another tempo is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.uint64]
"""uint64 [N - 1]: the steps between N notes, each interval and time in one number."""

_CHORD_TICKS, _STEP_TICKS, _LONGEST_TICKS = 2, 3, 200
_PHASES = (0, 1)
_END_OF_PIECE, _END_OF_EXCERPT = np.uint64(2**63), np.uint64(2**63 + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Notes in the order of their onsets: `ticks` (10 ms) and `pitches`, int64 [N] each."""

    ticks: NDArray[np.int64]
    pitches: NDArray[np.int64]


def steps(line: Line, phase: int = 0) -> Steps:
    """A line as steps; `phase` moves the edges between times, in ticks."""
    order = np.argsort(line.ticks, kind="stable")
    ticks, pitches = line.ticks[order], line.pitches[order]
    begins = np.diff(ticks, prepend=-_LONGEST_TICKS) > _CHORD_TICKS
    onset = ticks[np.maximum.accumulate(np.where(begins, np.arange(len(ticks)), 0))]
    order = np.lexsort((pitches, onset))
    gaps = np.minimum(np.diff(onset[order]), _LONGEST_TICKS)
    intervals = np.diff(pitches[order]) + 128
    result: Steps = (((gaps + phase) // _STEP_TICKS) * 256 + intervals).astype(np.uint64)
    return result


def longest_copies(excerpts: Sequence[Line], pieces: Iterable[Line]) -> NDArray[np.int64]:
    """For each excerpt the number of notes in its longest run that is in one of the pieces, int64 [E].

    A lone note is no copy: an excerpt without a shared step has 0.
    """
    known = list(pieces)
    longest = np.zeros(len(excerpts), np.int64)
    for phase in _PHASES:
        runs = longest_runs([steps(line, phase) for line in excerpts], [steps(line, phase) for line in known])
        longest = np.maximum(longest, np.where(runs > 0, runs + 1, 0))
    return longest


def longest_runs(excerpts: Sequence[Steps], pieces: Sequence[Steps]) -> NDArray[np.int64]:
    """For each excerpt the length of its longest run of steps that one of the pieces has too, int64 [E].

    All runs are followed at once, a step longer each time; a place that has no partner for its first L
    steps has none for L + 1, so the search narrows quickly. Runs are compared by 64-bit hashes.
    """
    wanted, known = _joined(excerpts, _END_OF_EXCERPT), _joined(pieces, _END_OF_PIECE)
    owner = np.repeat(np.arange(len(excerpts)), [len(each) + 1 for each in excerpts])
    longest = np.zeros(len(excerpts), np.int64)
    here, there = np.arange(len(wanted)), np.arange(len(known))
    my_hash, their_hash = np.zeros(len(here), np.uint64), np.zeros(len(there), np.uint64)
    length = 0
    while len(here) and len(there):
        here, my_hash = _extended(wanted, here, my_hash, length)
        there, their_hash = _extended(known, there, their_hash, length)
        shared = _member(their_hash, my_hash)
        there, their_hash = there[shared], their_hash[shared]
        shared = _member(my_hash, their_hash)
        here, my_hash = here[shared], my_hash[shared]
        length += 1
        longest[owner[here]] = length
    return longest


def _joined(lines: Sequence[Steps], end: np.uint64) -> Steps:
    """Lines one after the other, each followed by `end`, which is in no other set of lines."""
    mark = np.array([end], np.uint64)
    return np.concatenate([part for line in lines for part in (line, mark)] or [mark[:0]])


def _extended(
    line: Steps, starts: NDArray[np.int64], hashes: NDArray[np.uint64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Runs of `length` steps from `starts` made one longer, where the line goes on."""
    inside = starts + length < len(line)
    starts = starts[inside]
    return starts, _mixed(hashes[inside] * np.uint64(0x9E3779B97F4A7C15) + line[starts + length])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on every other."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _member(values: NDArray[np.uint64], of: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `values` are in `of`."""
    if not len(of):
        return np.zeros(len(values), bool)
    keys = np.unique(of)
    found: NDArray[np.bool_] = keys[np.minimum(np.searchsorted(keys, values), len(keys) - 1)] == values
    return found
