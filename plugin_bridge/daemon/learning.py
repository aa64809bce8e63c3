"""`ctl learn`: a person moves a knob, and the daemon says which it was."""

from __future__ import annotations

import time
from collections.abc import Callable

from plugin_bridge.daemon.client import Client
from plugin_bridge.errors import BridgeError

PATIENCE = 30.0
"""Seconds that a person has to find the knob."""
LOOK = 0.1


def learn_knob(
    client: Client, name: str, tell: Callable[[str], None], wait: Callable[[float], object] = time.sleep
) -> None:
    """Have the daemon learn the control `name`, and return when it has. BridgeError when nothing is moved in
    time, or another control is to be learned instead; then nothing is learned, whatever moves later."""
    client.put("/api/learning", control=name)
    tell(f"move the knob, or press the button, for {name}")
    try:
        for _ in range(round(PATIENCE / LOOK)):
            learning = client.get("/api/knobs")["learning"]
            if learning is None:
                return
            if learning != name:
                raise BridgeError(f"{learning} is learned instead of {name}")
            wait(LOOK)
    except BaseException:
        _stop(client, name)
        raise
    _stop(client, name)
    raise BridgeError(
        f"nothing was moved within {PATIENCE:.0f} s: is the controller connected (plugin-bridge ports), and "
        "does it send control changes?"
    )


def _stop(client: Client, name: str) -> None:
    if client.get("/api/knobs")["learning"] == name:
        client.put("/api/learning", control=None)
