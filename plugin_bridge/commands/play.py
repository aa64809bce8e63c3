"""Playing: live, in a demo, or into a file; and what there is to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plugin_bridge.commands.options import (
    PATH,
    adherence_option,
    bar,
    json_option,
    load,
    make_engine,
    make_folder,
    print_json,
    spread_text,
    style_option,
    takes_option,
)
from plugin_bridge.errors import BridgeError


@click.command()
@click.option(
    "--out", "folder", type=PATH, default=Path("duet-demo"), show_default=True, help="Folder to write to."
)
@click.option(
    "--seconds", type=click.FloatRange(20, 600), default=45.0, show_default=True, help="How long to play."
)
@click.option("--seed", type=int, default=1, show_default=True)
@style_option
@json_option
def demo(folder: Path, seconds: float, seed: int, style_name: str, as_json: bool) -> None:
    """Play a whole duet on the built-in style: duet.mid, duet.wav, duet.png and report.json."""
    from plugin_bridge.duet.demo import play_demo
    from plugin_bridge.duet.report import write_report
    from plugin_bridge.music.midi_file import write_midi
    from plugin_bridge.render.audio import render_wav
    from plugin_bridge.render.picture import draw_duet

    make_folder(folder)
    engine = make_engine(style_name)
    with bar("playing", seconds) as tick:
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
        print_json(report)
        return
    through = {"loopback": "an in-process loopback (no MIDI system here)"}.get(duet.report.transport)
    click.echo(
        f"Played {report['seconds']:.0f} s through {through or duet.report.transport + ' virtual ports'}."
    )
    click.echo(
        f"You hear {report['player_notes']} notes of the player and {report['partner_notes']} of the partner;"
    )
    click.echo(f"{report['hung_notes']} notes hang; reaction {spread_text(report['reaction_ms'])}, "
               f"lateness {spread_text(report['lateness_ms'])}, "
               f"a model step {spread_text(report['step_ms'])}.")  # fmt: skip
    click.echo(f"Listen to {folder / 'duet.wav'}, look at {folder / 'duet.png'}, open {folder / 'duet.mid'}.")


@click.command()
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
@click.option(
    "--fl", "link_fl", is_flag=True, help="Link to FL Studio, which needs plugin-bridge fl install."
)
@click.option(
    "--learn",
    multiple=True,
    metavar="CONTROL",
    help="Learn a knob or button: the next one that you move sets this control, now and at later starts; may "
    "be repeated.",
)
@click.option("--seconds", type=click.FloatRange(min=1.0), help="Stop after so long; without it: Ctrl-C.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--report", "report_path", type=PATH, help="Write report.json here at the end.")
@click.option("--save", type=PATH, help="Write the MIDI of both parts here at the end.")
@takes_option
@json_option
def jam(
    source: str | None, target: str | None, input_name: str, output_name: str,
    style_names: tuple[str, ...], mode: str | None, settings: tuple[str, ...],
    chords: str | None, tempo: float, link_fl: bool, learn: tuple[str, ...], seconds: float | None, seed: int,
    report_path: Path | None, save: Path | None, takes: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Play live, in the foreground: the partner answers your phrases, or plays along with you."""
    from plugin_bridge.ports.kept_ports import PortNews, kept_ports
    from plugin_bridge.ports.midi_ports import endpoint, transport_report

    def tell(text: str) -> None:
        click.echo(text, err=as_json)

    ends = endpoint(source, input_name), endpoint(target, output_name)
    with kept_ports(transport_report(), *ends, PortNews(tell)) as there:  # opened while the rest is loaded
        from plugin_bridge.daemon.folders import user_folders
        from plugin_bridge.duet.calibration import Calibrations, calibrations_path
        from plugin_bridge.duet.controls import Controls, control, settings_of
        from plugin_bridge.duet.knobs import Knobs
        from plugin_bridge.duet.live import JamRequest, jam_live
        from plugin_bridge.duet.report import write_report
        from plugin_bridge.files import takes_folder
        from plugin_bridge.music.midi_file import write_midi

        controls = Controls()
        for name, value in settings_of((*([f"mode={mode}"] if mode else []), *settings)).items():
            controls = controls.with_value(name, value)
        for path in (report_path, save):
            if path is not None:
                make_folder(path.parent)
        styles = tuple(load(name) for name in style_names)
        request = JamRequest(
            chords,
            tempo,
            seconds,
            seed,
            controls,
            takes or takes_folder(),
            Calibrations(calibrations_path()),
            link_fl,
            Knobs(user_folders().knobs_file),
            tuple(control(name).name for name in learn),
            styles,
        )
        result = jam_live(make_engine(style_names[0]), there(), request, tell)
        report = result.report.to_json()
        if save is not None:  # before the ports are closed, which may take its time
            write_midi(result.clip, save)
        if report_path is not None:
            write_report(report, report_path)
    if result.problem is not None:
        raise result.problem
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report['player_notes']} notes of yours, {report['partner_notes']} of the partner; "
                   f"{report['hung_notes']} hang; "
                   f"reaction {spread_text(report['reaction_ms'])}.")  # fmt: skip


