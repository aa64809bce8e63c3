"""Clips to sound: both parts on one piano each, the player a little left, the partner a little right.

`render_blocks` streams in constant memory. `render_clip` returns one array and so has a limit;
`render_wav` writes clips of any length.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.render.levels import AudioReport, Meter
from plugin_bridge.render.piano import Audio, Piano
from plugin_bridge.render.sustain import sounding_notes
from plugin_bridge.render.wav import write_wav

PAN = {Part.PLAYER: -0.25, Part.PARTNER: 0.25}
CEILING_DBFS = -1.0
MAX_ARRAY_SECONDS = 1800.0
"""The longest clip that `render_clip` takes: 635 MB at 44.1 kHz."""

_BLOCK_SECONDS = 10.0
_IN_MEMORY_SECONDS = 300.0
_FADE_SECONDS = 0.5


def render_blocks(
    clip: Clip, sample_rate: int = 44100, tail: float = 2.0, *, piano: Piano | None = None
) -> Iterator[Audio]:
    """The sound of `clip` from 0 s to `tail` seconds after its end, in order, as float32 [2, samples] blocks.

    Nothing is normalised: fortissimo clusters pass 1.0. What still rings near the end of the tail is faded
    out. A part that plays alone sits in the middle. Raises BridgeError for a note before 0 s, a negative
    tail, or a `piano` of another sample rate.
    """
    if not 0 <= tail <= 60:
        raise BridgeError(f"a tail of {tail} s is not 0 to 60 seconds")
    piano = Piano(sample_rate) if piano is None else piano
    if piano.sample_rate != sample_rate:
        raise BridgeError(f"the instrument plays at {piano.sample_rate} Hz, not at {sample_rate} Hz")
    total = math.ceil((clip.duration + tail) * sample_rate)
    notes = sounding_notes(clip, clip.duration + tail)
    if notes and notes[0].start < 0:
        raise BridgeError(f"a note starts at {notes[0].start:.3f} s; move the clip so that it begins at 0 s")
    return _mixed(notes, total, round(min(tail, _FADE_SECONDS) * sample_rate), piano)


def _mixed(notes: list[Note], total: int, fade: int, piano: Piano) -> Iterator[Audio]:
    rate = piano.sample_rate
    block = round(_BLOCK_SECONDS * rate)
    gains = {part: balance(PAN[part]) for part in Part}
    if len({note.part for note in notes}) == 1:
        gains = {part: balance(0.0) for part in Part}
    longest = piano.longest(max((note.end - note.start for note in notes), default=0.0))
    waiting = np.zeros((2, block + longest), np.float32)
    index = 0
    for start in range(0, total, block):
        while index < len(notes) and round(notes[index].start * rate) < start + block:
            note = notes[index]
            index += 1
            at = round(note.start * rate) - start
            piano.add(waiting, at, note.pitch, note.velocity, note.end - note.start, gains[note.part])
        size = min(block, total - start)
        ready = waiting[:, :size].copy()
        waiting[:, :-block] = waiting[:, block:]
        waiting[:, -block:] = 0
        left = total - start - np.arange(size)
        if fade and left[-1] <= fade:
            ready *= np.minimum(left / fade, 1.0).astype(np.float32)
        yield ready


def balance(pan: float) -> tuple[float, float]:
    """Gains of the two channels for `pan` -1 to 1, of equal power and 1 in the middle."""
    angle = (pan + 1) * math.pi / 4
    return math.sqrt(2) * math.cos(angle), math.sqrt(2) * math.sin(angle)


def _gain(peak: float) -> np.float32:
    """1, or what brings a peak that would clip down to the ceiling."""
    return np.float32(1.0 if peak <= 1.0 else 10 ** (CEILING_DBFS / 20) / peak)


def render_clip(
    clip: Clip, sample_rate: int = 44100, tail: float = 2.0, *, piano: Piano | None = None
) -> Audio:
    """The sound of `clip`, float32 [2, samples], with `tail` seconds after its end.

    Levels stay as played, unless the peak would clip: then all of it is turned down to a peak of -1 dBFS.
    Raises BridgeError as `render_blocks`, and for clips longer than `MAX_ARRAY_SECONDS`.
    """
    if clip.duration > MAX_ARRAY_SECONDS:
        raise BridgeError(
            f"a clip of {clip.duration:.0f} s is too long to hold in memory; cut it, or render it to a file"
        )
    blocks = list(render_blocks(clip, sample_rate, tail, piano=piano))
    audio = np.concatenate(blocks, axis=1) if blocks else np.zeros((2, 0), np.float32)
    gain = _gain(float(np.abs(audio).max(initial=0.0)))
    if gain != 1:
        audio *= gain
    return audio


def render_wav(
    clip: Clip,
    path: str | os.PathLike[str],
    sample_rate: int = 44100,
    tail: float = 2.0,
    *,
    bits: int = 16,
    piano: Piano | None = None,
) -> AudioReport:
    """Render `clip` to a WAV file and measure it; the levels are those of `render_clip`.

    Memory does not grow past five minutes: longer clips are rendered twice, for the peak and for the file.
    Raises BridgeError as `render_blocks` and `write_wav`.
    """
    piano = Piano(sample_rate) if piano is None else piano
    before, after = Meter(sample_rate), Meter(sample_rate)
    kept: list[Audio] | None = [] if clip.duration <= _IN_MEMORY_SECONDS else None
    for block in render_blocks(clip, sample_rate, tail, piano=piano):
        before.feed(block)
        if kept is not None:
            kept.append(block)
    gain = _gain(before.peak)

    def final() -> Iterator[Audio]:
        blocks = kept if kept is not None else render_blocks(clip, sample_rate, tail, piano=piano)
        for block in blocks:
            scaled = block * gain
            after.feed(scaled)
            yield scaled

    write_wav(path, final(), sample_rate, bits=bits)
    return after.report(clip)
