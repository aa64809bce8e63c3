"""`connections.toml`: the ports that are to be connected whenever they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugin_bridge.daemon.config import parse_toml, read_text, toml
from plugin_bridge.daemon.toml_lines import line_of
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.ports.connections import MOST_PATTERNS, Connections, check_pattern

_HEAD = "# Ports that are connected whenever they are there, by name; * and ? stand for what may differ.\n"
_WHAT = {"listen": "keyboards and programs that are listened to", "play": "instruments that are played to"}


def parse_connections(text: str, path: Path) -> Connections:
    """The connections in `text`. BridgeError `FILE:LINE: KEY: ...` for the first thing that is wrong."""
    found = parse_toml(text, path)
    patterns: dict[str, tuple[str, ...]] = {}
    for name, value in found.items():
        try:
            patterns[name] = _patterns(name, value)
        except BridgeError as error:
            raise BridgeError(f"{path}:{line_of(text, (name,))}: {name}: {error}") from None
    return Connections(patterns.get("listen", ()), patterns.get("play", ()))


def read_connections(path: Path) -> Connections:
    """The connections in the file; none where there is no file."""
    return parse_connections(read_text(path), path)


def write_connections(connections: Connections, path: Path) -> None:
    """Write them; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(show_connections(connections), encoding="utf-8")


def show_connections(connections: Connections) -> str:
    """As TOML that `parse_connections` reads again."""
    lines = [f"{name} = {toml(getattr(connections, name))}  # {what}" for name, what in _WHAT.items()]
    return _HEAD + "\n".join(lines) + "\n"


def _patterns(name: str, value: Any) -> tuple[str, ...]:
    if name not in _WHAT:
        raise BridgeError(f"there is no such key; there are {' and '.join(_WHAT)}")
    if (
        not isinstance(value, list)
        or len(value) > MOST_PATTERNS
        or not all(isinstance(v, str) for v in value)
    ):
        raise BridgeError(f"must be a list of at most {MOST_PATTERNS} texts")
    return tuple(dict.fromkeys(check_pattern(each) for each in value))
