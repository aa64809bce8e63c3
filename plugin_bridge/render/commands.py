"""`plugin-bridge render` and `plugin-bridge instruments`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.settings import FORMATS, Output

if TYPE_CHECKING:
    from plugin_bridge.render.batch import BatchReport
    from plugin_bridge.render.finding import Found
    from plugin_bridge.render.work import Outcome

_PATH = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_LISTED = 20


def _loudness(context: click.Context, parameter: click.Parameter, value: str) -> float | None:
    if value == "off":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor off") from None


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=_PATH)
@click.option("--out", "folder", type=_PATH, required=True, help="Folder to write to.")
@click.option(
    "--instrument",
    default="piano",
    show_default=True,
    help="piano, a SoundFont, a plugin's file, or the name of an installed plugin.",
)
@click.option("--preset", help="A .vstpreset or a TOML file of parameters; of a SoundFont BANK:PROGRAM.")
@click.option("--effects", default="default", show_default=True, help="default, none, or a TOML file.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("wav24",),
    show_default=True,
    type=click.Choice(list(FORMATS)),
    help="May be given several times.",
)
@click.option("--rate", type=int, default=44100, show_default=True, help="Sample rate in Hz.")
@click.option("--channels", type=int, default=2, show_default=True)
@click.option(
    "--loudness",
    callback=_loudness,
    metavar="LUFS",
    default="-16",
    show_default=True,
    help="Integrated loudness to reach, or off.",
)
@click.option("--peak", type=float, default=-1.0, show_default=True, help="Highest true peak in dBTP.")
@click.option(
    "--tail",
    type=float,
    default=10.0,
    show_default=True,
    help="Seconds that a clip may ring on until it is silent.",
)
@click.option("--stems", is_flag=True, help="Also the player and the partner alone.")
@click.option("--picture/--no-picture", default=True, show_default=True, help="A piano roll of each clip.")
@click.option("--sheet/--no-sheet", default=True, show_default=True, help="index.html with all clips.")
@click.option("--embed", is_flag=True, help="Put the sound into index.html, too, so that it travels alone.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; without it one for each processor.")
@click.option("--resume", is_flag=True, help="Leave out what lies there already, rendered just so.")
@click.option("--cluster", metavar="ADDRESS", help="Render on a dask.distributed cluster.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    help="Seconds that a plugin may take for a clip before it is ended.",
)
@_json
def render(
    inputs: tuple[Path, ...],
    folder: Path,
    instrument: str,
    preset: str | None,
    effects: str,
    formats: tuple[str, ...],
    rate: int,
    channels: int,
    loudness: float | None,
    peak: float,
    tail: float,
    stems: bool,
    picture: bool,
    sheet: bool,
    embed: bool,
    jobs: int | None,
    resume: bool,
    cluster: str | None,
    time_limit: float,
    as_json: bool,
) -> None:
    """Render MIDI files, folders of them, and manifests (.toml, .csv) to audio, many at a time.

    Writes for each clip its MIDI, its audio, a picture and a line in index.json, and index.html to look
    through them all. What fails is listed at the end, with exit status 2; the rest is done all the same.
    """
    from plugin_bridge.render.batch import render_batch
    from plugin_bridge.render.plan import Failure, make_plan
    from plugin_bridge.render.sheet import SHEET, write_sheet

    output = Output(formats, rate, channels, loudness, peak, tail, stems, picture)
    plan = make_plan(inputs, output, instrument=instrument, preset=preset, effects=effects)
    for failure in plan.failures:
        click.echo(f"left out: {failure.reason}", err=True)
    began = time.perf_counter()
    with _bar(len(plan.jobs)) as tick:
        report = render_batch(
            plan, folder, jobs=jobs, resume=resume, cluster=cluster, time_limit=time_limit, progress=tick
        )
    elapsed = time.perf_counter() - began
    if sheet:
        try:
            write_sheet(report.folder, report.clips, report.failures, embed=embed)
        except BridgeError as error:
            report = replace(report, failures=(*report.failures, Failure(SHEET, SHEET, str(error))))
    summary = _summary(report, elapsed)
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        _tell(report, summary)
    if report.failures:
        raise click.exceptions.Exit(2)


@click.command()
@click.option("--plugin", "plugins", multiple=True, type=_PATH, help="Only this one; may be repeated.")
@click.option("--parameters", is_flag=True, help="Also the parameters of plugins, and every preset.")
@_json
def instruments(plugins: tuple[Path, ...], parameters: bool, as_json: bool) -> None:
    """List what can play and what can process: the piano, SoundFonts, plugins, and what failed to load."""
    from plugin_bridge.render.finding import find_instruments

    found = find_instruments(plugins, ()) if plugins else find_instruments()
    if as_json:
        rows = [asdict(each) | {"path": str(each.path) if each.path else None} for each in found]
        click.echo(json.dumps(rows, indent=1))
        return
    for each in found:
        _show(each, parameters)
    click.echo("pedalboard's own effects, for a chain file: see docs/render.md")


def _summary(report: BatchReport, elapsed: float) -> dict[str, Any]:
    seconds = sum(clip["seconds"] for clip in report.clips)
    return {
        "folder": str(report.folder),
        "clips": len(report.clips),
        "rendered": report.rendered,
        "kept": len(report.clips) - report.rendered,
        "failed": len(report.failures),
        "audio_seconds": round(seconds, 1),
        "elapsed_seconds": round(elapsed, 2),
        "clips_per_minute": round(report.rendered * 60 / elapsed, 1) if elapsed else None,
        "failures": [asdict(failure) for failure in report.failures],
    }


def _tell(report: BatchReport, summary: dict[str, Any]) -> None:
    kept = f", {summary['kept']} were there already" if summary["kept"] else ""
    click.echo(f"{summary['rendered']} clips rendered in {summary['elapsed_seconds']:.1f} s{kept}; "
               f"{summary['audio_seconds'] / 60:.1f} minutes of sound in {report.folder}")  # fmt: skip
    if report.failures:
        click.echo(f"{len(report.failures)} failed:", err=True)
    for failure in report.failures:
        click.echo(f"  {failure.name} ({failure.where}): {failure.reason}", err=True)


def _show(found: Found, details: bool) -> None:
    about = {
        "soundfont": f"SoundFont, {len(found.presets)} presets",
        "failed": f"failed: {found.reason}",
        "piano": "built in",
    }.get(found.kind) or f"{found.kind}, {found.maker or 'maker unknown'}, {len(found.parameters)} parameters"
    click.echo(f"{found.name}: {about}" + (f"  ({found.path})" if found.path else ""))
    presets = found.presets if details else found.presets[:3]
    for preset, name in presets:
        click.echo(f"    {preset}  {name}")
    if len(presets) < len(found.presets):
        click.echo("    ... (all of them: --parameters, or plugin-bridge instruments --json)")
    for each in found.parameters if details else ():
        values = each["values"]
        span = "{:g} to {:g}".format(*each["range"]) if each["range"] else ", ".join(values[:_LISTED])
        click.echo(f"    {each['name']}  {span} {each['unit']}".rstrip())


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A bar with rate and time left; nothing where no terminal is there."""
    from tqdm import tqdm

    with tqdm(desc="rendering", total=total, disable=None, leave=False, unit="clip", smoothing=0.1) as bar:
        failed = 0

        def tick(outcome: Outcome) -> None:
            nonlocal failed
            bar.update()
            if outcome.record is None:
                failed += 1
                bar.set_postfix(failed=failed)

        yield tick
