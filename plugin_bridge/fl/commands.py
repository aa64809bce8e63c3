"""`plugin-bridge fl`: FL Studio's scripts, and clips for its piano roll."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.placing import Change

_PATH = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_user_data = click.option(
    "--user-data", type=_PATH, help="FL Studio's user data folder; without it every one that is found."
)
_takes = click.option("--takes", type=_PATH, help="Folder of takes; without it the program's own.")


@click.group()
def fl() -> None:
    """FL Studio: its controller script, and clips for its piano roll."""


@fl.command("install")
@_user_data
@_takes
@_json
def install_command(user_data: Path | None, takes: Path | None, as_json: bool) -> None:
    """Install the scripts in FL Studio. May be repeated; your own edits are kept."""
    from plugin_bridge.files import takes_folder
    from plugin_bridge.fl.installer import CLICKS, install
    from plugin_bridge.fl.takes import last_takes

    found = last_takes(takes or takes_folder())
    changes = {str(root): install(root, found) for root in _folders(user_data)}
    if _print_changes(changes, as_json):
        return
    click.echo("Left to do in FL Studio, with plugin-bridge running:")
    for number, click_text in enumerate(CLICKS, 1):
        click.echo(f"  {number}. {click_text}")


@fl.command("uninstall")
@_user_data
@_json
def uninstall_command(user_data: Path | None, as_json: bool) -> None:
    """Take everything out of FL Studio again; what was in the way comes back."""
    from plugin_bridge.fl.installer import uninstall

    _print_changes({str(root): uninstall(root) for root in _folders(user_data)}, as_json)


@fl.command("status")
@_user_data
@_json
def status_command(user_data: Path | None, as_json: bool) -> None:
    """Say what each FL Studio has installed, and in which version."""
    from plugin_bridge.fl.installer import status

    found = [status(root) for root in _folders(user_data)]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=1))
        return
    for each in found:
        versions = f"script {each.installed}, " if each.installed else ""
        click.echo(f"{each.folder}: {each.state} ({versions}program {each.program})")
        for path in each.changed:
            click.echo(f"  changed or missing: {path}")
        if each.state != "up to date":
            click.echo("  -> plugin-bridge fl install")


@fl.command("clip")
@click.argument("midi", type=_PATH, required=False)
@click.option("--last", is_flag=True, help="The newest take, in place of a file.")
@click.option("--out", type=_PATH, help="Write into this folder, in place of FL Studio's.")
@_user_data
@_takes
@_json
def clip_command(
    midi: Path | None, last: bool, out: Path | None, user_data: Path | None, takes: Path | None, as_json: bool
) -> None:
    """Write a MIDI file, or the newest take, as a script for FL Studio's piano roll."""
    from plugin_bridge.files import takes_folder
    from plugin_bridge.fl.clip import clip_files, read_take, write_files
    from plugin_bridge.fl.placing import place
    from plugin_bridge.fl.takes import last_takes

    if (midi is None) is not last:
        raise BridgeError("give a MIDI file, or --last for the newest take")
    folder = takes or takes_folder()
    kept = last_takes(folder)
    if last and not kept:
        raise BridgeError(f"{folder}: there are no takes yet; play first, or give a MIDI file")
    take = read_take(midi) if midi is not None else kept[0]
    files = clip_files(take, kept)
    if out is not None:
        written = write_files(out, files)
        click.echo(json.dumps([str(path) for path in written]) if as_json else "\n".join(map(str, written)))
        return
    if _print_changes({str(root): place(root, files) for root in _folders(user_data)}, as_json):
        return
    click.echo(
        f"{len(take.notes)} notes of {take.name}. In the piano roll: Scripting menu > Plugin Bridge clip"
    )
    click.echo("(run once, it is then run again with Ctrl+Alt+Y, on macOS Cmd+Opt+Y).")


def _folders(user_data: Path | None) -> tuple[Path, ...]:
    from plugin_bridge.fl.folders import find_folders, this_machine

    return find_folders(user_data, this_machine())


def _print_changes(changes: dict[str, list[Change]], as_json: bool) -> bool:
    """Print what was done in each FL Studio; whether that was as JSON."""
    if as_json:
        click.echo(
            json.dumps({root: [asdict(each) for each in done] for root, done in changes.items()}, indent=1)
        )
        return True
    for root, done in changes.items():
        click.echo(f"{root}: {_summary(done)}")
        for each in done:
            if each.what == "kept":
                click.echo(f"  {each.path} was not ours or was edited: kept as {each.under}")
            if each.what == "left":
                click.echo(f"  {each.path} was edited: left where it is")
    return False


def _summary(changes: Iterable[Change]) -> str:
    counts: dict[str, int] = {}
    for each in changes:
        counts[each.what] = counts.get(each.what, 0) + 1
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing to do"
