"""Learning: preparing data, training, judging, exporting. Needs the extra [train]."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from plugin_bridge.commands.options import (
    PATH,
    adherence_option,
    json_option,
    load,
    number,
    pair,
    print_json,
    progress_bar,
    style_option,
    training_module,
)
from plugin_bridge.errors import BridgeError


@click.command()
@click.argument("inputs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="The prepared folder to write.")
@click.option("--exclude", type=PATH, help="A text file of file names to leave out, one a line.")
@click.option(
    "--licence", "licences", multiple=True, help="SOURCE=LICENCE of a zip or folder; may be repeated."
)
@click.option(
    "--valid",
    type=click.FloatRange(0, 0.5),
    default=0.05,
    show_default=True,
    help="Share held out while training.",
)
@click.option(
    "--test",
    type=click.FloatRange(0, 0.5),
    default=0.05,
    show_default=True,
    help="Share held out to the end.",
)
@click.option("--cluster", help="Address of a dask scheduler whose workers read the files, tcp://HOST:8786.")
@json_option
def prepare(
    inputs: tuple[Path, ...], output: Path, exclude: Path | None, licences: tuple[str, ...], valid: float,
    test: float, cluster: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Turn MIDI files, folders and zips (with chord and beat sidecars) into training data."""
    from dataclasses import asdict

    prepare_data = training_module("model.prepare").prepare
    leave_out = frozenset(exclude.read_text(encoding="utf-8").split("\n")) - {""} if exclude else frozenset()
    stated = dict(pair(text, "--licence SOURCE=LICENCE") for text in licences)

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        return iter(progress_bar(items, "reading", total))

    summary = prepare_data(
        inputs, output, exclude=leave_out, licences=stated, held_out=(valid, test), cluster=cluster,
        progress=progress,
    )  # fmt: skip
    if as_json:
        print_json(asdict(summary))
        return
    click.echo(
        f"{output}: {summary.pieces} pieces, {summary.notes} notes, {summary.hours:.1f} h, "
        f"{summary.tokens} tokens"
    )
    for name, count in sorted(summary.by_source.items()):
        click.echo(f"  {name}: {count} pieces")
    click.echo("  " + ", ".join(f"{split} {count}" for split, count in sorted(summary.by_split.items())))
    for name, reason in summary.skipped[:20]:
        click.echo(f"  skipped {name}: {reason}")
    if len(summary.skipped) > 20:
        click.echo(f"  ... and {len(summary.skipped) - 20} more; --json lists all")


@click.group()
def train() -> None:
    """Train a base style, or a style of your own."""


@train.command("base")
@click.option("--data", type=PATH, required=True, help="A prepared folder.")
@click.option(
    "--out", "folder", type=PATH, required=True, help="Folder of the run; an interrupted one goes on."
)
@click.option(
    "--size", default="mini", show_default=True, help="tiny, mini, small, medium, large or a JSON file."
)
@click.option("--steps", type=click.IntRange(min=1), default=6000, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Crops a step.")
@click.option("--length", type=click.IntRange(min=8), default=1024, show_default=True, help="Tokens a crop.")
@click.option(
    "--accumulate", type=click.IntRange(min=1), default=1, show_default=True, help="Parts of a batch."
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--warmup", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--evaluate-every", type=click.IntRange(min=1), default=250, show_default=True)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Evaluations without progress.",
)
@click.option(
    "--mix", multiple=True, help="SOURCE=WEIGHT: copies of each piece of a source; may be repeated."
)
@click.option("--bf16/--no-bf16", default=False, show_default=True, help="Compute in bfloat16.")
@click.option("--seed", type=int, default=0, show_default=True)
def train_base_command(
    data: Path, folder: Path, size: str, steps: int, batch: int, length: int, accumulate: int,
    learning_rate: float, warmup: int, evaluate_every: int, patience: int, mix: tuple[str, ...],
    bf16: bool, seed: int,
) -> None:  # fmt: skip
    """Train a base style from prepared data; resumes where it was."""
    training = training_module("model.training")
    train_base = training_module("model.train_base").train_base
    network = training_module("model.config").load_config(size)
    weights = tuple(
        (name, number(value, name)) for name, value in (pair(text, "--mix SOURCE=WEIGHT") for text in mix)
    )
    config = training.TrainingConfig(
        steps=steps, batch=batch, length=length, accumulate=accumulate, learning_rate=learning_rate,
        warmup=warmup, evaluate_every=evaluate_every, patience=patience, mix=weights, bf16=bf16, seed=seed,
    )  # fmt: skip

    def report(progress: Any) -> None:
        click.echo(
            f"step {progress.step}: training {progress.train_nats:.4f}, "
            f"held out {progress.valid_nats:.4f} nats a token; "
            f"{progress.tokens / 1e6:.1f} M tokens in {progress.seconds / 60:.1f} min"
        )

    trainer = train_base(data, folder, network, config, report)
    click.echo(f"{folder / 'best'}: {trainer.best:.4f} nats a token held out, after {trainer.step} steps")


