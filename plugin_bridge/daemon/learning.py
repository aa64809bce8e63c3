"""`ctl learn`: a person moves a knob, and the daemon says which it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from plugin_bridge.errors import BridgeError

if TYPE_CHECKING:
    from plugin_bridge.daemon.client import Client

PATIENCE = 30.0
"""Seconds that a person has to find the knob."""


@click.command()
@click.argument("name", metavar="CONTROL", required=False)
@click.option("--list", "listed", is_flag=True, help="List what was learned.")
@click.option("--forget", metavar="CONTROL", help="Forget the knob of this control.")
@click.option("--json", "as_json", is_flag=True, help="Print what was learned, all of it, as JSON.")
def learn(name: str | None, listed: bool, forget: str | None, as_json: bool) -> None:
    """Learn a knob or button: the next one that you move sets CONTROL, from now on and after a restart."""
    from plugin_bridge.daemon.client import Client
    from plugin_bridge.daemon.folders import user_folders
    from plugin_bridge.duet.controls import control

    if (name is not None) + listed + (forget is not None) != 1:
        raise BridgeError("say one of: ctl learn CONTROL, ctl learn --list, ctl learn --forget CONTROL")
    wanted = None if listed else control(name or forget or "").name
    client = Client(user_folders())
    if forget is not None:
        client.delete(f"/api/knobs/{wanted}")
    elif wanted is not None:
        learn_knob(client, wanted, lambda text: click.echo(text, err=as_json))
    found = client.get("/api/knobs")["knobs"]
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif forget is not None:
        click.echo(f"{wanted} has no knob any more")
    elif not found:
        click.echo("nothing was learned yet: plugin-bridge ctl learn CONTROL")
    else:
        for row in found:
            if wanted in (None, row["control"]):
                click.echo(f"{row['control']}: controller {row['number']} on channel {row['channel']}")


def learn_knob(client: Client, name: str, tell: Callable[[str], None], patience: float = PATIENCE) -> None:
    """Have the daemon learn the control `name`, and return when it has. BridgeError when nothing is moved
    within `patience` seconds or so, or another control is to be learned instead; then nothing is learned,
    whatever moves later."""
    client.put("/api/learning", control=name)
    tell(f"move the knob, or press the button, for {name}")
    end = time.monotonic() + patience
    try:
        while time.monotonic() < end:
            learning = client.get(f"/api/learning/{name}")["learning"]  # it answers when that changes
            if learning is None:
                return
            if learning != name:
                raise BridgeError(f"{learning} is learned instead of {name}")
        raise BridgeError(
            f"nothing was moved within {patience:.0f} s: is the controller connected (plugin-bridge ports), "
            "and does it send control changes?"
        )
    except BaseException:
        if client.get("/api/knobs")["learning"] == name:
            client.put("/api/learning", control=None)
        raise