@click.command()
@click.option("--input", "source", help="Existing port to listen to; without it a virtual one is made.")
@click.option("--output", "target", help="Existing port to play to; without it a virtual one is made.")
@click.option("--input-name", default="Plugin Bridge In", show_default=True)
@click.option("--output-name", default="Plugin Bridge Out", show_default=True)
@json_option
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
        print_json({"input": heard, "output": played, **asdict(delay)})
        return
    click.echo(f"from {played!r} to {heard!r}: {delay.p50:.1f} ms (p95 {delay.p95:.1f}, jitter "
               f"{delay.jitter:.1f}, {delay.lost} of {delay.sent} lost)")  # fmt: skip
    click.echo("jam on these ports dates what it hears, and plays, half of it earlier")


@click.group()
def take() -> None:
    """Takes: what was played lately, as MIDI, and whole sessions to play again."""


@take.command("list")
@takes_option
@json_option
def list_takes(takes: Path | None, as_json: bool) -> None:
    """List the takes there are, the newest first."""
    from plugin_bridge.files import takes_folder

    folder = takes or takes_folder()
    found = sorted(folder.glob("*.take"), key=lambda path: path.stat().st_mtime, reverse=True)
    if as_json:
        print_json(
            [{"name": path.stem, "take": str(path), "midi": str(path.with_suffix(".mid"))} for path in found]
        )
        return
    if not found:
        click.echo(f"no takes in {folder}; they are made by jam")
    for path in found:
        click.echo(f"{path.stem}  {path.with_suffix('.mid')}")


@take.command("save")
@click.option("-o", "--output", type=PATH, required=True, help="The MIDI file to write.")
@takes_option
def save_latest(output: Path, takes: Path | None) -> None:
    """Save what the latest session kept, both parts, as a MIDI file with its take beside it."""
    import shutil

    from plugin_bridge.duet.takes import LATEST
    from plugin_bridge.files import atomic_path, takes_folder

    folder = takes or takes_folder()
    if not (folder / f"{LATEST}.take").is_file():
        raise BridgeError(f"{folder}: there is no take yet; play with jam first")
    make_folder(output.parent)
    for suffix, target in ((".mid", output), (".take", output.with_suffix(".take"))):
        with atomic_path(target) as temporary:
            shutil.copyfile(folder / f"{LATEST}{suffix}", temporary)
    click.echo(str(output))


