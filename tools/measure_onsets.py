"""When notes begin in the files of a batch, against its MIDI files, by two measures that know nothing of each
other: by what each note brings to the sound (left_out.py; every note), and by its own partials in the sound
as it is (note_onsets.py; notes that can be told apart).

    python tools/measure_onsets.py all MANIFEST FOLDER      every note of the WAV files (wav24) in FOLDER
    python tools/measure_onsets.py moved MANIFEST           are notes that were moved on purpose found moved?

MANIFEST is what the batch was rendered from; clips are generated again, as MIDI files have ticks.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
from left_out import Held, hold, onsets
from note_onsets import onset_errors

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.render import make_plan
from plugin_bridge.render.encoding import decode, encode
from plugin_bridge.render.instruments import BuiltInPiano, SoundFontPreset
from plugin_bridge.render.jobs import Job
from plugin_bridge.render.piano import Piano
from plugin_bridge.render.plugin_host import DEFAULT_TIME_LIMIT
from plugin_bridge.render.renderer import clip_of, make_piano
from plugin_bridge.render.work import Worker

_MOVES = (0.0, 5.0, 15.0, -15.0)
_TICK = 0.002
"""Seconds that the time of a note in a MIDI file may differ from what was rendered: above a tick."""

_path = click.Path(path_type=Path, exists=True)
_every = click.option("--every", default=1, show_default=True, help="Only every so many clips.")


@click.group()
def main() -> None:
    """Measure when notes begin in rendered clips."""


@main.command("all")
@click.argument("manifest", type=_path)
@click.argument("folder", type=_path)
@_every
@click.option("--notes", "table", type=click.Path(path_type=Path), help="A CSV file to write, a row a note.")
def every_note(manifest: Path, folder: Path, every: int, table: Path | None) -> None:
    """The onset of every note in the files of FOLDER, by leaving it out."""
    rows: list[tuple[str, Note, float | None]] = []
    clips = same = written = 0
    apart_by = 0.0
    with _table(table) as write_row:
        for job, clip, least in _clips(manifest, every):
            held = _held(job, clip, least)
            file = (folder / f"{job.name}.wav").read_bytes()
            audio, midi = decode(file), clip_of(read_midi(folder / f"{job.name}.mid"))
            same += encode(held.audio, held.output.sample_rate, "wav24") == file
            apart_by = max(apart_by, _rendered_anew(held))
            starts = _starts(held, midi)
            for note, at in onsets(audio, held):
                error = None if at is None else (at - starts[note]) * 1000
                rows.append((job.name, note, error))
                write_row((job.name, note.start, note.pitch, note.velocity, error))
            clips += 1
            written += len(midi.notes)
    errors = [error for _, _, error in rows if error is not None]
    click.echo(f"{clips} clips; {same} files are, byte for byte, the rendering that is taken apart")
    click.echo(f"what is left without a note is {_decibels(apart_by):.0f} dBFS from its others rendered anew")
    click.echo(f"{written} notes in the MIDI files, {len(rows)} of them heard; {spread(errors)}")
    judged = sorted((row for row in rows if row[2] is not None), key=lambda row: -abs(row[2] or 0))
    for name, note, error in judged[:5]:
        click.echo(
            f"far: {name}, {note.start:.2f} s, key {note.pitch}, velocity {note.velocity}: {error:.1f} ms"
        )


def _rendered_anew(held: Held) -> float:
    """How far, of full scale, a clip without its middle note is from a rendering of all others."""
    note = held.heard[len(held.heard) // 2]
    others = held.only([each for each in held.heard if each is not note])
    return float(np.abs(held.without([note]) - others).max())


@contextmanager
def _table(path: Path | None) -> Iterator[Callable[[Sequence[object]], object]]:
    """Writes rows to a CSV file as they come, so that a long run can be looked into."""
    if path is None:
        yield lambda row: None
        return
    with path.open("w", newline="", encoding="utf-8", buffering=1) as file:
        out = csv.writer(file)
        out.writerow(("clip", "start", "pitch", "velocity", "onset_ms"))
        yield out.writerow


@main.command()
@click.argument("manifest", type=_path)
@_every
@click.option("--seed", default=0, show_default=True)
@click.option("--partials-only", is_flag=True, help="Leave out the measure that leaves out.")
def moved(manifest: Path, every: int, seed: int, partials_only: bool) -> None:
    """Render clips with three notes in ten moved by 5, 15 or -15 ms, and judge them by the clip as it was."""
    random = np.random.default_rng(seed)
    asked = dict.fromkeys(_MOVES, 0)
    by_partials: dict[float, list[float]] = {move: [] for move in _MOVES}
    by_leaving_out: dict[float, list[float]] = {move: [] for move in _MOVES}
    shifts: dict[float, list[float]] = {move: [] for move in _MOVES}
    for job, clip, least in _clips(manifest, every):
        moves = random.choice(_MOVES, len(clip.notes), p=(0.7, 0.1, 0.1, 0.1))
        moves[[note.start < 0.1 for note in clip.notes]] = 0
        notes = [_later(note, move) for note, move in zip(clip.notes, moves, strict=True)]
        held = _held(job, replace(clip, notes=tuple(sorted(notes))), least)
        for move in _MOVES:
            asked[move] += int((moves == move).sum())
        moved_by = dict(zip(clip.notes, moves, strict=True))
        for note, error in onset_errors(held.audio, held.output.sample_rate, clip):
            by_partials[float(moved_by[note])].append(error)
        if partials_only:
            continue
        after = _onset_times(held)
        before = _onset_times(_held(job, clip, least))
        for note, late, move in zip(clip.notes, notes, moves, strict=True):
            was, now = before.get(_key(note)), after.get(_key(late))
            if was is not None and now is not None:
                by_leaving_out[float(move)].append((now - note.start) * 1000)
                shifts[float(move)].append((now - was) * 1000)
    for move in _MOVES:
        click.echo(f"moved by {move:g} ms: {asked[move]} notes")
        click.echo(f"  by their partials: {spread(by_partials[move])}")
        if not partials_only:
            click.echo(f"  left out: {spread(by_leaving_out[move])}")
            off = np.abs(np.array(shifts[move]) - move)
            click.echo(
                f"  moved from where they were without: at most {off.max():.2f} ms from {move:g} ms; "
                f"{np.sum(off > 1)} of {len(off)} more than 1 ms from it"
            )


def _clips(manifest: Path, every: int) -> Iterator[tuple[Job, Clip, float]]:
    worker = Worker(DEFAULT_TIME_LIMIT)
    for job in make_plan([manifest]).jobs[::every]:
        yield job, *worker.clip(job)


def _held(job: Job, clip: Clip, least: float) -> Held:
    if not isinstance(job.instrument, BuiltInPiano | SoundFontPreset):
        raise click.UsageError(f"{job.where}: single notes of a plugin cannot be left out")
    return hold(clip, _piano(job.instrument, job.output.sample_rate), job.effects, job.output, least)


@cache
def _piano(instrument: BuiltInPiano | SoundFontPreset, rate: int) -> Piano:
    return make_piano(instrument, rate)


def _starts(held: Held, midi: Clip) -> dict[Note, float]:
    """Where the MIDI file says that each note starts. Raises ValueError for one that it does not have."""
    starts: dict[Note, float] = {}
    for note in held.heard:
        near = [each.start for each in midi.notes if (each.part, each.pitch) == (note.part, note.pitch)]
        starts[note] = min(near, key=lambda start: abs(start - note.start), default=np.inf)
        if abs(starts[note] - note.start) > _TICK:
            raise ValueError(f"the MIDI file has no {note}")
    return starts


def _later(note: Note, milliseconds: float) -> Note:
    start = note.start + milliseconds / 1000
    return replace(note, start=start, end=max(note.end, start + 0.01))


def _key(note: Note) -> tuple[Any, ...]:
    """What a note has in common with itself as it is heard, when its end may be another."""
    return note.part, note.pitch, note.start


def _onset_times(held: Held) -> dict[tuple[Any, ...], float]:
    return {_key(note): at for note, at in onsets(held.audio, held) if at is not None}


def spread(errors: list[float]) -> str:
    """What is said of milliseconds from notes to onsets."""
    values = np.array(errors)
    if not len(values):
        return "none judged"
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return (
        f"{len(values)} judged, median {middle:.1f} ms, 5 to 95 of 100 {low:.1f} to {high:.1f}, "
        f"least {values.min():.1f}, most {values.max():.1f}; {np.sum(np.abs(values) > 10)} beyond 10 ms"
    )


def _decibels(value: float) -> float:
    return float(20 * np.log10(max(value, 1e-12)))


if __name__ == "__main__":
    main()
