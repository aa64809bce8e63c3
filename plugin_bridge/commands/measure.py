"""Measuring: the benchmarks."""

from __future__ import annotations

from pathlib import Path

import click

from plugin_bridge.commands.options import (
    bar,
    json_option,
    load,
    make_engine,
    print_report,
    style_option,
)
from plugin_bridge.errors import BridgeError


@click.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command("engine")
@style_option
@click.option(
    "--past", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Tokens in the cache."
)
@click.option(
    "--long", "long_run", type=click.IntRange(min=0), default=0, help="Also a session of so many tokens."
)
@click.option("--beside", help="Another style, whose step is measured in turn with this one's.")
@json_option
def bench_engine_command(
    style_name: str, past: int, long_run: int, beside: str | None, as_json: bool
) -> None:
    """A step of the engine, beside memory's floor and beside torch."""
    from plugin_bridge.engine.bench_engine import bench_engine

    other = load(beside) if beside else None
    print_report(bench_engine(load(style_name), past=past, long_run=long_run, beside=other), as_json)


@bench.command("sampler")
@json_option
def bench_sampler_command(as_json: bool) -> None:
    """A draw of the sampler, beside numpy and torch."""
    from plugin_bridge.engine.bench_sampler import bench_sampler

    print_report(bench_sampler(), as_json)


@bench.command("duet")
@click.option("--seconds", type=click.FloatRange(20, 600), default=60.0, show_default=True)
@style_option
@json_option
def bench_duet_command(seconds: float, style_name: str, as_json: bool) -> None:
    """Reaction, lateness and step time of a live duet with the built-in performance."""
    from plugin_bridge.duet.demo import play_demo

    with bar("playing", seconds) as tick:
        duet = play_demo(make_engine(style_name), seconds=seconds, seed=0, progress=tick)
    print_report(duet.report.to_json(), as_json)


@bench.command("tokens")
@click.option(
    "--midi",
    type=click.Path(path_type=Path),
    help="A MIDI file; without it five minutes of the built-in performance.",
)
@json_option
def bench_tokens_command(midi: Path | None, as_json: bool) -> None:
    """Events a second of the encoder and the decoder."""
    from plugin_bridge.duet.bench_tokens import bench_tokens
    from plugin_bridge.duet.performance import performance
    from plugin_bridge.music.midi_file import read_midi

    clip = read_midi(midi).clip() if midi else performance(300.0)
    if not clip.notes:
        raise BridgeError(f"{midi}: has no notes; choose another file")
    print_report(bench_tokens(clip), as_json)


@bench.command("render")
@click.option("--clips", type=click.IntRange(1, 1000), default=8, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; without it one for each processor.")
@json_option
def bench_render_command(clips: int, jobs: int | None, as_json: bool) -> None:
    """A batch of clips to audio, beside a plain loop over the same clips."""
    from plugin_bridge.render.bench_render import bench_render

    print_report(bench_render(clips, jobs), as_json)
