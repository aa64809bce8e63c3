"""Clips that a style plays over charts of held-out pieces, and what the human played there.

Each clip takes chords and beats of a held-out piece from some bar on; the partner plays alone, as in
`plugin_bridge.engine.generation`. Then the same seconds of the piece are the measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from model.copying import Line
from model.dataset import Source
from model.held_out import stable_order
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.generation import DEFAULT_LIMITS, metre_from
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.engine.stream import Stream
from plugin_bridge.music import tokens as codec
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import QUALITY_NAMES, Chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, clip_from_events
from plugin_bridge.music.events import Event, Part, close_all
from plugin_bridge.music.harmony import NO_ROOT, Chart, chord_tone_rate

_SHORTEST = 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """`seconds` of a held-out piece, moved to begin at 0. `human` is what was played then, parts as the piece
    was dealt; `chart` and `beats` go on behind the end, for a player who reads ahead."""

    source: str
    name: str
    start: float
    seconds: float
    human: Clip
    chart: Chart
    beats: tuple[Beat, ...]
    has_accompaniment: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What a style made of a span: a clip with the span's chords, and its events that were no music."""

    clip: Clip
    invalid_events: int


def chord_of(root: int, quality: int, bass: int) -> Chord | None:
    """The chord with these ids of prepared data; None for "no chord". Tensions are not kept there."""
    if root == NO_ROOT or quality >= len(QUALITY_NAMES):
        return None
    lowest = None if bass in (root, NO_ROOT) else Chord("C").transposed(bass).root
    return Chord(Chord("C").transposed(root).root, QUALITY_NAMES[quality], (), lowest)


def clip_of(source: Source) -> Clip:
    """A prepared piece as a clip, with its chords and beats."""
    clip = clip_from_events(codec.events_from_rows(codec.decode(source.tokens)))
    chords = tuple(ChordSpan(start, chord_of(*ids)) for start, *ids in source.chords.tolist())
    return replace(clip, chords=chords, beats=tuple(Beat(*row) for row in source.beats.tolist()))


def choose_spans(sources: Sequence[Source], count: int, seconds: float, seed: int) -> list[Span]:
    """`count` spans of up to `seconds`, from as many pieces with chords as there are (from any pieces where
    none has chords), each from a downbeat drawn by `seed`. Empty where there are no pieces."""
    ordered = stable_order(sources)
    usable = [piece for piece in ordered if (piece.chords["root"] != NO_ROOT).any()] or ordered
    clips = [clip_of(piece) for piece in usable[:count]]
    spans = []
    for index in range(count if usable else 0):
        rng = np.random.default_rng([seed, index])
        at = index % len(usable)
        spans.append(_span(usable[at], clips[at], seconds, rng))
    return spans


def _span(piece: Source, clip: Clip, seconds: float, rng: np.random.Generator) -> Span:
    """A span of one piece. A piece without beats begins at a chord, one without chords anywhere."""
    end = clip.duration
    places = [beat.time for beat in clip.beats if beat.number == 0] or [chord.start for chord in clip.chords]
    earliest = clip.chords[0].start - 0.01 if clip.chords else 0.0
    places = [max(time, 0.0) for time in places if time >= earliest] or [0.0]
    whole = [time for time in places if time + seconds <= end]
    start = float(rng.choice(whole)) if whole else places[0]
    length = max(min(seconds, end - start), _SHORTEST)
    rest = clip.slice(start, max(end, start + length) + seconds)
    return Span(
        piece.source, piece.name, start, length, clip.slice(start, start + length), Chart.of(rest.chords),
        rest.beats, piece.dealt != "solo",
    )  # fmt: skip


def play(
    engine: Engine, span: Span, *, seed: int, sampling: SamplingParameters | None, chord_bias: float
) -> Played:
    """The style plays over a span: the same arguments give the same clip."""
    stream = Stream(
        engine, sampling=sampling, seed=seed, limits=DEFAULT_LIMITS, chart=span.chart,
        metre_at=metre_from(span.beats), chord_bias=chord_bias,
    )  # fmt: skip
    events: list[Event] = []
    while stream.seconds < span.seconds:
        event = stream.generate(not_before=0.0, until=span.seconds)
        if event is not None and event.time < span.seconds:
            events.append(event)
    events = list(close_all(events, span.seconds))
    clip = clip_from_events(events, end=span.seconds)
    return Played(replace(clip, chords=span.human.chords, beats=span.human.beats), invalid_events(events))


def invalid_events(events: Iterable[Event]) -> int:
    """How many events make no sense when they are written as tokens and read back: strikes of a sounding
    key, releases of a silent one, notes never released."""
    encoder, decoder = codec.Encoder(), codec.Decoder()
    for event in events:
        for token in encoder.push(event):
            decoder.push(token)
    return decoder.invalid + len(decoder.held)


def mean_chord_tone_rate(clips: Iterable[Clip]) -> float | None:
    """The mean over clips of the partner's chord-tone rate; clips without one are left out."""
    rates = [rate for clip in clips if (rate := chord_tone_rate(clip, Part.PARTNER)) is not None]
    return fmean(rates) if rates else None


def line_of(clip: Clip) -> Line:
    """The note-ons of a clip, both parts together."""
    ons = [(codec.tick_of(note.start), note.pitch) for note in clip.notes]
    return _line(np.array(ons, np.int64).reshape(-1, 2))


def lines_of_piece(source: Source) -> list[Line]:
    """What of a training piece can be copied: the whole, and each part alone where there are two."""
    rows = codec.decode(source.tokens)
    ons = rows[rows["kind"] == v.Kind.NOTE_ON]
    parts = [ons] if source.dealt == "solo" else [ons, *(ons[ons["part"] == part] for part in Part)]
    return [_line(np.stack([each["tick"], each["value"]], axis=1).astype(np.int64)) for each in parts]


def _line(table: np.ndarray) -> Line:
    return Line(table[:, 0], table[:, 1])
