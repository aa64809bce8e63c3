"""Effect chains: a TOML file to a list of effects, every parameter checked by name and range.

[[effect]]
type = "Reverb"                # one of pedalboard's own
room_size = 0.4

[[effect]]
plugin = "ZamCompX2"           # a VST3 (AU on macOS): a path, or the name of an installed one
preset = "glue.vstpreset"      # optional, or a TOML file of parameters
parameters = { threshold_db = -18.0 }
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.instruments import PluginSpec, plugin_spec

Range: TypeAlias = tuple[float, float, str]
"""Least and greatest value, and the unit."""

_FREQUENCY: Range = (10.0, 22000.0, "Hz")
_GAIN: Range = (-60.0, 60.0, "dB")
_MIX: Range = (0.0, 1.0, "")
_Q: Range = (0.1, 20.0, "")
_MILLISECONDS: Range = (0.0, 5000.0, "ms")

EFFECTS: Mapping[str, Mapping[str, Range]] = {
    "Bitcrush": {"bit_depth": (1.0, 32.0, "bits")},
    "Chorus": {
        "rate_hz": (0.01, 100.0, "Hz"), "depth": _MIX, "centre_delay_ms": (1.0, 100.0, "ms"),
        "feedback": (-1.0, 1.0, ""), "mix": _MIX,
    },
    "Clipping": {"threshold_db": (-60.0, 0.0, "dB")},
    "Compressor": {
        "threshold_db": (-80.0, 0.0, "dB"), "ratio": (1.0, 100.0, ""), "attack_ms": _MILLISECONDS,
        "release_ms": _MILLISECONDS,
    },
    "Delay": {"delay_seconds": (0.0, 30.0, "s"), "feedback": (0.0, 0.99, ""), "mix": _MIX},
    "Distortion": {"drive_db": (0.0, 60.0, "dB")},
    "Gain": {"gain_db": _GAIN},
    "HighShelfFilter": {"cutoff_frequency_hz": _FREQUENCY, "gain_db": _GAIN, "q": _Q},
    "HighpassFilter": {"cutoff_frequency_hz": _FREQUENCY},
    "Limiter": {"threshold_db": (-60.0, 0.0, "dB"), "release_ms": _MILLISECONDS},
    "LowShelfFilter": {"cutoff_frequency_hz": _FREQUENCY, "gain_db": _GAIN, "q": _Q},
    "LowpassFilter": {"cutoff_frequency_hz": _FREQUENCY},
    "NoiseGate": {
        "threshold_db": (-100.0, 0.0, "dB"), "ratio": (1.0, 100.0, ""), "attack_ms": _MILLISECONDS,
        "release_ms": _MILLISECONDS,
    },
    "PeakFilter": {"cutoff_frequency_hz": _FREQUENCY, "gain_db": _GAIN, "q": _Q},
    "Phaser": {
        "rate_hz": (0.01, 100.0, "Hz"), "depth": _MIX, "centre_frequency_hz": _FREQUENCY,
        "feedback": (-1.0, 1.0, ""), "mix": _MIX,
    },
    "PitchShift": {"semitones": (-24.0, 24.0, "semitones")},
    "Reverb": {
        "room_size": _MIX, "damping": _MIX, "wet_level": _MIX, "dry_level": _MIX, "width": _MIX,
        "freeze_mode": _MIX,
    },
}  # fmt: skip
"""Pedalboard's own effects that a chain may name, with the range of every parameter."""


@dataclass(frozen=True, slots=True)
class BuiltInEffect:
    """One of `EFFECTS`; parameters that are not given keep pedalboard's defaults."""

    kind: str
    parameters: tuple[tuple[str, float], ...] = ()


Effect: TypeAlias = BuiltInEffect | PluginSpec
Chain: TypeAlias = tuple[Effect, ...]

DEFAULT_CHAIN: Chain = (
    BuiltInEffect("HighpassFilter", (("cutoff_frequency_hz", 30.0),)),
    BuiltInEffect(
        "Compressor", (("threshold_db", -24.0), ("ratio", 1.6), ("attack_ms", 25.0), ("release_ms", 250.0))
    ),
    BuiltInEffect("HighShelfFilter", (("cutoff_frequency_hz", 9000.0), ("gain_db", 1.5), ("q", 0.7))),
    BuiltInEffect(
        "Reverb",
        (("room_size", 0.35), ("damping", 0.6), ("wet_level", 0.1), ("dry_level", 0.45), ("width", 1.0)),
    ),
)
"""Rumble out, gently levelled, a little air, a small room."""

NAMED_CHAINS: Mapping[str, Chain] = {"default": DEFAULT_CHAIN, "none": ()}


def choose_effects(text: str, folder: Path) -> Chain:
    """The chain that a user names: `default`, `none`, or a TOML file, sought from `folder`.

    Raises BridgeError that names the file, the number of the effect and the key.
    """
    if text in NAMED_CHAINS:
        return NAMED_CHAINS[text]
    path = folder / text
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BridgeError(
            f"{path}: cannot be read ({reason}); give default, none, or a TOML file of effects"
        ) from error
    return parse_effects(content, path)


def parse_effects(content: str, path: Path) -> Chain:
    """The chain in a TOML text; `path` is named in errors, and files are sought beside it."""
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BridgeError(f"{path}: is not TOML ({error})") from error
    if unknown := sorted(document.keys() - {"effect"}):
        raise BridgeError(f"{path}: {unknown[0]!r} is not known; effects are written as [[effect]]")
    tables = document.get("effect", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BridgeError(f"{path}: effects are written as [[effect]], with double brackets")
    return tuple(_effect(table, f"{path}: effect {n}", path.parent) for n, table in enumerate(tables, 1))


def _effect(table: dict[str, Any], where: str, folder: Path) -> Effect:
    if ("type" in table) is ("plugin" in table):
        raise BridgeError(f"{where}: give either type (pedalboard's own) or plugin (a file or a name)")
    if "plugin" in table:
        return plugin_spec(table, where, folder)
    kind = table["type"]
    if kind not in EFFECTS:
        raise BridgeError(f"{where}, type: there is no {kind!r}; there are {', '.join(EFFECTS)}")
    values = {key: value for key, value in table.items() if key != "type"}
    checked = tuple((key, _value(kind, key, value, f"{where}, {key}")) for key, value in values.items())
    return BuiltInEffect(kind, checked)


def _value(kind: str, key: str, value: object, where: str) -> float:
    known = EFFECTS[kind]
    if key not in known:
        raise BridgeError(f"{where}: {kind} has no such parameter; it has {', '.join(known)}")
    low, high, unit = known[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BridgeError(f"{where}: {value!r} is not a number")
    if not low <= value <= high:
        raise BridgeError(f"{where}: {value:g} is out of range, {low:g} to {high:g} {unit}".rstrip())
    return float(value)


def build(effect: BuiltInEffect) -> Callable[..., Any]:
    """The effect as pedalboard's own object, called with (audio, sample_rate, reset=...)."""
    import pedalboard

    made: Callable[..., Any] = getattr(pedalboard, effect.kind)(**dict(effect.parameters))
    return made