@train.command("style")
@click.argument("midi", type=PATH, nargs=-1, required=True)
@click.option("--name", required=True, help="What the style is called from now on.")
@click.option("--base", default="base", show_default=True, help="The base's name or folder.")
@click.option(
    "--qlora", "method", flag_value="qlora", default=True, help="LoRA on the base in 4 bits. (default)"
)
@click.option("--lora", "method", flag_value="lora", help="LoRA on the base as it is, for comparison.")
@click.option("--full", "method", flag_value="full", help="All weights, without an adapter, for comparison.")
@click.option("--rank", type=click.IntRange(4, 32), default=8, show_default=True)
@click.option("--alpha", type=float, default=16.0, show_default=True)
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=12, show_default=True, help="At most.")
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Crops a step.")
@click.option("--length", type=click.IntRange(min=8), default=1024, show_default=True, help="Tokens a crop.")
@click.option("--learning-rate", type=float, help="Peak rate; without it one that suits the method.")
@click.option(
    "--patience", type=click.IntRange(min=1), default=3, show_default=True, help="Epochs without progress."
)
@click.option(
    "--held-out", type=click.IntRange(min=1), help="Pieces to be measured by; without it a fifth of them."
)
@click.option("--base-data", type=PATH, help="Prepared base data, to mix in and to measure forgetting on.")
@click.option(
    "--mix", type=click.FloatRange(0, 0.9), default=0.0, show_default=True, help="Share of base music."
)
@click.option(
    "--others", type=PATH, multiple=True, help="MIDI of other performers, to measure on; may be repeated."
)
@click.option("--licence", default="not stated", show_default=True, help="Of the pieces, for the record.")
@click.option(
    "--clips", type=click.IntRange(min=0), default=100, show_default=True, help="Clips to look for copies in."
)
@click.option("--adapter-only", is_flag=True, help="Stop at the adapter: no export, nothing installed.")
@click.option("--work", type=PATH, help="Folder of the run; without it one of the program's own.")
@click.option("-o", "--output", type=PATH, help="The bundle folder; without it the style is installed.")
@click.option("--restart", is_flag=True, help="Throw an earlier run of this name away.")
@click.option(
    "--bf16/--no-bf16", default=None, help="Compute in bfloat16; without it where the machine is fast at it."
)
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def train_style_command(
    midi: tuple[Path, ...], name: str, base: str, method: str, rank: int, alpha: float, dropout: float,
    epochs: int, batch: int, length: int, learning_rate: float | None, patience: int, held_out: int | None,
    base_data: Path | None, mix: float, others: tuple[Path, ...], licence: str, clips: int,
    adapter_only: bool, work: Path | None, output: Path | None, restart: bool, bf16: bool | None, seed: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Learn a style from a musician's own MIDI files (ten or so) and install it. Resumes where it was."""
    from plugin_bridge.engine.bundle import user_styles

    module = training_module("export.style")
    adapter = training_module("model.adapter").AdapterOptions(rank, alpha, dropout)
    training = training_module("model.train_style").StyleTraining(
        method=method, adapter=adapter, epochs=epochs, batch=batch, length=length,
        learning_rate=learning_rate, patience=patience, held_out=held_out, base_data=base_data, mix=mix,
        seed=seed, bf16=bf16,
    )  # fmt: skip
    request = module.StyleRequest(
        midi, name, work or user_styles().parent / "training" / name, output or user_styles() / name,
        base, licence, training, others, clips=clips, adapter_only=adapter_only, restart=restart,
    )  # fmt: skip

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        return iter(progress_bar(items, "reading", total))

    report = module.make_style(request, lambda line: click.echo(line, err=as_json), progress)
    if not report:
        return  # one of several processes: the first one tells
    if as_json:
        print_json(report)
        return
    minutes = sum(report["seconds"].values()) / 60
    click.echo(f"{minutes:.1f} minutes in all; the report: {request.work / module.REPORT}")
    if not adapter_only:
        click.echo(f"Play it: plugin-bridge jam --style {shlex.quote(str(output or name))}")


@click.command()
@click.option("--data", type=PATH, required=True, help="A prepared folder, or MIDI to prepare.")
@style_option
@click.option("--train-data", type=PATH, help="Prepared folder whose training split the n-grams learn.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True)
@click.option(
    "--max-tokens", type=click.IntRange(min=100), default=120_000, show_default=True, help="Tokens a view."
)
@click.option(
    "--clips", type=click.IntRange(min=0), default=100, show_default=True, help="Clips to generate."
)
@click.option("--clip-seconds", type=click.FloatRange(5, 300), default=30.0, show_default=True)
@adherence_option
@click.option("--record", is_flag=True, help="Keep the figures in the style's bundle.json.")
@json_option
def evaluate(
    data: Path, style_name: str, train_data: Path | None, split: str, max_tokens: int, clips: int,
    clip_seconds: float, adherence: float, record: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure a style: nats a token and a note beside n-grams, chord-tone rate, validity, copying."""
    module = training_module("model.evaluate")
    options = module.EvaluationOptions(
        split=split,
        max_tokens=max_tokens,
        clips=clips,
        clip_seconds=clip_seconds,
        train_data=train_data,
        chord_bias=adherence,
    )
    stages: set[str] = set()

    def progress(stage: str, share: float) -> None:
        if stage not in stages:
            stages.add(stage)
            click.echo(f"{stage} ...", err=True)

    style = load(style_name)
    if record and style.factors:
        raise BridgeError(f"{style_name}: a blend has no bundle of its own to record figures in")
    report = module.evaluate(style, data, options, progress)
    if record:
        kept = {key: report[key] for key in module.RECORDED}
        training_module("export.bundle").set_metrics(style.folder, {"evaluation": kept})
    if as_json:
        print_json(report)
    else:
        click.echo(module.render_report(report))


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option("--name", default=None, help="The style's name; without it the bundle folder's.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True)
@click.option(
    "--adapter", type=PATH, help="An adapter's folder; CHECKPOINT is then its base, by name or folder."
)
@click.option("--base", "as_base", is_flag=True, help="A base: keeps its weights to train styles on.")
@click.option("-o", "--output", type=PATH, required=True, help="The bundle folder to write.")
@json_option
def export(
    checkpoint: Path, name: str | None, precision: str, adapter: Path | None, as_base: bool, output: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Turn a checkpoint into a style bundle: ONNX with a key-value cache, quantised, parity checked."""
    from dataclasses import asdict

    if adapter is not None and as_base:
        raise BridgeError("an adapter's bundle is no base: leave out --base or --adapter")
    if adapter is not None:
        parity = training_module("export.adapter").export_adapter(
            str(checkpoint), adapter, output, name=name or output.name, precision=precision
        )
    else:
        parity = training_module("export.bundle").export_bundle(
            checkpoint, output, name=name or output.name, precision=precision, as_base=as_base
        )
    if as_json:
        print_json({"output": str(output), "parity": asdict(parity)})
        return
    native = "" if parity.native is None else f", native {parity.native:.1e} ({parity.native_nats:.1e})"
    click.echo(f"{output}: largest difference of a logit from PyTorch: stepwise {parity.torch_steps:.1e}, "
               f"ONNX fp32 {parity.onnx_fp32:.1e}, 8 bits {parity.onnx_quantised:.1e} "
               f"({parity.quantised_nats:.1e} nats a token){native}")  # fmt: skip


LEARN = (prepare, train, evaluate, export)
