"""The command line: one command a job, thin. Each parses, calls, and prints.

What the user can mend is one line, `plugin-bridge: error: ...`, with exit status 2; an interrupt ends with
status 130 and everything closed (`jam` is meant to be ended so: its status is 0). Heavy modules are
imported inside the command that needs them.
"""

from __future__ import annotations

import errno
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from plugin_bridge import __version__
from plugin_bridge.daemon.commands import register as register_daemon
from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.commands import fl

if TYPE_CHECKING:
    from plugin_bridge.engine.bundle import Style
    from plugin_bridge.engine.engine import Engine

_Item = TypeVar("_Item")

PROGRAM = "plugin-bridge"
_PATH = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_adherence = click.option(
    "--adherence",
    type=click.FloatRange(0, 20),
    default=3.0,
    show_default=True,
    help="How strictly to keep to the chords: nats taken from notes outside them.",
)
_takes = click.option("--takes", type=_PATH, help="Folder of the takes; without it, the user's own.")
_style = click.option(
    "--style",
    "style_name",
    default="base",
    show_default=True,
    help="A style's name or folder, or a blend: evans=0.7,mine=0.3.",
)


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        status = commands(standalone_mode=False, prog_name=PROGRAM)
    except click.ClickException as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo(f"{PROGRAM}: interrupted", err=True)
        sys.exit(130)
    except BridgeError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EDQUOT,
            errno.ENOENT,
        ):
            raise
        _fail(f"{error.filename or 'a file'}: {error.strerror}")
    sys.exit(status if isinstance(status, int) else 0)  # click returns the status that a command exits with


