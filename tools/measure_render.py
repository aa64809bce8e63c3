"""Rendering measured: a batch that is killed and resumed, and what can be heard in the results. How fast a
batch is beside a plain loop: plugin-bridge bench render.

    python tools/measure_render.py kill --work FOLDER       SIGKILL at half, then --resume
    python tools/measure_render.py sound FOLDER             levels, clicks, tails, onsets of what lies there
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from measure_onsets import spread
from note_onsets import onset_errors

from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.render import make_plan
from plugin_bridge.render.bench_render import write_manifest
from plugin_bridge.render.encoding import decode
from plugin_bridge.render.mastering import integrated_loudness, true_peak
from plugin_bridge.render.renderer import clip_of
from plugin_bridge.render.work import HIDDEN

_path = click.Path(path_type=Path)
_clips = click.option("--seeds", default=10, show_default=True, help="Takes of each of 4 x 5 rows.")
_work = click.option("--work", "folder", type=_path, required=True, help="Folder to render to.")


def render_command(manifest: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "plugin_bridge.cli", "render"]
    return [*program, str(manifest), "--out", str(out), "--no-sheet", *more]


@click.group()
def main() -> None:
    """Measure rendering."""


@main.command()
@_work
@_clips
@click.option("--jobs", default=2, show_default=True)
def kill(folder: Path, seeds: int, jobs: int) -> None:
    """SIGKILL to the program when half is there; then --resume."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, out = write_manifest(folder / "kill.toml", seeds), folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    count = len(make_plan([manifest]).jobs)
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        render_command(manifest, out, "--jobs", str(jobs)), stderr=subprocess.DEVNULL
    )
    while len(records := list((out / HIDDEN).glob("*.json"))) < count // 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until_killed = time.perf_counter() - began
    time.sleep(2.0)
    before = {path: path.stat().st_mtime_ns for path in (out / HIDDEN).glob("*.json")}
    partial = [str(path.relative_to(out)) for path in out.rglob("*") if "staging-" in path.name]
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        render_command(manifest, out, "--jobs", str(jobs), "--resume", "--json"),
        stdout=subprocess.PIPE,
        check=False,
    )
    took = until_killed + time.perf_counter() - began
    report = json.loads(done.stdout)
    again = sum(path.stat().st_mtime_ns != when for path, when in before.items())
    index = json.loads((out / "index.json").read_text(encoding="utf-8"))
    files = {path.name for path in out.iterdir()} - {"index.json", HIDDEN}
    listed = {name for clip in index["clips"] for name in clip["bytes"]}
    left = [path.name for path in (out / HIDDEN).iterdir() if path.suffix != ".json"]
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    click.echo(
        f"{took:.1f} s in all, {until_killed:.1f} s of it until the kill: {count * 60 / took:.0f} clips a "
        f"minute, {report['audio_seconds'] / took:.1f} x real time, {largest:.0f} MB in the largest process"
    )
    click.echo(f"killed after {len(before)} of {count} clips ({len(records)} when it was seen)")
    click.echo(f"resumed: {report['rendered']} rendered, {report['kept']} kept, {report['failed']} failed")
    click.echo(f"rendered twice: {again}; clips missing: {count - report['clips'] - report['failed']}")
    click.echo(f"staged when killed: {len(partial)}; left after resuming: {len(left)}")
    click.echo(f"files that no clip lists (clips that were in work): {sorted(files - listed)}")
    click.echo(f"listed files missing: {sorted(listed - files)}")


@main.command()
@click.argument("folder", type=_path)
@click.option("--target", default=-16.0, show_default=True)
@click.option("--peak", default=-1.0, show_default=True)
@click.option("--every", default=1, show_default=True, help="Only every so many clips.")
def sound(folder: Path, target: float, peak: float, every: int) -> None:
    """Loudness, true peak, start and end, tail and onsets of the WAV files in FOLDER, by its index.json."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    rows: list[dict[str, float]] = []
    onsets: list[float] = []
    notes = 0
    for clip in index["clips"][::every]:
        audio = decode((folder / clip["files"]["audio"][0]).read_bytes())
        played = clip_of(read_midi(folder / clip["files"]["midi"]))
        rate = round(audio.shape[1] / clip["seconds"])
        rate = min((22050, 32000, 44100, 48000, 88200, 96000), key=lambda each: abs(each - rate))
        loudness = integrated_loudness(audio, rate)
        top = true_peak(audio)
        errors = np.array([error for _, error in onset_errors(audio, rate, played)])
        onsets.extend(errors)
        notes += len(played.notes)
        level = np.abs(audio).max()
        rows.append(
            {
                "loudness error, LU": abs((loudness or -99) - target),
                "true peak over the limit, dB": (top or -99) - peak,
                "first and last sample, dBFS": _decibels(np.abs(audio[:, [0, -1]]).max()),
                "last 10 ms under the peak, dB": _decibels(np.abs(audio[:, -rate // 100 :]).max() / level),
                "end after the last note, s": audio.shape[1] / rate - played.duration,
                "onset, median note, ms": float(np.median(errors)) if len(errors) else np.nan,
                "onset, farthest note, ms": float(np.abs(errors).max()) if len(errors) else np.nan,
                "onsets within 10 ms": float(np.mean(np.abs(errors) <= 10)) if len(errors) else np.nan,
                "onsets judged, of all": len(errors) / len(played.notes),
            }
        )
    click.echo(f"{len(rows)} clips")
    for name in rows[0] if rows else ():
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        click.echo(
            f"{name}: median {np.median(values):.3f}, least {values.min():.3f}, most {values.max():.3f}"
        )
    click.echo(f"all notes: {notes}; onsets of those that can be judged by their partials: {spread(onsets)}")


def _decibels(value: Any) -> float:
    return float(20 * np.log10(max(float(value), 1e-9)))


if __name__ == "__main__":
    main()
