"""What tests of batches share: small manifests, MIDI files with something wrong, folders to compare."""

from __future__ import annotations

from pathlib import Path

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.midi_file import write_midi

DUET = Clip(
    (
        Note(0.0, 0.4, 72, 90, Part.PLAYER),
        Note(0.5, 0.9, 76, 70, Part.PLAYER),
        Note(0.0, 1.0, 48, 60, Part.PARTNER),
        Note(1.0, 1.4, 55, 80, Part.PARTNER),
    ),
    (Pedal(0.1, True, Part.PARTNER), Pedal(1.3, False, Part.PARTNER)),
)
FAULTY = Clip((Note(0.0, 0.5, 60, 90), Note(0.5, 1.0, 0, 90)))
"""Plays the test synth's lowest key."""


def write_duet(path: Path, clip: Clip = DUET) -> Path:
    write_midi(clip, path)
    return path


def write_manifest(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def contents(folder: Path, *suffixes: str) -> dict[str, bytes]:
    """Name and bytes of the files with these suffixes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in suffixes}


def left_over(folder: Path) -> list[str]:
    """Hidden and temporary files that nobody should see after a batch."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if (path.name.startswith(".") and path.name != ".plugin-bridge") or "staging" in path.name
    ]
