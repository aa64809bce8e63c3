"""What there is to play with: the piano, SoundFonts, plugins; what each offers, or why it did not load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.instruments import PluginSpec, installed_plugins, installed_soundfonts
from plugin_bridge.render.piano import load_soundfont
from plugin_bridge.render.plugin_host import PluginHost

LOADING_LIMIT = 60.0
"""Seconds that a plugin may take to load."""

_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """`kind` is piano, soundfont, instrument, effect or failed; `presets` are (BANK:PROGRAM, name);
    `parameters` as `PluginHost.describe` gives them; `reason` says why it failed."""

    kind: str
    name: str
    path: Path | None = None
    maker: str = ""
    presets: tuple[tuple[str, str], ...] = ()
    parameters: tuple[dict[str, Any], ...] = ()
    reason: str = ""


def find_instruments(
    plugins: Iterable[Path] | None = None, soundfonts: Iterable[Path] | None = None
) -> Iterator[Found]:
    """All there is, each as soon as it is known; without arguments, what lies in the platform's folders.
    Every plugin is loaded in a process of its own."""
    yield Found("piano", "piano")
    for path in installed_soundfonts() if soundfonts is None else soundfonts:
        yield _guarded(_soundfont, path)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        paths = list(installed_plugins() if plugins is None else plugins)
        yield from pool.map(lambda path: _guarded(_plugin, path), paths)


def _guarded(look: Callable[[Path], Found], path: Path) -> Found:
    try:
        return look(path)
    except BridgeError as error:
        return Found("failed", path.stem, path, reason=str(error))


def _soundfont(path: Path) -> Found:
    presets = sorted(
        (p.bank, p.program, p.name.decode("latin-1").strip()) for p in load_soundfont(path).presets
    )
    named = tuple((f"{bank}:{program}", name) for bank, program, name in presets)
    return Found("soundfont", path.stem, path, presets=named)


def _plugin(path: Path) -> Found:
    with PluginHost(PluginSpec(path), LOADING_LIMIT) as host:
        about = host.describe("any", 44100)
    kind = "instrument" if about["instrument"] else "effect"
    return Found(kind, path.stem, path, about["maker"] or "", parameters=tuple(about["parameters"]))
