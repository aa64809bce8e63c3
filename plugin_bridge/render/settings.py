"""What comes out of rendering: formats, rate, channels, loudness, peak, tail. Values, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.events import Part

PART_NAMES = {Part.PLAYER: "player", Part.PARTNER: "partner"}
"""What the parts are called, in pictures and in the names of stems."""

LONGEST_CLIP = 1800.0
"""Seconds. A longer clip is refused: its sound would not fit comfortably in memory."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: the suffix, the bits a sample (None: it compresses with loss), and what it is."""

    suffix: str
    bits: int | None
    what: str
    quality: str | None = None


FORMATS = {
    "wav16": Format("wav", 16, "WAV, 16 bits"),
    "wav24": Format("wav", 24, "WAV, 24 bits"),
    "wav32f": Format("wav", 32, "WAV, 32 bits floating point"),
    "flac": Format("flac", 24, "FLAC, 24 bits"),
    "flac16": Format("flac", 16, "FLAC, 16 bits"),
    "mp3": Format("mp3", None, "MP3, variable rate, best quality", "V0"),
    "ogg": Format("ogg", None, "Ogg Vorbis, 192 kbit/s", "192 kbps"),
}


@dataclass(frozen=True, slots=True)
class Output:
    """How every clip of a batch is written.

    `loudness` is the integrated loudness aimed at in LUFS (None: as it comes), `peak` the true peak that is
    never passed in dBTP, `tail` the longest time in seconds that a clip may ring on after its end. Raises
    BridgeError, naming the setting, for what cannot be.
    """

    formats: tuple[str, ...] = ("wav24",)
    sample_rate: int = 44100
    channels: int = 2
    loudness: float | None = -16.0
    peak: float = -1.0
    tail: float = 10.0
    stems: bool = False
    picture: bool = True

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise BridgeError(f"format {name!r} is not one of {', '.join(FORMATS)}")
        suffixes = [FORMATS[name].suffix for name in self.formats]
        if not suffixes or len(set(suffixes)) < len(suffixes):
            raise BridgeError(
                f"formats {', '.join(self.formats) or 'none'}: give at least one, and one of a kind"
            )
        _check("sample rate", self.sample_rate, 8000, 192000, "Hz")
        _check("channels", self.channels, 1, 2, "")
        if self.loudness is not None:
            _check("loudness", self.loudness, -50, -5, "LUFS")
        _check("peak", self.peak, -20, 0, "dBTP")
        _check("tail", self.tail, 0, 60, "seconds")


def _check(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise BridgeError(f"{name} {value:g} is not {low:g} to {high:g} {unit}".rstrip())
