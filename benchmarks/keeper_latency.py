"""What the hop to the port keeper's process costs: the wire alone, and a whole echo through JACK.

    python benchmarks/keeper_latency.py [--messages 2000] [--json]

"wire_ms" is the round trip of a message to another process and back over the keeper's channel. "jack_ms" is
that of a note sent to our output, which a JACK server of its own (jackd must be installed; no hardware, 64
frames) leads to our input: with the ports in this process, and in a keeper's. Messages go at random intervals
of some milliseconds, as in music.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from fakes.jack import start_jack, stop_jack

from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.kept_patchbay import KeptPatchbay
from plugin_bridge.ports.patch_view import Patches
from plugin_bridge.ports.patchbay import Patchbay
from plugin_bridge.ports.rtmidi_system import RtmidiSystem

_ECHO = """
import socket, sys
from plugin_bridge.ports.channel import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
while (frames := channel.receive(None)) is not None:
    for frame in frames:
        channel.send_midi(*frame.midi)
"""


def main() -> int:
    options = _arguments()
    report: dict[str, Any] = {"messages": options.messages, "wire_ms": _spread(wire(options.messages))}
    with tempfile.TemporaryDirectory() as folder:
        name = f"pblatency{os.getpid()}"
        os.environ.update(JACK_DEFAULT_SERVER=name, JACK_NO_START_SERVER="1")
        server = start_jack(name, Path(folder) / "jackd.log")
        try:
            here = Patchbay(RtmidiSystem("jack"), "Near In", "Near Out")
            report["jack_ms_in_this_process"] = _spread(echo(here, "Near", options.messages))
            kept = KeptPatchbay("Far In", "Far Out", wanted="jack")
            report["jack_ms_in_a_keeper"] = _spread(echo(kept, "Far", options.messages))
        finally:
            stop_jack(server)
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    return 0


def wire(messages: int) -> list[float]:
    """Seconds from a message's sending to its return, over the channel alone."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _ECHO, str(theirs.fileno())], pass_fds=(theirs.fileno(),)
        )
    channel, found = Channel(ours), []
    channel.send_midi(b"\xf8", 0.0)
    channel.receive(None)  # it is there
    for _ in range(messages):
        _pause()
        sent = now()
        channel.send_midi(b"\x90\x3c\x40", sent)
        if channel.receive(1.0):
            found.append(now() - sent)
    channel.close()
    child.wait()
    return found


def echo(patchbay: Patches, name: str, messages: int) -> list[float]:
    """Seconds from a note's sending to the callback, through JACK."""
    came, found = threading.Event(), []
    patchbay.listen(lambda message, _: came.set())
    with patchbay:
        while sum(port.connected for port in patchbay.view().ports) < 2:
            time.sleep(0.05)
        subprocess.run(["jack_connect", f"{name} Out:{name} Out", f"{name} In:{name} In"], check=True)  # noqa: S603, S607
        for index in range(messages):
            _pause()
            came.clear()
            sent = now()
            patchbay.send(bytes((0x90 if index % 2 else 0x80, 60, 64)))
            if came.wait(1.0):
                found.append(now() - sent)
    return found


def _pause() -> None:
    time.sleep(random.uniform(0.002, 0.02))  # noqa: S311


def _spread(seconds: list[float]) -> dict[str, float]:
    p50, p99 = (round(float(each) * 1e3, 3) for each in np.percentile(seconds, (50, 99)))
    return {"p50": p50, "p99": p99, "n": len(seconds)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure the hop to the port keeper")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
