"""How well the beat is found from the notes alone, on MIDI files with annotated beats.

    python tools/score_beats.py FILE.mid ... [--track MELODY] [--confidence C] [--json]

Each file needs a `.beats.txt` beside it, a beat a line, seconds first. The notes are played to the tracker
in order, and a beat counts as told when its time comes: nothing is told that was found out later. Told and
annotated beats agree within 70 ms, beats of the first five seconds do not count, and the F-measure is that
of mir_eval (Raffel et al., "mir_eval: a transparent implementation of common MIR metrics", ISMIR 2014),
which follows Davies, Degara and Plumbley ("Evaluation methods for musical audio beat tracking algorithms",
2009). Beside it: the best F-measure when beats at half or double the tempo count as well (`octave`), that
against the moments half way between beats (`offbeat`), the share of told beats that were right, and the
share of the annotated time in which there was a beat. Needs mir_eval.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
from mir_eval.util import match_events

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.beat_tracking import LEAST_CONFIDENCE, BeatTracker
from plugin_bridge.music.midi_file import read_midi

WINDOW = 0.07
SKIPPED = 5.0
CHORD = 0.035


@dataclass(frozen=True, slots=True)
class Score:
    """Of one file, or the mean of several; all but `onset_us` (microseconds a note) are shares."""

    f: float
    octave: float
    offbeat: float
    right: float
    told: float
    onset_us: float


def main(arguments: list[str] | None = None) -> int:
    """Score the files; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="MIDI files with a .beats.txt beside each")
    parser.add_argument("--track", help="only tracks whose name this regular expression finds")
    parser.add_argument(
        "--confidence", type=float, default=LEAST_CONFIDENCE, help="below it there is no beat"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    try:
        scores = {str(path): score(path, options.track, options.confidence) for path in options.files}
    except BridgeError as error:
        print(f"score_beats: error: {error}", file=sys.stderr)
        return 2
    mean = Score(*(fmean(getattr(each, field.name) for each in scores.values()) for field in fields(Score)))
    if options.json:
        print(
            json.dumps({"files": {p: asdict(s) for p, s in scores.items()}, "mean": asdict(mean)}, indent=2)
        )
        return 0
    print("     f  octave  offbeat  right   told  us/note")
    for name, each in [*scores.items(), (f"mean of {len(scores)}", mean)]:
        print(
            f"{each.f:6.3f}  {each.octave:6.3f}  {each.offbeat:7.3f}  {each.right:5.3f}  {each.told:5.3f}"
            f"  {each.onset_us:7.0f}  {name}"
        )
    return 0


def score(path: Path, track: str | None, confidence: float) -> Score:
    """The score on one file. BridgeError when it or its beats cannot be used."""
    tracks = [t for t in read_midi(path).tracks if not t.is_drums and re.search(track or "", t.name, re.I)]
    onsets = sorted((note.start, note.velocity) for t in tracks for note in t.notes)
    if not onsets:
        raise BridgeError(
            f"{path}: has no notes in tracks called {track!r}" if track else f"{path}: no notes"
        )
    truth = _annotated(path.with_suffix(".beats.txt"))
    truth = [beat for beat in truth if onsets[0][0] - WINDOW <= beat <= onsets[-1][0] + WINDOW]
    began = time.perf_counter()
    told, covered = beats_told(onsets, confidence)
    seconds = time.perf_counter() - began
    between = [(a + b) / 2 for a, b in pairwise(truth)]
    f, right = f_measure(truth, told)
    levels = (sorted(truth + between), truth[::2], truth[1::2])
    return Score(
        f=f,
        octave=max(f, *(f_measure(level, told)[0] for level in levels)),
        offbeat=f_measure(between, told)[0],
        right=right,
        told=covered,
        onset_us=1e6 * seconds / len(onsets),
    )


def beats_told(onsets: Sequence[tuple[float, int]], confidence: float) -> tuple[list[float], float]:
    """The beats told while `onsets` (seconds, velocity) are played, and the share of that time in which
    there was a beat."""
    tracker = BeatTracker(confidence)
    told: list[float] = []
    covered = 0.0
    for (onset, velocity), (following, _) in pairwise(onsets):
        tracker.hear(onset, velocity)
        if following - onset < CHORD:
            continue
        estimate = tracker.at(onset)
        if estimate.tempo is None:
            continue
        covered += following - onset
        # a beat that this note was meant to be may have come just before it
        beat = estimate.next_beat(onset - CHORD)
        while beat is not None and beat < following - CHORD:
            if not told or beat - told[-1] > 30 / estimate.tempo:
                told.append(beat)
            beat = estimate.next_beat(beat + 1e-3) if tracker.at(beat).tempo else None
    return told, covered / max(onsets[-1][0] - onsets[0][0], 1e-9)


def f_measure(truth: Sequence[float], told: Sequence[float]) -> tuple[float, float]:
    """F-measure, and the share of `told` that is right. Each beat is matched once, within `WINDOW`."""
    truth, told = ([beat for beat in beats if beat >= SKIPPED] for beats in (truth, told))
    hits = len(match_events(np.array(truth), np.array(told), WINDOW)) if truth and told else 0
    return 2 * hits / max(len(truth) + len(told), 1), hits / max(len(told), 1)


def _annotated(path: Path) -> list[float]:
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise BridgeError(f"{path}: cannot be read as beats ({error})") from error
    return [float(beat) for beat in table[:, 0]] if table.size else []


if __name__ == "__main__":
    sys.exit(main())