def _fail(message: str) -> NoReturn:
    click.echo(f"{PROGRAM}: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM)
def commands() -> None:
    """A duet partner that learned your style: play into a port, the partner answers."""


commands.add_command(fl)
register_daemon(commands)


@commands.command()
@click.option(
    "--out", "folder", type=_PATH, default=Path("duet-demo"), show_default=True, help="Folder to write to."
)
@click.option(
    "--seconds", type=click.FloatRange(20, 600), default=45.0, show_default=True, help="How long to play."
)
@click.option("--seed", type=int, default=1, show_default=True)
@_style
@_json
def demo(folder: Path, seconds: float, seed: int, style_name: str, as_json: bool) -> None:
    """Play a whole duet on the built-in style: duet.mid, duet.wav, duet.png and report.json."""
    from plugin_bridge.duet.demo import play_demo
    from plugin_bridge.duet.report import write_report
    from plugin_bridge.music.midi_file import write_midi
    from plugin_bridge.render.audio import render_wav
    from plugin_bridge.render.picture import draw_duet

    _folder(folder)
    engine = _engine(style_name)
    with _bar("playing", seconds) as tick:
        duet = play_demo(engine, seconds=seconds, seed=seed, progress=tick)
    write_midi(duet.clip, folder / "duet.mid")
    audio = render_wav(duet.clip, folder / "duet.wav")
    draw_duet(duet.clip, folder / "duet.png", title="A duet: the player and the partner")
    report = {
        **duet.report.to_json(),
        "received_notes": duet.received_notes,
        "received_hung": duet.received_hung,
        "audio": audio.as_dict(),
    }
    write_report(report, folder / "report.json")
    if as_json:
        _print_json(report)
        return
    through = {"loopback": "an in-process loopback (no MIDI system here)"}.get(duet.report.transport)
    click.echo(
        f"Played {report['seconds']:.0f} s through {through or duet.report.transport + ' virtual ports'}."
    )
    click.echo(
        f"You hear {report['player_notes']} notes of the player and {report['partner_notes']} of the partner;"
    )
    click.echo(f"{report['hung_notes']} notes hang; reaction {_spread(report['reaction_ms'])}, "
               f"lateness {_spread(report['lateness_ms'])}, "
               f"a model step {_spread(report['step_ms'])}.")  # fmt: skip
    click.echo(f"Listen to {folder / 'duet.wav'}, look at {folder / 'duet.png'}, open {folder / 'duet.mid'}.")


@commands.command()
@click.option("--input", "source", help="Existing port to listen to; without it a virtual one is made.")
@click.option("--output", "target", help="Existing port to play to; without it a virtual one is made.")
@click.option(
    "--input-name", default="Plugin Bridge In", show_default=True, help="Name of the virtual input."
)
@click.option(
    "--output-name", default="Plugin Bridge Out", show_default=True, help="Name of the virtual output."
)
@click.option(
    "--style",
    "style_names",
    multiple=True,
    default=("base",),
    show_default=True,
    help="A style's name or folder, or a blend: evans=0.7,mine=0.3. Given several times: MIDI program "
    "changes 0, 1, ... choose among them, from the next phrase on.",
)
@click.option("--mode", help="How the partner plays: answer, continuous, chunk, comp or solo.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A control, such as temperature=0.9 (plugin-bridge controls lists them); may be repeated.",
)
@click.option("--chords", help="A chart to follow, a chord a bar, from the start on.")
@click.option(
    "--tempo", type=click.FloatRange(20, 400), default=120.0, show_default=True, help="Tempo of the chart."
)
@click.option("--seconds", type=click.FloatRange(min=1.0), help="Stop after so long; without it: Ctrl-C.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--report", "report_path", type=_PATH, help="Write report.json here at the end.")
@click.option("--save", type=_PATH, help="Write the MIDI of both parts here at the end.")
@_takes
@_json
def jam(
    source: str | None, target: str | None, input_name: str, output_name: str,
    style_names: tuple[str, ...], mode: str | None, settings: tuple[str, ...],
    chords: str | None, tempo: float, seconds: float | None, seed: int,
    report_path: Path | None, save: Path | None, takes: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Play live, in the foreground: the partner answers your phrases, or plays along with you."""
    from plugin_bridge.duet.calibration import Calibrations, calibrations_path
    from plugin_bridge.duet.controls import Controls, settings_of
    from plugin_bridge.duet.live import JamRequest, jam_live
    from plugin_bridge.duet.report import write_report
    from plugin_bridge.duet.takes import takes_folder
    from plugin_bridge.music.midi_file import write_midi

    controls = Controls()
    for name, value in settings_of((*([f"mode={mode}"] if mode else []), *settings)).items():
        controls = controls.with_value(name, value)
    for path in (report_path, save):
        if path is not None:
            _folder(path.parent)

    def tell(text: str) -> None:
        click.echo(text, err=as_json)

    styles = tuple(_load(name) for name in style_names)
    request = JamRequest(
        source,
        target,
        input_name,
        output_name,
        chords,
        tempo,
        seconds,
        seed,
        controls,
        takes or takes_folder(),
        Calibrations(calibrations_path()),
        styles,
    )
    result = jam_live(_engine(style_names[0]), request, tell)
    report = result.report.to_json()
    if save is not None:
        write_midi(result.clip, save)
    if report_path is not None:
        write_report(report, report_path)
    if result.problem is not None:
        raise result.problem
    if as_json:
        _print_json(report)
    else:
        click.echo(f"{report['player_notes']} notes of yours, {report['partner_notes']} of the partner; "
                   f"{report['hung_notes']} hang; reaction {_spread(report['reaction_ms'])}.")  # fmt: skip


@commands.command()
@click.option("--input", "source", help="Existing port to listen to; without it a virtual one is made.")
@click.option("--output", "target", help="Existing port to play to; without it a virtual one is made.")
@click.option("--input-name", default="Plugin Bridge In", show_default=True)
@click.option("--output-name", default="Plugin Bridge Out", show_default=True)
@_json
def calibrate(
    source: str | None, target: str | None, input_name: str, output_name: str, as_json: bool
) -> None:
    """Measure how long MIDI takes from the output to the input, by a cable or a loopback between the two, and
    make up for it from now on."""
    from dataclasses import asdict

    from plugin_bridge.duet.calibration import Calibrations, calibrations_path
    from plugin_bridge.duet.live import calibrate as measure

    known = Calibrations(calibrations_path())
    heard, played, delay = measure(
        source, target, (input_name, output_name), known, lambda text: click.echo(text, err=True)
    )
    if as_json:
        _print_json({"input": heard, "output": played, **asdict(delay)})
        return
    click.echo(f"from {played!r} to {heard!r}: {delay.p50:.1f} ms (p95 {delay.p95:.1f}, jitter "
               f"{delay.jitter:.1f}, {delay.lost} of {delay.sent} lost)")  # fmt: skip
    click.echo("jam on these ports dates what it hears, and plays, half of it earlier")


@commands.group()
def take() -> None:
    """Takes: what was played lately, as MIDI, and whole sessions to play again."""


@take.command("list")
@_takes
@_json
def list_takes(takes: Path | None, as_json: bool) -> None:
    """List the takes there are, the newest first."""
    from plugin_bridge.duet.takes import takes_folder

    folder = takes or takes_folder()
    found = sorted(folder.glob("*.take"), key=lambda path: path.stat().st_mtime, reverse=True)
    if as_json:
        _print_json(
            [{"name": path.stem, "take": str(path), "midi": str(path.with_suffix(".mid"))} for path in found]
        )
        return
    if not found:
        click.echo(f"no takes in {folder}; they are made by jam")
    for path in found:
        click.echo(f"{path.stem}  {path.with_suffix('.mid')}")


@take.command("save")
@click.option("-o", "--output", type=_PATH, required=True, help="The MIDI file to write.")
@_takes
def save_latest(output: Path, takes: Path | None) -> None:
    """Save what the latest session kept, both parts, as a MIDI file with its take beside it."""
    import shutil

    from plugin_bridge.duet.takes import LATEST, takes_folder
    from plugin_bridge.files import atomic_path

    folder = takes or takes_folder()
    if not (folder / f"{LATEST}.take").is_file():
        raise BridgeError(f"{folder}: there is no take yet; play with jam first")
    _folder(output.parent)
    for suffix, target in ((".mid", output), (".take", output.with_suffix(".take"))):
        with atomic_path(target) as temporary:
            shutil.copyfile(folder / f"{LATEST}{suffix}", temporary)
    click.echo(str(output))


@take.command("replay")
@click.argument("path", type=_PATH)
@click.option("--style", "style_names", multiple=True, help="The styles it was played with, in their order.")
@click.option("-o", "--output", type=_PATH, help="Write the MIDI of both parts here.")
@_json
def replay(path: Path, style_names: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Play a whole session again from its tape, and compare. Exit status 1 where it comes out differently."""
    from plugin_bridge.duet.takes import load_take, replay_take
    from plugin_bridge.music.midi_file import write_midi

    take = load_take(path)
    names = style_names or (take.style, *(name for name in take.styles if name != take.style))
    compared = replay_take(
        take, _engine(take.style if not style_names else names[0]), [_load(name) for name in names]
    )
    if output is not None:
        _folder(output.parent)
        write_midi(compared.clip(), output)
    report = {"events": compared.events, "same": compared.same, "equal": compared.equal}
    if as_json:
        _print_json(report)
    else:
        click.echo(f"{compared.same} of {compared.events} events of the partner are the same")
    if not compared.equal:
        raise click.exceptions.Exit(1)


@commands.command()
@click.option("--chords", default="", help='A chord a bar, like "Cmaj7 Dm7 G7 Cmaj7"; repeated as needed.')
@click.option("--tempo", type=click.FloatRange(20, 400), default=120.0, show_default=True)
@click.option("--bars", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--beats", type=click.IntRange(1, 8), default=4, show_default=True, help="Quarter notes in a bar."
)
@_style
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 4), help="Without it, the style's own.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Without it, the style's own.")
@_adherence
@click.option("--prompt", type=_PATH, help="A MIDI file to play first and go on from.")
@click.option("-o", "--output", type=_PATH, required=True, help="The MIDI file to write.")
@_json
def generate(
    chords: str, tempo: float, bars: int, beats: int, style_name: str, seed: int, temperature: float | None,
    top_p: float | None, adherence: float, prompt: Path | None, output: Path, as_json: bool,
) -> None:  # fmt: skip
    """Write a MIDI clip of the partner playing alone; the same seed gives the same file."""
    from dataclasses import replace

    from plugin_bridge.engine.generation import Request
    from plugin_bridge.engine.generation import generate as generate_clip
    from plugin_bridge.music.chords import parse_progression
    from plugin_bridge.music.harmony import chord_tone_rate
    from plugin_bridge.music.midi_file import read_midi, write_midi

    progression = tuple(parse_progression(chords)) if chords else ()
    lead = read_midi(prompt).clip() if prompt else None
    request = Request(tempo, bars, beats, progression, seed, None, adherence, lead)
    _folder(output.parent)
    engine = _engine(style_name)
    sampling = engine.style.sampling
    if temperature is not None:
        sampling = replace(sampling, temperature=temperature)
    if top_p is not None:
        sampling = replace(sampling, top_p=top_p)
    with _bar("generating", request.bars * request.bar_seconds) as tick:
        clip = generate_clip(engine, replace(request, sampling=sampling), tick)
    write_midi(clip, output, tempo=tempo)
    rate = chord_tone_rate(clip)
    report = {
        "output": str(output), "notes": len(clip.notes), "seconds": round(clip.duration, 2), "seed": seed,
        "style": style_name, "chord_tone_rate": None if rate is None else round(rate, 4),
    }  # fmt: skip
    if as_json:
        _print_json(report)
        return
    click.echo(f"{output}: {report['notes']} notes, {report['seconds']} s")
    if rate is not None:
        click.echo(f"chord-tone rate {rate:.0%}")


