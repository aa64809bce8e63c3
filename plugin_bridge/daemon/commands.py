"""`plugin-bridge daemon`, `config`, `status`, `page` and `ctl`: the daemon, and what asks it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plugin_bridge.daemon.learning import learn
from plugin_bridge.daemon.service_commands import service
from plugin_bridge.errors import BridgeError

if TYPE_CHECKING:
    from plugin_bridge.daemon.client import Client

_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_PATH = click.Path(path_type=Path)


def register(commands: click.Group) -> None:
    """Add all commands of the daemon."""
    for each in (daemon, config, status, page, ctl, service, setup):
        commands.add_command(each)


@click.command()
def daemon() -> None:
    """Be the bridge in the background: ports, duet, control and page, until told to end."""
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.ports.priority import hurried

    folders = user_folders()
    with ExitStack() as starting:
        if folders.address_file.exists():  # the last one did not end in order: somebody waits for notes
            starting.enter_context(hurried())
        from plugin_bridge.daemon.process import run_daemon  # a third of what the start takes

        run_daemon(folders, click.echo, started=starting.close)


@click.command()
def setup() -> None:
    """Set everything up: asks which keyboard, which DAW, and whether to start at each login."""
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.daemon.services.service import this_service
    from plugin_bridge.daemon.setup import Machine, set_up
    from plugin_bridge.daemon.terminal import Terminal, install_fl
    from plugin_bridge.ports.midi_ports import list_ports

    if not set_up(user_folders(), Machine(list_ports, this_service, install_fl), Terminal()):
        raise click.exceptions.Exit(1)


# the configuration


@click.group()
def config() -> None:
    """The daemon's configuration. A change of the file is taken over while the daemon runs."""


@config.command("show")
@click.option("--path", "path_only", is_flag=True, help="Print where the file is, and nothing else.")
@_json
def config_show(path_only: bool, as_json: bool) -> None:
    """Print the whole configuration, every key with what it means."""
    from plugin_bridge.daemon.config import KEYS, read_config, show_config
    from plugin_bridge.daemon.folders import user_folders

    path = user_folders().config_file
    if path_only:
        click.echo(str(path))
        return
    found = read_config(path)
    if as_json:
        values = {".".join(key.path): found.get(key.section, key.name) for key in KEYS}
        _print_json({**values, "controls": dict(found.controls)})
        return
    click.echo(f"# {path}{'' if path.exists() else ' (not there yet: these are the defaults)'}")
    click.echo(show_config(found), nl=False)


@config.command("check")
@click.argument("path", type=_PATH, required=False)
def config_check(path: Path | None) -> None:
    """Check the configuration, or the file PATH. What is wrong is named by file, line and key."""
    from plugin_bridge.daemon.config import read_config
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.daemon.saved_connections import read_connections

    if path is not None:
        if not path.is_file():
            raise BridgeError(f"{path}: there is no such file")
        read_config(path)
    else:
        folders = user_folders()
        path = folders.config_file
        read_config(path)
        read_connections(folders.connections_file)
    click.echo(f"{path}: all is well")


@config.command("edit")
def config_edit() -> None:
    """Edit the configuration in your editor. What is wrong is said, and not saved."""
    from plugin_bridge.daemon.config import parse_config, read_config, read_text, show_config
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.files import atomic_path

    path = user_folders().config_file
    text = read_text(path) or show_config(read_config(path))
    while True:
        edited = click.edit(text, extension=".toml")
        if edited is None:
            click.echo("nothing has changed")
            return
        try:
            parse_config(edited, path)
        except BridgeError as error:
            click.echo(str(error), err=True)
            click.confirm("Edit again?", default=True, abort=True, err=True)
            text = edited
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(edited, encoding="utf-8")
        click.echo(f"{path}: saved")
        return


# asking the daemon


@click.command()
@click.option("--token", is_flag=True, help="Print the token for scripts of your own, and nothing else.")
@_json
def status(token: bool, as_json: bool) -> None:
    """Say how the daemon and its duet are. Exit status 2 where none runs."""
    client = _client()
    if token:
        click.echo(client.token)
        return
    state = client.get("/api/state")
    try:
        metrics = client.get("/api/metrics")
    except BridgeError:
        metrics = None  # between two duets
    if as_json:
        _print_json({"url": client.address.url, "state": state, "metrics": metrics})
        return
    muted = ", muted" if state["mute"] else ""
    since = f"for {_time(state['uptime_s'])} (process {state['pid']})"
    click.echo(f"{state['duet']} in style {state['style']!r}, mode {state['mode']}{muted}, {since}")
    click.echo(f"through {state['transport']}: {', '.join(state['connected']) or 'no ports yet'}")
    for line in filter(None, (state["problem"], *state["problems"])):
        click.echo(f"  {line}")
    if state["restart_needed"]:
        click.echo(f"  waits for a restart: {', '.join(state['restart_needed'])}")
    if metrics is not None:
        report, process = metrics["report"], metrics["process"]
        click.echo(f"{report['player_notes']} notes of yours, {report['partner_notes']} of the partner, "
                   f"{report['hung_notes']} sound; reaction {_spread(report['reaction_ms'])}")  # fmt: skip
        memory = "" if process["memory_bytes"] is None else f"{process['memory_bytes'] / 1e6:.0f} MB, "
        click.echo(f"{memory}{process['cpu_seconds']:.1f} s of processor time")
    click.echo(f"page: {client.address.url} (plugin-bridge page opens it)")


