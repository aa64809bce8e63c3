"""Measuring: the benchmarks."""

from __future__ import annotations

import click

from plugin_bridge.commands.options import (
    bar,
    json_option,
    load,
    make_engine,
    print_report,
    style_option,
)


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
