"""Hypothesis strategies for events, clips and MIDI files, shared by the tests of `music`."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal

TICKS = st.integers(0, 400) | st.integers(0, 60_000)
"""Mostly close together, now and then silences of minutes."""


@st.composite
def notes(draw: st.DrawFn, *, on_grid: bool = True) -> Note:
    if on_grid:
        start, length = draw(TICKS) * v.TICK_SECONDS, draw(st.integers(1, 500)) * v.TICK_SECONDS
    else:
        start, length = draw(st.floats(0, 60)), draw(st.floats(0.02, 10))
    pitch = draw(st.integers(0, 127) | st.integers(60, 62))
    return Note(start, start + length, pitch, draw(st.integers(1, 127)), draw(st.sampled_from(Part)))


@st.composite
def pedals(draw: st.DrawFn) -> Pedal:
    return Pedal(draw(TICKS) * v.TICK_SECONDS, draw(st.booleans()), draw(st.sampled_from(Part)))


@st.composite
def clips(draw: st.DrawFn, *, on_grid: bool = True) -> Clip:
    """Notes of both parts, overlapping as they like, and pedals in order of time."""
    return Clip(
        tuple(sorted(draw(st.lists(notes(on_grid=on_grid), max_size=25)))),
        tuple(sorted(draw(st.lists(pedals(), max_size=6)), key=lambda pedal: pedal.time)),
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">L", len(body)) + body


def midi_bytes(
    *tracks: bytes, kind: int = 1, division: int = 480, declared: int | None = None, end: bool = True
) -> bytes:
    """A file of `tracks`, each the bytes of its events, with an end-of-track event added to each."""
    header = struct.pack(">HHh", kind, len(tracks) if declared is None else declared, division)
    tail = b"\x00\xff\x2f\x00" if end else b""
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track + tail) for track in tracks)
