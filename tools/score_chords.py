"""Score chord and key detection on POP909 with the corrected chords of POP909-CL, by mir_eval.

    python tools/score_chords.py POP909_CL POP909 [--songs 100] [--half report] [--part piano] [--json]

POP909_CL is a folder (or zip) of MIDI files with a track of block chords; POP909 one of the same songs as
they were played, with NAME.beats.txt and NAME.key.txt beside them. Both have the same beats, shifted by a
constant, which is found by the notes they share; a song where fewer than 95 % of these agree is left out.
Songs come in the order of a hash of their names: the even ones were tuned on, the odd ones are reported.
`--part piano` plays the PIANO track with its pedal, `--part all` the melody and the bridge too.
Accuracies weigh by duration. Needs mir_eval.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

import mir_eval
import numpy as np
from tqdm import tqdm

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chord_detection import ChordDetector, detect_chords
from plugin_bridge.music.chords import QUALITIES, Chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note
from plugin_bridge.music.key_detection import KeyDetector, detect_key
from plugin_bridge.music.midi_file import Track, read_midi
from plugin_bridge.render.sustain import sounding_notes

GRID = 0.01  # seconds between two questions to the live detectors
_AT_CHANGE, _LINGERS = 0.05, 0.1
"""Seconds that a chord is struck before its annotation, and that a note of the one before rings on."""
HARTE = {
    "": "maj", "m": "min", "m7": "min7", "m6": "min6", "6": "maj6", "mmaj7": "minmaj7", "m7b5": "hdim7",
    "aug7": "aug(b7)", "augmaj7": "aug(7)", "7sus4": "sus4(b7)", "5": "(1,5)",
}  # fmt: skip
SCORES = {"majmin": mir_eval.chord.majmin, "sevenths": mir_eval.chord.sevenths}

Label = str | Chord | None
"""A chord, None for "no chord", "X" for notes that no quality fits."""


@dataclass(frozen=True, slots=True)
class Span:
    """`label` from `start` to `end` seconds."""

    start: float
    end: float
    label: Label


@dataclass(frozen=True, slots=True)
class Song:
    """A song as played, and what is right about it."""

    name: str
    clip: Clip
    spans: list[Span]
    key: str | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("labels", type=Path, metavar="POP909_CL")
    parser.add_argument("played", type=Path, metavar="POP909")
    parser.add_argument("--songs", type=int, default=100, help="how many, before they are halved")
    parser.add_argument("--half", choices=("tune", "report", "both"), default="report")
    parser.add_argument("--part", choices=("piano", "all"), default="piano")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        report = _report(arguments)
    except BridgeError as error:
        print(f"score_chords: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report) if arguments.json else _table(report))
    return 0


def _report(arguments: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch:
        labels = _files(arguments.labels, Path(scratch, "labels"))
        played = _files(arguments.played, Path(scratch, "played"))
        names = sorted(labels.keys() & played.keys(), key=lambda n: hashlib.sha256(n.encode()).hexdigest())
        names = names[: arguments.songs]
        names = {"tune": names[::2], "report": names[1::2], "both": names}[arguments.half]
        if not names:
            raise BridgeError(f"{arguments.labels} and {arguments.played} have no song in common")
        tally = _Tally()
        for name in tqdm(names, disable=not sys.stderr.isatty()):
            song = _song(labels[name], played[name], arguments.part)
            tally.add(song)
        if not tally.songs:
            raise BridgeError(f"{arguments.played}: no song agrees with its labels in {arguments.labels}")
        return tally.report() | {"half": arguments.half, "part": arguments.part}


def _files(source: Path, scratch: Path) -> dict[str, Path]:
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            archive.extractall(scratch)
        source = scratch
    return {path.stem: path for path in source.rglob("*.mid")}


# What was played, and what is right.


def _song(labels: Path, played: Path, part: str) -> Song | None:
    """The song, or None where its two versions do not agree."""
    right, file = read_midi(labels), read_midi(played)
    beats = _beats(played.with_suffix(".beats.txt"))
    times = np.array([beat.time for beat in beats])
    quarter = (right.beats[1].time - right.beats[0].time) * 4 / right.beats[0].sixteenths
    blocks = [track for track in right.tracks if track.name != "piano"]
    notes = [track for track in right.tracks if track.name == "piano"]
    offset = _offset(notes, file.tracks, quarter, times)
    if len(blocks) != 1 or offset is None:
        return None
    spans = [
        Span(*(_interpolated(time / quarter + offset, times) for time in (span.start, span.end)), span.label)
        for span in _labels(blocks[0])
    ]
    tracks = [track for track in file.tracks if part == "all" or track.name == "PIANO"]
    clip = Clip(
        tuple(sorted(note for track in tracks for note in track.notes)),
        tuple(sorted((p for track in tracks for p in track.pedals), key=lambda pedal: pedal.time)),
        beats=tuple(beats),
    )
    return Song(played.stem, clip, spans, _key(played.with_suffix(".key.txt")))


def _beats(path: Path) -> list[Beat]:
    """Rows of time, strong beat, first of the bar."""
    if not path.is_file():
        raise BridgeError(f"{path}: there is no such file")
    rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()]
    return [Beat(time, 0 if strong else 1, 2) for time, strong, *_ in rows]


def _key(path: Path) -> str | None:
    """The key of a song that has one."""
    if not path.is_file():
        return None
    rows = [line.split()[-1] for line in path.read_text().splitlines() if line.strip()]
    if len(rows) != 1:
        return None
    tonic, mode = rows[0].split(":")
    return f"{tonic} {'major' if mode == 'maj' else 'minor'}"


def _offset(
    ours: Sequence[Track], theirs: Sequence[Track], quarter: float, beats: np.ndarray
) -> float | None:
    """How many beats later the song as played has the same notes, where they agree on it."""
    places: tuple[dict, dict] = (defaultdict(list), defaultdict(list))
    for place, tracks in zip(places, (ours, theirs), strict=True):
        for note in sorted(note for track in tracks for note in track.notes):
            place[note.pitch, note.velocity].append(note.start)
    differences: Counter[float] = Counter()
    for key, starts in places[0].items():
        others = places[1].get(key, [])
        if len(others) == len(starts):
            for ours_at, theirs_at in zip(starts, others, strict=True):
                differences[round(4 * (_position(theirs_at, beats) - ours_at / quarter)) / 4] += 1
    if not differences:
        return None
    (offset, count), *_ = differences.most_common(1)
    agree = count > 0.95 * differences.total() and count > 0.3 * sum(map(len, places[0].values()))
    return offset if agree else None


def _position(time: float, beats: np.ndarray) -> float:
    index = int(np.clip(np.searchsorted(beats, time) - 1, 0, len(beats) - 2))
    return index + (time - beats[index]) / (beats[index + 1] - beats[index])


def _interpolated(position: float, beats: np.ndarray) -> float:
    index = int(np.clip(np.floor(position), 0, len(beats) - 2))
    return float(beats[index] + (position - index) * (beats[index + 1] - beats[index]))


def _labels(blocks: Track) -> list[Span]:
    """The chords of a track of block chords, by the notes that sound at each moment."""
    cuts = sorted({round(time, 4) for note in blocks.notes for time in (note.start, note.end)})
    spans: list[Span] = []
    for start, end in pairwise(cuts):
        label = _label(
            {note.pitch for note in blocks.notes if note.start < start + 1e-3 < end < note.end + 1e-3}
        )
        if spans and spans[-1].label == label:
            spans[-1] = Span(spans[-1].start, end, label)
        else:
            spans.append(Span(start, end, label))
    return spans


def _label(pitches: set[int]) -> Label:
    """What a block of notes is called: root position first, then simpler qualities."""
    if not pitches:
        return None
    bass, classes = min(pitches) % 12, {pitch % 12 for pitch in pitches}
    fits = [
        ((root - bass) % 12 != 0, index, Chord("C", quality).transposed(root))
        for root in classes
        for index, (quality, steps) in enumerate(QUALITIES.items())
        if {(root + step) % 12 for step in steps} == classes
    ]
    return min(fits, key=lambda fit: fit[:2])[2] if fits else "X"


# How well it was heard.


class _Tally:
    """Sums over songs."""

    def __init__(self) -> None:
        self.songs, self.left_out = 0, 0
        self.sums: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(SCORES), 2)))
        self.changes = 0
        self.late: list[float] = []
        self.after_enough: list[float] = []
        self.early = 0
        self.live_changes, self.minutes = 0, 0.0
        self.keys: list[float] = []
        self.live_keys = np.zeros(2)

    def add(self, song: Song | None) -> None:
        if song is None:
            self.left_out += 1
            return
        self.songs += 1
        live, keys = _listen(song.clip)
        for name, spans in (
            ("offline", detect_chords(song.clip)),
            ("offline, beats known", detect_chords(song.clip, song.clip.beats)),
            ("live", live),
        ):
            self.sums[name] += _scores(song.spans, spans)
        self._latencies(song, live)
        self.live_changes += len(live)
        self.minutes += song.clip.duration / 60
        if song.key is not None:
            found = detect_key(song.clip)
            self.keys.append(mir_eval.key.weighted_score(song.key, str(found)) if found else 0.0)
            right = [mir_eval.key.weighted_score(song.key, key) == 1 for key in keys]
            self.live_keys += (sum(right), len(right))

    def _latencies(self, song: Song, live: list[ChordSpan]) -> None:
        """For each change of triad: how late it was reported, after it happened and after it was struck."""
        heard = sounding_notes(song.clip, song.clip.duration)
        starts = [span.start for span in live]
        for before, span in pairwise(song.spans):
            triad = _triad(span.label)
            if triad is None or triad == _triad(before.label):
                continue
            self.changes += 1
            at = int(np.searchsorted(starts, span.start, side="right")) - 1
            reports = [max(s.start, span.start) for s in live[max(at, 0) :] if _triad(s.chord) == triad]
            if not reports or reports[0] >= span.end:
                continue
            self.late.append(reports[0] - span.start)
            self.early += reports[0] <= span.start
            complete = _complete(heard, triad, span)
            if complete is not None:
                self.after_enough.append(reports[0] - complete)

    def report(self) -> dict[str, object]:
        return {
            "songs": self.songs,
            "left_out": self.left_out,
            "accuracy": {
                how: {
                    score: round(float(right / total), 4)
                    for score, (right, total) in zip(SCORES, sums, strict=True)
                }
                for how, sums in self.sums.items()
            },
            "changes": self.changes,
            "changes_detected": round(len(self.late) / max(self.changes, 1), 4),
            "already_reported": round(self.early / max(self.changes, 1), 4),
            "latency_ms": _quantiles(self.late),
            "latency_after_triad_ms": _quantiles(self.after_enough),
            "live_changes_a_minute": round(self.live_changes / self.minutes, 1),
            "true_changes_a_minute": round(self.changes / self.minutes, 1),
            "keys": self._key_report(),
        }

    def _key_report(self) -> dict[str, float]:
        if not self.keys:
            return {"songs": 0}
        return {
            "songs": len(self.keys),
            "exact": round(float(np.mean([score == 1 for score in self.keys])), 4),
            "weighted": round(float(np.mean(self.keys)), 4),
            "live_exact": round(float(self.live_keys[0] / max(self.live_keys[1], 1)), 4),
        }


def _listen(clip: Clip) -> tuple[list[ChordSpan], list[str]]:
    """What the live detectors answer, asked on a grid: the chords' changes, and the key every second."""
    chords, keys = ChordDetector(), KeyDetector()
    spans: list[ChordSpan] = []
    heard_keys: list[str] = []
    index = 0
    for event in clip.events():
        while index * GRID <= event.time:
            time = index * GRID
            chord = chords.chord_at(time)
            if not spans or spans[-1].chord != chord:
                spans.append(ChordSpan(time, chord))
            if index % 100 == 0 and (key := keys.key_at(time)) is not None:
                heard_keys.append(str(key))
            index += 1
        chords.hear(event)
        keys.hear(event)
    return spans, heard_keys


