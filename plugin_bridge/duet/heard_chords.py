"""The chords that were heard, ten bytes each: a duet may go on for days. One thread appends, any may read."""

from __future__ import annotations

from array import array

from plugin_bridge.music.chords import Chord
from plugin_bridge.music.clip import ChordSpan

KEPT = 4096
"""As many are kept, the latest: more than two hours of them."""


class HeardChords:
    """A series of chords, each from its start on until the next; `len` counts the forgotten ones too."""

    def __init__(self) -> None:
        self._rows = 0, array("d"), array("H")  # how many were forgotten; starts and codes of the others
        self._chords: list[Chord | None] = []
        self._code_of: dict[Chord | None, int] = {}

    def append(self, span: ChordSpan) -> None:
        """One more, which begins after all others."""
        code = self._code_of.setdefault(span.chord, len(self._chords))
        if code == len(self._chords):
            self._chords.append(span.chord)
        forgotten, starts, codes = self._rows
        codes.append(code)
        starts.append(span.start)
        if len(starts) >= 2 * KEPT:
            self._rows = forgotten + KEPT, starts[KEPT:], codes[KEPT:]  # at once, for those that read

    def __len__(self) -> int:
        forgotten, starts, _ = self._rows
        return forgotten + len(starts)

    @property
    def latest(self) -> Chord | None:
        """The last one, None where there is none."""
        codes = self._rows[2]
        return self._chords[codes[-1]] if codes else None

    def since(self, count: int) -> tuple[tuple[ChordSpan, ...], int]:
        """Those after the first `count` of all, as far as they are kept, and how many there are now."""
        forgotten, starts, codes = self._rows
        first = max(count - forgotten, 0)
        rows = zip(starts[first:], codes[first:], strict=False)
        spans = tuple(ChordSpan(start, self._chords[code]) for start, code in rows)
        return spans, max(count, forgotten + first + len(spans))
