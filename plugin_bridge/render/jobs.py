"""Jobs: one clip each, with all that decides how it sounds, and a key that changes when any of that does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from plugin_bridge.engine.adapters import choose_style
from plugin_bridge.engine.bundle import Style, file_checksum
from plugin_bridge.engine.generation import DEFAULT_ADHERENCE
from plugin_bridge.errors import BridgeError
from plugin_bridge.render.effects import Chain
from plugin_bridge.render.instruments import BuiltInPiano, Instrument, PluginSpec, SoundFontPreset
from plugin_bridge.render.settings import Output

RENDERING = 3
"""Raised whenever the same job comes out differently: older results are then rendered again."""


@dataclass(frozen=True, slots=True)
class MidiSource:
    """A MIDI file, rendered as it is."""

    path: Path


@dataclass(frozen=True, slots=True)
class Generated:
    """A clip to generate. `fingerprint` is that of the style when the batch was planned: a worker that has
    another style of this name refuses."""

    chords: str = ""
    tempo: float = 120.0
    bars: int = 8
    beats: int = 4
    style: str = "base"
    fingerprint: str = ""
    seed: int = 0
    temperature: float | None = None
    top_p: float | None = None
    adherence: float = DEFAULT_ADHERENCE
    prompt: Path | None = None


Source: TypeAlias = MidiSource | Generated


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to render as `name` in a folder. `where` is the row or file it came from; `key` says what it
    will sound like."""

    name: str
    where: str
    source: Source
    instrument: Instrument
    effects: Chain
    output: Output
    key: str = ""

    def described(self) -> dict[str, Any]:
        """For people: what is played, through what."""
        match self.source:
            case MidiSource(path):
                played: dict[str, Any] = {"midi": path.name}
            case Generated() as wanted:
                played = {name: value for name, value in asdict(wanted).items() if name != "fingerprint"}
                played["prompt"] = wanted.prompt.name if wanted.prompt else None
        effects = [str(e) if isinstance(e, PluginSpec) else e.kind for e in self.effects]
        return played | {"instrument": str(self.instrument), "effects": effects}


def job_key(job: Job) -> str:
    """A SHA-256 over everything that the result depends on: contents of files, not their names."""
    source: dict[str, Any]
    match job.source:
        case MidiSource(path):
            source = {"midi": content_of(path)}
        case Generated(prompt=prompt) as wanted:
            source = asdict(wanted) | {"prompt": content_of(prompt) if prompt else None}
    parts = {
        "rendering": RENDERING,
        "source": source,
        "instrument": _instrument(job.instrument),
        "effects": [
            _plugin(effect) if isinstance(effect, PluginSpec) else asdict(effect) for effect in job.effects
        ],
        "output": asdict(job.output),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _instrument(instrument: Instrument) -> dict[str, Any]:
    match instrument:
        case BuiltInPiano():
            return {"built in": "piano"}
        case SoundFontPreset(path, bank, program):
            return {"soundfont": content_of(path), "bank": bank, "program": program}
        case PluginSpec():
            return _plugin(instrument)


def _plugin(spec: PluginSpec) -> dict[str, Any]:
    return {
        "plugin": bundle_state(spec.path),
        "name": spec.name,
        "preset": content_of(spec.preset) if spec.preset else None,
        "parameters": spec.parameters,
    }


@cache
def content_of(path: Path) -> str:
    """The checksum of a file. Raises BridgeError, naming it, where it cannot be read."""
    try:
        return file_checksum(path)
    except OSError as error:
        raise BridgeError(f"{path}: cannot be read ({error.strerror})") from error


@cache
def bundle_state(path: Path) -> str:
    """Names, sizes and dates of a plugin's files: its samples may be gigabytes."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    listed = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(json.dumps([path.name, listed]).encode()).hexdigest()


def style_fingerprint(style: Style) -> str:
    """What a style plays like: its files, its weights where it is a blend, its sampling."""
    digest = hashlib.sha256(json.dumps(style.description["checksums"], sort_keys=True).encode())
    digest.update(repr(style.sampling).encode())
    for name, factors in sorted((style.factors or {}).items()):
        digest.update(name.encode() + factors.tobytes())
    return digest.hexdigest()


@cache
def fingerprint_of(style: str) -> str:
    """The fingerprint of the style, or blend, that a user names."""
    return style_fingerprint(choose_style(style))