def _triad(label: Label) -> tuple[int, tuple[int, ...]] | None:
    """Root and pitch classes of the first three tones; None where there is no chord."""
    if not isinstance(label, Chord):
        return None
    root = label.root_class
    return root, tuple((root + step) % 12 for step in QUALITIES[label.quality][:3])


def _complete(heard: list[Note], triad: tuple[int, tuple[int, ...]], span: Span) -> float | None:
    """When all tones of a new chord's triad have been heard: each was struck since the change, or sounds on
    from before it. What fades out within 0.1 s belongs to the chord before. None where they never are."""
    within = [note for note in heard if note.end > span.start and note.start < span.end]
    struck, held = [], []
    for tone in triad[1]:
        notes = [note for note in within if note.pitch % 12 == tone]
        new = [note.start for note in notes if note.start >= span.start - _AT_CHANGE]
        struck.append(max(min(new, default=inf), span.start))
        held.append(max((n.end for n in notes if n.start < span.start - _AT_CHANGE), default=-inf))
    for time in sorted({span.start, *struck} - {inf}):
        if all(at <= time or end > time + _LINGERS for at, end in zip(struck, held, strict=True)):
            return time
    return None


def _scores(right: list[Span], found: list[ChordSpan]) -> np.ndarray:
    """[score, (seconds right, seconds that count)]."""
    found = [span for span in found if span.start < right[-1].end] or [ChordSpan(0.0, None)]
    starts = [span.start for span in found]
    keep = [
        (a, b, span) for a, b, span in zip(starts, [*starts[1:], right[-1].end], found, strict=True) if b > a
    ]
    intervals, labels = mir_eval.util.adjust_intervals(
        np.array([(a, b) for a, b, _ in keep]), [_harte(span.chord) for _, _, span in keep],
        right[0].start, right[-1].end, "N", "N",
    )  # fmt: skip
    merged, reference, estimate = mir_eval.util.merge_labeled_intervals(
        np.array([(span.start, span.end) for span in right]), [_harte(span.label) for span in right],
        intervals, labels,
    )  # fmt: skip
    seconds = mir_eval.util.intervals_to_durations(merged)
    rows = []
    for score in SCORES.values():
        points = score(reference, estimate)
        counts = points >= 0
        rows.append(((points * seconds)[counts].sum(), seconds[counts].sum()))
    return np.array(rows)


def _harte(label: Label) -> str:
    if label is None or isinstance(label, str):
        return label or "N"
    return f"{label.root}:{HARTE.get(label.quality, label.quality)}"


def _quantiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"n": 0}
    found = {f"p{share}": round(float(np.percentile(seconds, share)) * 1000) for share in (50, 90, 95)}
    within = float(np.mean(np.array(seconds) <= 0.15))
    return {**found, "within_150": round(within, 4), "n": len(seconds)}


def _table(report: dict) -> str:
    rows = ["| | " + " | ".join(SCORES) + " |", "|---|" + "---|" * len(SCORES)]
    for how, scores in report["accuracy"].items():
        rows.append(f"| {how} | " + " | ".join(f"{scores[name]:.3f}" for name in SCORES) + " |")
    rest = {key: value for key, value in report.items() if key != "accuracy"}
    return "\n".join([*rows, "", *(f"{key}: {value}" for key, value in rest.items())])


if __name__ == "__main__":
    sys.exit(main())
