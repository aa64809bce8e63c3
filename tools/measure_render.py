"""Rendering measured: a batch beside a plain loop of the same work, a batch that is killed and resumed, and
what can be heard in the results.

    python tools/measure_render.py speed --work FOLDER      time, ratio, memory: the loop, then the batch
    python tools/measure_render.py kill --work FOLDER       SIGKILL at half, then --resume
    python tools/measure_render.py sound FOLDER             levels, clicks, tails, onsets of what lies there
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from note_onsets import onset_errors

from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.render import make_plan
from plugin_bridge.render.encoding import decode
from plugin_bridge.render.mastering import integrated_loudness, true_peak
from plugin_bridge.render.renderer import clip_of
from plugin_bridge.render.work import HIDDEN, work

CHARTS = {
    "jazz": "Dm7 G7 Cmaj7 Am7",
    "pop": "C G Am F",
    "minor": "Am7 Dm7 E7 Am7",
    "ballad": "Fmaj7 Em7 Dm7 Cmaj7",
}
SETTINGS = {
    "own": "",
    "cool": "temperature = 0.95",
    "warm": "temperature = 1.1",
    "strict": "adherence = 6",
    "slow": "tempo = 80",
}
_path = click.Path(path_type=Path)
_clips = click.option("--seeds", default=10, show_default=True, help="Takes of each of 4 x 5 rows.")
_work = click.option("--work", "folder", type=_path, required=True, help="Folder to render to.")


def write_manifest(path: Path, seeds: int) -> Path:
    """Four charts in five settings each, 8 bars, `seeds` takes of each."""
    rows = [
        f'[[clip]]\nname = "{chart}-{name}"\nchords = "{chords}"\nseeds = "1-{seeds}"\n{setting}\n'
        for chart, chords in CHARTS.items()
        for name, setting in SETTINGS.items()
    ]
    path.write_text("[defaults]\ntempo = 110\nbars = 8\n\n" + "\n".join(rows), encoding="utf-8")
    return path


def plain_loop(manifest: Path, out: Path) -> None:
    """The same work, clip after clip, in this process."""
    (out / HIDDEN).mkdir(parents=True)
    for job in make_plan([manifest]).jobs:
        work(job, out, 120.0)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes, and the MB of it and all its processes together, at most."""
    import psutil

    began, most = time.perf_counter(), 0.0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            most = max(most, sum(each.memory_info().rss for each in family) / 2**20)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
    if process.returncode not in (0, 2):  # 2: some clips failed, which is reported
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.perf_counter() - began, most


def render_command(manifest: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "plugin_bridge.cli", "render"]
    return [*program, str(manifest), "--out", str(out), "--no-sheet", *more]


@click.group()
def main() -> None:
    """Measure rendering."""


@main.command("loop", hidden=True)
@click.argument("manifest", type=_path)
@click.argument("out", type=_path)
def loop_command(manifest: Path, out: Path) -> None:
    plain_loop(manifest, out)


@main.command()
@_work
@_clips
@click.option("--jobs", default=2, show_default=True)
def speed(folder: Path, seeds: int, jobs: int) -> None:
    """The plain loop, then the batch."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_manifest(folder / "speed.toml", seeds)
    outs = {name: folder / name for name in ("loop", "batch")}
    for out in outs.values():
        shutil.rmtree(out, ignore_errors=True)
    commands = {
        "loop": [sys.executable, __file__, "loop", str(manifest), str(outs["loop"])],
        "batch": render_command(manifest, outs["batch"], "--jobs", str(jobs)),
    }
    took = {name: timed(command) for name, command in commands.items()}
    index = json.loads((outs["batch"] / "index.json").read_text(encoding="utf-8"))
    clips = index["clips"]
    same = all(
        (outs["loop"] / name).read_bytes() == (outs["batch"] / name).read_bytes()
        for clip in clips
        for name in clip["bytes"]
    )
    heard = sum(clip["seconds"] for clip in clips)
    click.echo(f"{len(clips)} clips ({len(index['failures'])} failed), {heard / 60:.1f} minutes, {jobs} jobs")
    for name, (seconds, memory) in took.items():
        click.echo(
            f"{name}: {seconds:.1f} s, {len(clips) * 60 / seconds:.0f} clips a minute, "
            f"{heard / seconds:.1f} x real time, {memory:.0f} MB"
        )
    click.echo(f"the batch is {took['loop'][0] / took['batch'][0]:.2f} times as fast; same bytes: {same}")


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
    process = subprocess.Popen(  # noqa: S603
        render_command(manifest, out, "--jobs", str(jobs)), stderr=subprocess.DEVNULL
    )
    while len(records := list((out / HIDDEN).glob("*.json"))) < count // 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2.0)
    before = {path: path.stat().st_mtime_ns for path in (out / HIDDEN).glob("*.json")}
    partial = [str(path.relative_to(out)) for path in out.rglob("*") if "staging-" in path.name]
    done = subprocess.run(  # noqa: S603
        render_command(manifest, out, "--jobs", str(jobs), "--resume", "--json"),
        stdout=subprocess.PIPE,
        check=False,
    )
    report = json.loads(done.stdout)
    again = sum(path.stat().st_mtime_ns != when for path, when in before.items())
    index = json.loads((out / "index.json").read_text(encoding="utf-8"))
    files = {path.name for path in out.iterdir()} - {"index.json", HIDDEN}
    listed = {name for clip in index["clips"] for name in clip["bytes"]}
    left = [path.name for path in (out / HIDDEN).iterdir() if path.suffix != ".json"]
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
    for clip in index["clips"][::every]:
        audio = decode((folder / clip["files"]["audio"][0]).read_bytes())
        played = clip_of(read_midi(folder / clip["files"]["midi"]))
        rate = round(audio.shape[1] / clip["seconds"])
        rate = min((22050, 32000, 44100, 48000, 88200, 96000), key=lambda each: abs(each - rate))
        loudness = integrated_loudness(audio, rate)
        top = true_peak(audio)
        errors = np.abs([error for _, error in onset_errors(audio, rate, played)])
        level = np.abs(audio).max()
        rows.append(
            {
                "loudness error, LU": abs((loudness or -99) - target),
                "true peak over the limit, dB": (top or -99) - peak,
                "first and last sample, dBFS": _decibels(np.abs(audio[:, [0, -1]]).max()),
                "last 10 ms under the peak, dB": _decibels(np.abs(audio[:, -rate // 100 :]).max() / level),
                "end after the last note, s": audio.shape[1] / rate - played.duration,
                "onset error, median, ms": float(np.median(errors)) if len(errors) else np.nan,
                "onset error, 95 of 100 notes, ms": float(np.quantile(errors, 0.95))
                if len(errors)
                else np.nan,
                "onsets within 10 ms": float(np.mean(errors <= 10)) if len(errors) else np.nan,
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


def _decibels(value: Any) -> float:
    return float(20 * np.log10(max(float(value), 1e-9)))


if __name__ == "__main__":
    main()
