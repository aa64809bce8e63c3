"""The last takes: MIDI files in a folder of the program's own, from which FL Studio's menu is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.clip import MOST_TAKES, Take, read_take
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.midi_file import write_midi

MOST_KEPT = 100


def takes_folder() -> Path:
    """Where takes are kept."""
    from platformdirs import user_data_path

    return user_data_path("plugin-bridge", appauthor=False) / "takes"


def keep_take(clip: Clip, name: str, folder: Path, *, tempo: float = 120.0) -> Path:
    """Keep `clip` as the newest take, called `name` (a file name without suffix); the oldest beyond
    MOST_KEPT go. The file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.mid"
    write_midi(clip, path, tempo=tempo)
    for old in _newest_first(folder)[MOST_KEPT:]:
        old.unlink()
    return path


def last_takes(folder: Path, count: int = MOST_TAKES) -> tuple[Take, ...]:
    """The newest takes that can be read, the newest first."""
    return tuple(_readable(_newest_first(folder)[:count]))


def _readable(paths: Iterable[Path]) -> Iterable[Take]:
    for path in paths:
        try:
            yield read_take(path)
        except BridgeError:
            continue


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [path for path in folder.iterdir() if path.suffix == ".mid" and not path.name.startswith(".")]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
