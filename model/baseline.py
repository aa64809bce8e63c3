"""The n-gram baseline for one set of excerpts: the same numbers as `WittenBell.train`, in little memory.

A history that is in no excerpt is never looked up. Counting only what follows the excerpts' own histories
gives every probability exactly, and the training pieces can come in all twelve keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.dataset import Source, Variation, View, build
from model.ngram import WittenBell, _find, _mask, _pack, _run_starts, _Table
from plugin_bridge.music import vocabulary as v

_CHUNK = 2_000_000
_TABLE_BITS = 20  # up to it a table of all there could be is quicker than sorting and searching
_LOWEST_KEY, _HIGHEST_KEY = -5, 6

Tokens = NDArray[np.uint16]

AS_WRITTEN, ALL_KEYS = "as written", "all 12 keys"

OnProgress = Callable[[str, float], None]
"""Told what is being done and the share of it that is done, 0 to 1."""


def ngram_nats(
    wanted: Sequence[Tokens],
    training: Iterable[Source],
    view: View,
    order: int,
    *,
    all_keys: bool,
    tell: OnProgress,
) -> dict[str, list[NDArray[np.float64]]]:
    """Nats of each token of `wanted` by n-grams of orders 1 to `order`, [order, T] a stream, for each kind of
    training: pieces as they were written, and (`all_keys`) in twelve keys. Empty without training pieces
    for the view."""
    tell(f"counting {view} n-grams", 0.0)
    streams = list(training_streams(training, view))
    result: dict[str, list[NDArray[np.float64]]] = {}
    for kind, keys in ((AS_WRITTEN, 1), (ALL_KEYS, 12)):
        if not streams or (kind == ALL_KEYS and not all_keys):
            continue
        whole, read = keys * sum(map(len, streams)), 0

        def count(tokens: int, stage: str = f"counting {view} n-grams, {kind}", whole: int = whole) -> None:
            nonlocal read
            read += tokens
            tell(stage, min(read / max(whole, 1), 1.0))

        grams = train_for(wanted, streams if keys == 1 else in_all_keys(streams), order, count)
        result[kind] = [-grams.log_probabilities(stream).astype(np.float64) for stream in wanted]
    return result


def training_streams(sources: Iterable[Source], view: View) -> Iterator[Tokens]:
    """The training pieces as token streams in a view, without bos and eos."""
    for piece in sources:
        if view == "solo" or piece.dealt != "solo":
            yield build(piece, Variation(view)).tokens[1:-1]


def in_all_keys(streams: Iterable[Tokens]) -> Iterator[Tokens]:
    """Each stream in twelve keys, from 5 semitones lower to 6 higher; where that leads off the keyboard, in
    the same key an octave away."""
    for stream in streams:
        is_note = (stream >= v.NOTE_ON_BASE) & (stream < v.SHIFT_BASE)
        pitches = (stream[is_note].astype(np.int64) - v.NOTE_ON_BASE) % 128
        low, high = (int(pitches.min()), int(pitches.max())) if len(pitches) else (0, 0)
        for key in range(_LOWEST_KEY, _HIGHEST_KEY + 1):
            for semitones in (key, key - 12, key + 12):
                if low + semitones >= 0 and high + semitones <= 127:
                    yield (stream.astype(np.int64) + semitones * is_note).astype(np.uint16)
                    break


def train_for(
    wanted: Sequence[Tokens], streams: Iterable[Tokens], order: int, progress: Callable[[int], None]
) -> WittenBell:
    """A Witten-Bell model of `streams` that gives the tokens of the streams `wanted` the probabilities of
    `WittenBell.train(streams, ...)`, and is of no use for others. `progress` is told the tokens read."""
    bits = np.uint64(v.SIZE.bit_length())
    scored = _pack(wanted, v.SIZE, order)
    histories = [np.unique((scored & _mask(k, v.SIZE)) >> bits) for k in range(1, order + 1)]
    empty = (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    counts = [empty] * order
    for chunk in _chunks(streams):
        grams = _pack(chunk, v.SIZE, order)
        progress(len(grams))
        for index, known in enumerate(histories):
            # a longer history that is wanted ends in a shorter one that is: the search narrows
            grams = grams[_is_in(known, (grams & _mask(index + 1, v.SIZE)) >> bits, int(bits) * index)]
            found = _counted(grams & _mask(index + 1, v.SIZE), int(bits) * (index + 1))
            counts[index] = _merged(counts[index], found)
    return WittenBell(v.SIZE, order, tuple(_table(*each, bits) for each in counts))


def _chunks(streams: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    chunk: list[Tokens] = []
    size = 0
    for stream in streams:
        chunk.append(stream)
        size += len(stream)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _is_in(known: NDArray[np.uint64], histories: NDArray[np.uint64], width: int) -> NDArray[np.bool_]:
    """Which of `histories`, of `width` bits, are in `known`, which is sorted."""
    if width > _TABLE_BITS:
        found: NDArray[np.bool_] = _find(known, histories)[1]
    else:
        table = np.zeros(1 << width, np.bool_)
        table[known.astype(np.int64)] = True
        found = table[histories.astype(np.int64)]
    return found


def _counted(grams: NDArray[np.uint64], width: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct k-grams of `width` bits, sorted, and how often each is there."""
    if width > _TABLE_BITS:
        return np.unique(grams, return_counts=True)
    counts = np.bincount(grams.astype(np.int64), minlength=1)
    present = np.flatnonzero(counts)
    return present.astype(np.uint64), counts[present]


def _merged(
    one: tuple[NDArray[np.uint64], NDArray[np.int64]], other: tuple[NDArray[np.uint64], NDArray[Any]]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Two sorted sets of k-grams with their counts as one."""
    grams, counts = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    order = np.argsort(grams, kind="stable")
    grams, counts = grams[order], counts[order]
    first = _run_starts(grams)
    return grams[first], np.add.reduceat(counts, first) if len(first) else counts


def _table(grams: NDArray[np.uint64], counts: NDArray[np.int64], bits: np.uint64) -> _Table:
    histories = grams >> bits
    first = _run_starts(histories)
    return _Table(
        grams=grams,
        gram_counts=counts,
        histories=histories[first],
        history_counts=np.add.reduceat(counts, first) if len(first) else counts,
        continuations=np.diff(first, append=len(grams)),
    )
