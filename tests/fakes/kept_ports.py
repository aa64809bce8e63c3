"""A port keeper over a MIDI system in memory, as a process: `python kept_ports.py LOG` and a keeper's words.

What is sent to the instrument "Synth:1" is written to LOG, a message a line in hex, and what is sent to our
own output comes back from the keyboard "Keys:1". The SysEx messages FREEZE and END are an order: to freeze as
libjack does, with Python's lock held, and to let the MIDI system end.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.port_system import FakePort, FakeSystem

from plugin_bridge.ports import keeper

FREEZE, END = b"\xf0\x7d\x01\xf7", b"\xf0\x7d\x02\xf7"


class EchoingSystem(FakeSystem):
    """See the module."""

    def __init__(self, log: Path) -> None:
        super().__init__(["Keys:1"], ["Synth:1"])
        self.file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def sent(self, port: FakePort, message: bytes) -> None:
        """Something was sent to one of the ports."""
        if message == FREEZE:
            ctypes.PyDLL(None).sleep(60)
        elif message == END:
            self.stop()
        elif port.key.name == "Synth:1":
            os.write(self.file, message.hex().encode() + b"\n")
        elif (keys := self.port("Keys:1")) is not None:
            keys.inbox.append(message)


if __name__ == "__main__":
    keeper.ALIVE_SECONDS, keeper.ALONE_SECONDS = 0.1, 1.0
    keeper.ORPHAN_SECONDS = float(os.environ.get("ORPHAN_SECONDS", "30"))
    keeper.run(sys.argv[2:], lambda *_: EchoingSystem(Path(sys.argv[1])))
