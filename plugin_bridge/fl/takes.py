"""The last takes, from which FL Studio's menu is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import newest_takes
from plugin_bridge.fl.clip import MOST_TAKES, Take, read_take


def last_takes(folder: Path, count: int = MOST_TAKES) -> tuple[Take, ...]:
    """The newest takes that can be read, the newest first."""
    return tuple(_readable(newest_takes(folder)[:count]))


def _readable(paths: Iterable[Path]) -> Iterable[Take]:
    for path in paths:
        try:
            yield read_take(path)
        except BridgeError:
            continue
