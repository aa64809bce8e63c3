"""Where the running daemon listens: written by it, read by its clients."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """The process and its port on loopback."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://{LOOPBACK}:{self.port}"


def read_address(path: Path) -> Address:
    """Where the daemon says that it listens. BridgeError when it does not say."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Address(int(found["pid"]), int(found["port"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BridgeError(f"{path}: the daemon has not said yet where it listens; try again") from error


def write_address(address: Address, path: Path) -> None:
    """Say it; the file appears whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(address)) + "\n", encoding="utf-8")
