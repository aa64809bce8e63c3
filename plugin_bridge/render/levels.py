"""Levels of rendered sound: peaks, clipping, and notes that should be heard but are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from plugin_bridge.music.clip import Clip
from plugin_bridge.render.piano import Audio

FRAME_SECONDS = 0.05
SILENCE_DBFS = -60.0


@dataclass(frozen=True, slots=True)
class AudioReport:
    """What was measured. `peak_dbfs` is -inf for pure silence; `silent_note_fraction` is 0 without notes."""

    peak_dbfs: float
    clipped_samples: int
    silent_note_fraction: float
    seconds: float

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON, which has no infinity: silence has a peak of None."""
        values = asdict(self)
        return values | {"peak_dbfs": self.peak_dbfs if np.isfinite(self.peak_dbfs) else None}


class Meter:
    """Measures sound block by block, so that an hour needs no more memory than a minute."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._frame = max(1, round(FRAME_SECONDS * sample_rate))
        self._rest: npt.NDArray[np.float64] = np.zeros(0)
        self._powers: list[npt.NDArray[np.float64]] = []
        self._peak = 0.0
        self._clipped = 0
        self._samples = 0

    def feed(self, block: Audio) -> None:
        """Take the next `block`, float [2, samples]."""
        if block.shape[1] == 0:
            return
        level = np.abs(block)
        self._peak = max(self._peak, float(level.max()))
        self._clipped += int(np.count_nonzero(level > 1.0))
        self._samples += block.shape[1]
        power = np.concatenate([self._rest, np.square(block, dtype=np.float64).mean(axis=0)])
        whole = len(power) // self._frame * self._frame
        self._powers.append(power[:whole].reshape(-1, self._frame).mean(axis=1))
        self._rest = power[whole:]

    @property
    def peak(self) -> float:
        """The largest magnitude so far, 1.0 at full scale."""
        return self._peak

    def report(self, clip: Clip) -> AudioReport:
        """What was fed so far, against the notes of `clip`.

        A note counts as silent when no frame of 50 ms that touches it lies above -60 dBFS (RMS over both
        channels); all that sounds counts, so a note under louder ones passes.
        """
        rest = [self._rest.mean(keepdims=True)] if len(self._rest) else []
        power = np.concatenate([*self._powers, *rest]) if self._powers or rest else np.zeros(0)
        audible = power > 10 ** (SILENCE_DBFS / 10)
        heard_before = np.concatenate([[0], np.cumsum(audible)])
        notes = [note for note in clip.notes if note.end > note.start]
        silent = 0
        for note in notes:
            first = min(int(note.start * self._rate / self._frame), len(audible))
            last = min(int(note.end * self._rate / self._frame) + 1, len(audible))
            silent += int(heard_before[last] == heard_before[first])
        return AudioReport(
            peak_dbfs=float(20 * np.log10(self._peak)) if self._peak > 0 else -np.inf,
            clipped_samples=self._clipped,
            silent_note_fraction=silent / len(notes) if notes else 0.0,
            seconds=self._samples / self._rate,
        )


def measure(audio: Audio | Iterable[Audio], clip: Clip, sample_rate: int) -> AudioReport:
    """The levels of `audio` (float [2, samples], or blocks of it) that was rendered from `clip`."""
    meter = Meter(sample_rate)
    for block in [audio] if isinstance(audio, np.ndarray) else audio:
        meter.feed(block)
    return meter.report(clip)