@commands.command()
@_json
def ports(as_json: bool) -> None:
    """List the MIDI ports there are, and what they are reached through."""
    from dataclasses import asdict

    from plugin_bridge.ports.midi_ports import list_ports, transport_report

    found = list_ports()
    if as_json:
        _print_json(asdict(found))
        return
    click.echo(f"through {transport_report()}")
    for title, names in (("inputs (jam --input)", found.inputs), ("outputs (jam --output)", found.outputs)):
        click.echo(title + ("" if names else ": none"))
        for index, name in enumerate(names):
            click.echo(f"  {index}  {name}")


@commands.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of the documentation.")
@_json
def controls(as_markdown: bool, as_json: bool) -> None:
    """List the controls: what can be set while the partner plays, and by which MIDI controller."""
    from plugin_bridge.duet.controls import TABLE, markdown

    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    rows = [
        {
            "name": row.name, "default": row.show(row.default), "range": row.range, "unit": row.unit,
            "controller": row.controller, "what": row.what,
        }
        for row in TABLE
    ]  # fmt: skip
    if as_json:
        _print_json(rows)
    for row in () if as_json else rows:
        click.echo(f"{row['name']:14} {row['default']:>10}  CC {row['controller']:<4} {row['what']}")
        click.echo(f"{'':26}{row['range']} {row['unit']}".rstrip())


