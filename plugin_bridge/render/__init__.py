"""Clips to sound and pictures.

    from plugin_bridge.render import Renderer

    with Renderer(instrument="piano", effects="default") as renderer:
        sound = renderer("song.mid")
        sound.write("song.flac")

`make_plan` and `render_batch` do the same for hundreds, in processes of their own. docs/render.md has more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugin_bridge.render.batch import BatchReport, render_batch
    from plugin_bridge.render.effects import BuiltInEffect
    from plugin_bridge.render.finding import find_instruments
    from plugin_bridge.render.instruments import BuiltInPiano, PluginSpec, SoundFontPreset
    from plugin_bridge.render.plan import Plan, make_plan
    from plugin_bridge.render.renderer import Renderer, Sound
    from plugin_bridge.render.settings import Output
    from plugin_bridge.render.sheet import write_sheet

__all__ = [
    "BatchReport",
    "BuiltInEffect",
    "BuiltInPiano",
    "Output",
    "Plan",
    "PluginSpec",
    "Renderer",
    "Sound",
    "SoundFontPreset",
    "find_instruments",
    "make_plan",
    "render_batch",
    "write_sheet",
]

_HOMES = {
    "BatchReport": "batch",
    "BuiltInEffect": "effects",
    "BuiltInPiano": "instruments",
    "Output": "settings",
    "Plan": "plan",
    "PluginSpec": "instruments",
    "Renderer": "renderer",
    "Sound": "renderer",
    "SoundFontPreset": "instruments",
    "find_instruments": "finding",
    "make_plan": "plan",
    "render_batch": "batch",
    "write_sheet": "sheet",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are asked for: the command line starts without them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