@take.command("replay")
@click.argument("path", type=PATH)
@click.option("--style", "style_names", multiple=True, help="The styles it was played with, in their order.")
@click.option("-o", "--output", type=PATH, help="Write the MIDI of both parts here.")
@json_option
def replay(path: Path, style_names: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Play a whole session again from its tape, and compare. Exit status 1 where it comes out differently."""
    from plugin_bridge.duet.takes import load_take, replay_take
    from plugin_bridge.music.midi_file import write_midi

    take = load_take(path)
    names = style_names or (take.style, *(name for name in take.styles if name != take.style))
    compared = replay_take(
        take, make_engine(take.style if not style_names else names[0]), [load(name) for name in names]
    )
    if output is not None:
        make_folder(output.parent)
        write_midi(compared.clip(), output)
    report = {"events": compared.events, "same": compared.same, "equal": compared.equal}
    if as_json:
        print_json(report)
    else:
        click.echo(f"{compared.same} of {compared.events} events of the partner are the same")
    if not compared.equal:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--chords", default="", help='A chord a bar, like "Cmaj7 Dm7 G7 Cmaj7"; repeated as needed.')
@click.option("--tempo", type=click.FloatRange(20, 400), default=120.0, show_default=True)
@click.option("--bars", type=click.IntRange(min=1), default=8, show_default=True)
@click.option(
    "--beats", type=click.IntRange(1, 8), default=4, show_default=True, help="Quarter notes in a bar."
)
@style_option
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 4), help="Without it, the style's own.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Without it, the style's own.")
@adherence_option
@click.option("--prompt", type=PATH, help="A MIDI file to play first and go on from.")
@click.option("-o", "--output", type=PATH, required=True, help="The MIDI file to write.")
@json_option
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
    make_folder(output.parent)
    engine = make_engine(style_name)
    sampling = engine.style.sampling
    if temperature is not None:
        sampling = replace(sampling, temperature=temperature)
    if top_p is not None:
        sampling = replace(sampling, top_p=top_p)
    with bar("generating", request.bars * request.bar_seconds) as tick:
        clip = generate_clip(engine, replace(request, sampling=sampling), tick)
    write_midi(clip, output, tempo=tempo)
    rate = chord_tone_rate(clip)
    report = {
        "output": str(output), "notes": len(clip.notes), "seconds": round(clip.duration, 2), "seed": seed,
        "style": style_name, "chord_tone_rate": None if rate is None else round(rate, 4),
    }  # fmt: skip
    if as_json:
        print_json(report)
        return
    click.echo(f"{output}: {report['notes']} notes, {report['seconds']} s")
    if rate is not None:
        click.echo(f"chord-tone rate {rate:.0%}")


@click.command()
@json_option
def ports(as_json: bool) -> None:
    """List the MIDI ports there are, and what they are reached through."""
    from dataclasses import asdict

    from plugin_bridge.ports.midi_ports import list_ports, transport_report

    found = list_ports()
    if as_json:
        print_json(asdict(found))
        return
    click.echo(f"through {transport_report()}")
    for title, names in (("inputs (jam --input)", found.inputs), ("outputs (jam --output)", found.outputs)):
        click.echo(title + ("" if names else ": none"))
        for index, name in enumerate(names):
            click.echo(f"  {index}  {name}")


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of the documentation.")
@json_option
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
        print_json(rows)
    for row in () if as_json else rows:
        click.echo(f"{row['name']:14} {row['default']:>10}  CC {row['controller']:<4} {row['what']}")
        click.echo(f"{'':26}{row['range']} {row['unit']}".rstrip())


@click.command()
@json_option
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
        print_json(rows)
    for row in () if as_json else rows:
        if "problem" in row:
            click.echo(f"{row['name']}: {row['problem']}")
        else:
            click.echo(
                f"{row['name']}: {row['parameters'] / 1e6:.1f} M parameters, {row['precision']}, "
                f"{row['folder']}"
            )


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check what a duet needs, and say how to mend what is wrong. Exit status 1 when something is."""
    from plugin_bridge.daemon.doctor import examine_daemon
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.duet.doctor import examine

    findings = [*examine(), *examine_daemon(user_folders())]
    if as_json:
        print_json([finding.to_json() for finding in findings])
    for finding in () if as_json else findings:
        click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.found}")
        if finding.mend:
            click.echo(f"     -> {finding.mend}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


PLAY = (demo, jam, calibrate, take, generate, ports, controls, styles, doctor)