@commands.command()
@_json
def styles(as_json: bool) -> None:
    """List the installed styles."""
    from plugin_bridge.engine.bundle import installed_styles, load_style

    rows: list[dict[str, Any]] = []
    for folder in installed_styles():
        try:
            style = load_style(folder)
        except BridgeError as error:
            rows.append({"name": folder.name, "problem": str(error)})
            continue
        sources = style.description["provenance"].get("sources", {})
        rows.append({
            "name": folder.name, "folder": str(folder), "parameters": style.sizes.parameters,
            "precision": style.precision, "sources": sorted(sources),
        })  # fmt: skip
    if as_json:
        _print_json(rows)
    for row in () if as_json else rows:
        if "problem" in row:
            click.echo(f"{row['name']}: {row['problem']}")
        else:
            click.echo(
                f"{row['name']}: {row['parameters'] / 1e6:.1f} M parameters, {row['precision']}, "
                f"{row['folder']}"
            )


@commands.command()
@_json
def doctor(as_json: bool) -> None:
    """Check what a duet needs, and say how to mend what is wrong. Exit status 1 when something is."""
    from plugin_bridge.daemon.doctor import examine_daemon
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.duet.doctor import examine

    findings = [*examine(), *examine_daemon(user_folders())]
    if as_json:
        _print_json([finding.to_json() for finding in findings])
    for finding in () if as_json else findings:
        click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.found}")
        if finding.mend:
            click.echo(f"     -> {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


@commands.command()
@click.argument("inputs", type=_PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=_PATH, required=True, help="The prepared folder to write.")
@click.option("--exclude", type=_PATH, help="A text file of file names to leave out, one a line.")
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
@_json
def prepare(
    inputs: tuple[Path, ...], output: Path, exclude: Path | None, licences: tuple[str, ...], valid: float,
    test: float, cluster: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Turn MIDI files, folders and zips (with chord and beat sidecars) into training data."""
    from dataclasses import asdict

    prepare_data = _training_module("model.prepare").prepare
    leave_out = frozenset(exclude.read_text(encoding="utf-8").split("\n")) - {""} if exclude else frozenset()
    stated = dict(_pair(text, "--licence SOURCE=LICENCE") for text in licences)

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        return iter(_progress(items, "reading", total))

    summary = prepare_data(
        inputs, output, exclude=leave_out, licences=stated, held_out=(valid, test), cluster=cluster,
        progress=progress,
    )  # fmt: skip
    if as_json:
        _print_json(asdict(summary))
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


@commands.group()
def train() -> None:
    """Train a base style, or a style of your own."""


@train.command("base")
@click.option("--data", type=_PATH, required=True, help="A prepared folder.")
@click.option(
    "--out", "folder", type=_PATH, required=True, help="Folder of the run; an interrupted one goes on."
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
    training = _training_module("model.training")
    train_base = _training_module("model.train_base").train_base
    network = _training_module("model.config").load_config(size)
    weights = tuple(
        (name, _number(value, name)) for name, value in (_pair(text, "--mix SOURCE=WEIGHT") for text in mix)
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
@click.argument("midi", type=_PATH, nargs=-1, required=True)
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
@click.option("--base-data", type=_PATH, help="Prepared base data, to mix in and to measure forgetting on.")
@click.option(
    "--mix", type=click.FloatRange(0, 0.9), default=0.0, show_default=True, help="Share of base music."
)
@click.option(
    "--others", type=_PATH, multiple=True, help="MIDI of other performers, to measure on; may be repeated."
)
@click.option("--licence", default="not stated", show_default=True, help="Of the pieces, for the record.")
@click.option(
    "--clips", type=click.IntRange(min=0), default=100, show_default=True, help="Clips to look for copies in."
)
@click.option("--adapter-only", is_flag=True, help="Stop at the adapter: no export, nothing installed.")
@click.option("--work", type=_PATH, help="Folder of the run; without it one of the program's own.")
@click.option("-o", "--output", type=_PATH, help="The bundle folder; without it the style is installed.")
@click.option("--restart", is_flag=True, help="Throw an earlier run of this name away.")
@click.option("--bf16/--no-bf16", default=True, show_default=True, help="Compute in bfloat16.")
@click.option("--seed", type=int, default=0, show_default=True)
@_json
def train_style_command(
    midi: tuple[Path, ...], name: str, base: str, method: str, rank: int, alpha: float, dropout: float,
    epochs: int, batch: int, length: int, learning_rate: float | None, patience: int, held_out: int | None,
    base_data: Path | None, mix: float, others: tuple[Path, ...], licence: str, clips: int,
    adapter_only: bool, work: Path | None, output: Path | None, restart: bool, bf16: bool, seed: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Learn a style from a musician's own MIDI files (ten or so) and install it. Resumes where it was."""
    from plugin_bridge.engine.bundle import user_styles

    module = _training_module("export.style")
    adapter = _training_module("model.adapter").AdapterOptions(rank, alpha, dropout)
    training = _training_module("model.train_style").StyleTraining(
        method=method, adapter=adapter, epochs=epochs, batch=batch, length=length,
        learning_rate=learning_rate, patience=patience, held_out=held_out, base_data=base_data, mix=mix,
        seed=seed, bf16=bf16,
    )  # fmt: skip
    request = module.StyleRequest(
        midi, name, work or user_styles().parent / "training" / name, output or user_styles() / name,
        base, licence, training, others, clips=clips, adapter_only=adapter_only, restart=restart,
    )  # fmt: skip

    def progress(items: Iterable[Any], total: int) -> Iterator[Any]:
        return iter(_progress(items, "reading", total))

    report = module.make_style(request, lambda line: click.echo(line, err=as_json), progress)
    if not report:
        return  # one of several processes: the first one tells
    if as_json:
        _print_json(report)
        return
    minutes = sum(report["seconds"].values()) / 60
    click.echo(f"{minutes:.1f} minutes in all; the report: {request.work / module.REPORT}")
    if not adapter_only:
        click.echo(f"Play it: plugin-bridge jam --style {shlex.quote(str(output or name))}")


@commands.command()
@click.option("--data", type=_PATH, required=True, help="A prepared folder, or MIDI to prepare.")
@_style
@click.option("--train-data", type=_PATH, help="Prepared folder whose training split the n-grams learn.")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True)
@click.option(
    "--max-tokens", type=click.IntRange(min=100), default=120_000, show_default=True, help="Tokens a view."
)
@click.option(
    "--clips", type=click.IntRange(min=0), default=100, show_default=True, help="Clips to generate."
)
@click.option("--clip-seconds", type=click.FloatRange(5, 300), default=30.0, show_default=True)
@_adherence
@click.option("--record", is_flag=True, help="Keep the figures in the style's bundle.json.")
@_json
def evaluate(
    data: Path, style_name: str, train_data: Path | None, split: str, max_tokens: int, clips: int,
    clip_seconds: float, adherence: float, record: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure a style: nats a token and a note beside n-grams, chord-tone rate, validity, copying."""
    module = _training_module("model.evaluate")
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

    style = _load(style_name)
    if record and style.factors:
        raise BridgeError(f"{style_name}: a blend has no bundle of its own to record figures in")
    report = module.evaluate(style, data, options, progress)
    if record:
        kept = {key: report[key] for key in module.RECORDED}
        _training_module("export.bundle").set_metrics(style.folder, {"evaluation": kept})
    if as_json:
        _print_json(report)
    else:
        click.echo(module.render_report(report))


@commands.command()
@click.argument("checkpoint", type=_PATH)
@click.option("--name", default=None, help="The style's name; without it the bundle folder's.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True)
@click.option(
    "--adapter", type=_PATH, help="An adapter's folder; CHECKPOINT is then its base, by name or folder."
)
@click.option("--base", "as_base", is_flag=True, help="A base: keeps its weights to train styles on.")
@click.option("-o", "--output", type=_PATH, required=True, help="The bundle folder to write.")
@_json
def export(
    checkpoint: Path, name: str | None, precision: str, adapter: Path | None, as_base: bool, output: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Turn a checkpoint into a style bundle: ONNX with a key-value cache, quantised, parity checked."""
    from dataclasses import asdict

    if adapter is not None and as_base:
        raise BridgeError("an adapter's bundle is no base: leave out --base or --adapter")
    if adapter is not None:
        parity = _training_module("export.adapter").export_adapter(
            str(checkpoint), adapter, output, name=name or output.name, precision=precision
        )
    else:
        parity = _training_module("export.bundle").export_bundle(
            checkpoint, output, name=name or output.name, precision=precision, as_base=as_base
        )
    if as_json:
        _print_json({"output": str(output), "parity": asdict(parity)})
        return
    click.echo(f"{output}: largest difference of a logit from PyTorch: stepwise {parity.torch_steps:.1e}, "
               f"ONNX fp32 {parity.onnx_fp32:.1e}, ONNX int8 {parity.onnx_quantised:.1e} "
               f"({parity.quantised_nats:.1e} nats a token)")  # fmt: skip


@commands.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command("engine")
@_style
@click.option(
    "--past", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Tokens in the cache."
)
@click.option(
    "--long", "long_run", type=click.IntRange(min=0), default=0, help="Also a session of so many tokens."
)
@click.option("--beside", help="Another style, whose step is measured in turn with this one's.")
@_json
def bench_engine_command(
    style_name: str, past: int, long_run: int, beside: str | None, as_json: bool
) -> None:
    """A step of the engine, beside memory's floor and beside torch."""
    from plugin_bridge.engine.bench_engine import bench_engine

    other = _load(beside) if beside else None
    _print_report(bench_engine(_load(style_name), past=past, long_run=long_run, beside=other), as_json)


@bench.command("sampler")
@_json
def bench_sampler_command(as_json: bool) -> None:
    """A draw of the sampler, beside numpy and torch."""
    from plugin_bridge.engine.bench_sampler import bench_sampler

    _print_report(bench_sampler(), as_json)


@bench.command("duet")
@click.option("--seconds", type=click.FloatRange(20, 600), default=60.0, show_default=True)
@_style
@_json
def bench_duet_command(seconds: float, style_name: str, as_json: bool) -> None:
    """Reaction, lateness and step time of a live duet with the built-in performance."""
    from plugin_bridge.duet.demo import play_demo

    with _bar("playing", seconds) as tick:
        duet = play_demo(_engine(style_name), seconds=seconds, seed=0, progress=tick)
    _print_report(duet.report.to_json(), as_json)


def _load(style_name: str) -> Style:
    from plugin_bridge.engine.adapters import choose_style

    return choose_style(style_name)


def _engine(style_name: str) -> Engine:
    from plugin_bridge.engine.engine import Engine

    return Engine(_load(style_name))


def _folder(folder: Path) -> None:
    """Make a folder to write to, or say why that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BridgeError(f"{folder}: is a file, not a folder; choose another") from error
    except OSError as error:
        raise BridgeError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error


def _training_module(name: str) -> Any:
    """A module of the training side; says which extra to install where it is missing."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BridgeError(
            f"this command needs {error.name}: python -m pip install 'plugin-bridge[train]'"
        ) from error


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise BridgeError(f"{text!r} is not of the form {form}")
    return name, value


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BridgeError(f"{name}: {text!r} is not a number") from error
    if not 0 <= value <= 100:
        raise BridgeError(f"{name}: {text} is not a weight between 0 and 100")
    return value


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(report)
        return
    for key, value in report.items():
        click.echo(f"{key}: {_spread(value) if isinstance(value, dict) and 'p50' in value else value}")


def _spread(value: dict[str, Any]) -> str:
    if not value["n"]:
        return "not measured"
    return f"p50 {value['p50']:.1f} ms, p99 {value['p99']:.1f} ms (n={value['n']})"


def _progress(items: Iterable[_Item], what: str, total: int) -> Iterable[_Item]:
    from tqdm import tqdm

    progress: Iterable[_Item] = tqdm(items, desc=what, total=total, disable=None, leave=False)
    return progress


@contextmanager
def _bar(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar that is told where it stands; nothing where no terminal is there."""
    from tqdm import tqdm

    with tqdm(desc=what, total=round(total), disable=None, leave=False, unit="s") as bar:

        def reach(value: float) -> None:
            bar.n = round(value)
            bar.refresh()

        yield reach


if __name__ == "__main__":
    main()
