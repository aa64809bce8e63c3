"""Batch generation: a clip from a chart, a tempo, a seed and, if wanted, a prompt to go on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.engine.stream import Stream
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import Chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, clip_from_events
from plugin_bridge.music.events import Event, NoteOn, Part, close_all
from plugin_bridge.music.grammar import Limit, PitchRange, Polyphony, StartBy
from plugin_bridge.music.harmony import Chart, even_chart
from plugin_bridge.music.rhythm import metrical_positions, steady_beats
from plugin_bridge.music.tokens import tick_of

DEFAULT_LIMITS: tuple[Limit, ...] = (PitchRange(24, 105), Polyphony(12))
LONGEST_SECONDS = 3600.0
DEFAULT_ADHERENCE = 3.0
"""Nats taken from new notes outside the chord where there is a chart."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to play: `chords` a bar each (or None: freely), `tempo` in quarter notes a minute, `bars` of
    `beats_in_bar` quarters. A prompt is played first and gone on from."""

    tempo: float = 120.0
    bars: int = 8
    beats_in_bar: int = 4
    chords: tuple[Chord | None, ...] = ()
    seed: int = 0
    sampling: SamplingParameters | None = None
    chord_bias: float = DEFAULT_ADHERENCE
    prompt: Clip | None = None

    def __post_init__(self) -> None:
        if not 20 <= self.tempo <= 400:
            raise BridgeError(f"tempo {self.tempo:g} is not between 20 and 400 beats a minute")
        if self.bars < 1 or self.bars * self.bar_seconds > LONGEST_SECONDS:
            raise BridgeError(f"bars {self.bars}: a clip has at least one bar and lasts at most an hour")

    @property
    def bar_seconds(self) -> float:
        return self.beats_in_bar * 60.0 / self.tempo


def generate(engine: Engine, request: Request, progress: Callable[[float], None] | None = None) -> Clip:
    """A clip of the partner alone: the same request gives the same clip. `progress` is told the seconds
    reached."""
    bar = request.bar_seconds
    prompt = request.prompt.with_part(Part.PARTNER) if request.prompt else Clip()
    start = -(-prompt.duration // bar) * bar if prompt.notes else 0.0
    end = start + request.bars * bar
    chart = even_chart(request.chords, bar, start=start, end=end) if request.chords else Chart(())
    if prompt.chords:
        chart = Chart.of([*(span for span in prompt.chords if span.start < start), *chart.spans])
    beats = steady_beats(request.tempo, end, beats_in_bar=request.beats_in_bar)
    stream = Stream(
        engine, sampling=request.sampling, seed=request.seed, limits=DEFAULT_LIMITS, chart=chart,
        metre_at=metre_from(beats), chord_bias=request.chord_bias,
    )  # fmt: skip
    heard = [event for event in prompt.events() if event.time < start]
    stream.hear(heard)
    # nobody asks for an empty clip: there is a note within the first half of a bar
    stream.set_limits((*DEFAULT_LIMITS, StartBy(Part.PARTNER, tick_of(start + bar / 2))))
    events: list[Event] = list(heard)
    while stream.seconds < end:
        event = stream.generate(not_before=start, until=end)
        if event is None and stream.seconds >= end:
            break
        if event is not None:
            events.append(event)
            if isinstance(event, NoteOn):
                stream.set_limits(DEFAULT_LIMITS)
            if progress:
                progress(event.time)
    played = [event for event in events if event.time < end]
    clip = clip_from_events(close_all(played, end), end=end)
    spans: tuple[ChordSpan, ...] = tuple(span for span in chart.spans if span.start < end)
    return replace(clip, chords=spans, beats=tuple(beat for beat in beats if beat.time <= end + 1e-6))


def metre_from(beats: tuple[Beat, ...]) -> Callable[[float], int]:
    """The metrical position by these beats, looked up a hundredth of a second at a time."""
    import numpy as np

    if len(beats) < 2:
        return lambda seconds: 0
    times = np.arange(0.0, beats[-1].time + 1.0, 0.01)
    table = metrical_positions(times, beats)
    return lambda seconds: int(table[min(round(seconds * 100), len(table) - 1)])