@click.command()
@click.option("--print", "only_print", is_flag=True, help="Print the address, with its token, and no more.")
def page(only_print: bool) -> None:
    """Open the daemon's page in the browser."""
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.daemon.page_opener import write_opener

    client = _client()
    if only_print:
        click.echo(client.page())
        return
    if click.launch(str(write_opener(user_folders().state, client.page()))) != 0:
        raise BridgeError("no browser could be opened: plugin-bridge page --print prints the address")


@click.group()
def ctl() -> None:
    """Control the daemon that runs, from here or from a script of yours."""


@ctl.command("panic")
def ctl_panic() -> None:
    """Everything off, now."""
    _client().post("/api/panic")
    click.echo("everything is off")


@ctl.command("set")
@click.argument("name")
@click.argument("value")
def ctl_set(name: str, value: str) -> None:
    """Set a control, such as: temperature 0.9 (plugin-bridge controls lists them)."""
    from plugin_bridge.daemon.config import plain_value
    from plugin_bridge.duet.controls import control

    row = control(name)
    number = row.parse(value)
    done = _client().put(f"/api/controls/{row.name}", value=plain_value(row, number))
    click.echo(f"{done['name']} = {done['shown']}")


@ctl.command("get")
@click.argument("name", required=False)
@_json
def ctl_get(name: str | None, as_json: bool) -> None:
    """Print a control's value, or all of them."""
    from plugin_bridge.duet.controls import control

    wanted = None if name is None else control(name).name
    rows = _client().get("/api/controls")["controls"]
    found = {
        row["name"]: row["shown"]
        for row in rows
        if row["value"] is not None and wanted in (None, row["name"])
    }
    if as_json:
        _print_json(found)
    for each, shown in () if as_json else found.items():
        click.echo(f"{each} = {shown}" if name is None else shown)


@ctl.command("mode")
@click.argument("name")
def ctl_mode(name: str) -> None:
    """Play in another mode: answer, continuous, chunk, comp or solo."""
    click.echo(f"mode = {_client().put('/api/controls/mode', value=name)['shown']}")


@ctl.command("style")
@click.argument("name")
def ctl_style(name: str) -> None:
    """Play in another style, or a blend (evans=0.7,mine=0.3), from the next phrase on."""
    click.echo(f"style = {_client().put('/api/style', style=name)['style']}")


@ctl.command("connect")
@click.argument("direction", type=click.Choice(["input", "output"]))
@click.argument("pattern")
def ctl_connect(direction: str, pattern: str) -> None:
    """Connect the port of this name (or a pattern, "Keystation*") whenever it is there."""
    _connect(direction, pattern, connect=True)


@ctl.command("disconnect")
@click.argument("direction", type=click.Choice(["input", "output"]))
@click.argument("pattern")
def ctl_disconnect(direction: str, pattern: str) -> None:
    """Connect it no longer."""
    _connect(direction, pattern, connect=False)


@ctl.command("take")
@click.option("--play", "name", help="Play this take instead of saving one.")
@click.option("--list", "listed", is_flag=True, help="List the takes.")
def ctl_take(name: str | None, listed: bool) -> None:
    """Save the latest minutes as a take."""
    client = _client()
    if listed:
        for row in client.get("/api/takes")["takes"]:
            click.echo(row["name"])
    elif name is not None:
        click.echo(f"plays for {client.post(f'/api/takes/{name}/play')['seconds']:.0f} s")
    else:
        click.echo(f"saved {client.post('/api/takes')['name']}")


ctl.add_command(learn)


def _connect(direction: str, pattern: str, *, connect: bool) -> None:
    ports = _client().put("/api/connections", direction=direction, pattern=pattern, connect=connect)
    waiting = {"direction": direction, "pattern": pattern} in ports["waiting"]
    later = "; it is not there now and is connected when it comes" if waiting and connect else ""
    click.echo(f"{'connected' if connect else 'disconnected'} {pattern!r}{later}")


def _client() -> Client:
    from plugin_bridge.daemon.client import Client
    from plugin_bridge.daemon.folders import user_folders

    return Client(user_folders())


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _spread(value: dict[str, Any]) -> str:
    return "not measured" if not value["n"] else f"p50 {value['p50']:.1f} ms, p99 {value['p99']:.1f} ms"
