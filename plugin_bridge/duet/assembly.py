"""Putting a duet together: the same for live sessions, simulated ones and those that are played again."""

from __future__ import annotations

from collections.abc import Callable

from plugin_bridge.duet.conductor import Conductor, Item, with_style
from plugin_bridge.duet.echo import EchoFilter
from plugin_bridge.duet.journal import Tape, World
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.partner import Partner
from plugin_bridge.duet.recording import Recording
from plugin_bridge.duet.report import Measurements
from plugin_bridge.duet.scheduler import Scheduler
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.stream import Stream


def new_stream(engine: Engine, settings: SessionSettings, around: Surroundings) -> Stream:
    """The stream that a session with these settings plays on, warmed up."""
    stream = Stream(engine, seed=settings.seed, chart=settings.chart, metre_at=around.metre_at)
    mark = stream.mark()
    for count in range(1, 9):  # every shape once, so that the first note costs what the others do
        stream.engine.extend([0] * count, [0] * count)
    stream.rewind(mark)
    for _ in range(8):
        stream.generate(not_before=0.0, until=1.0)
    stream.rewind(mark)
    stream.tokens_generated = 0
    stream.step_seconds.clear()
    return stream


def assemble(
    stream: Stream, scheduler: Scheduler, world: World, around: Surroundings, settings: SessionSettings,
    measurements: Measurements, recording: Recording, tape: Tape, echo: EchoFilter,
    post: Callable[[Item], None], *, on_take: Callable[[], None] = lambda: None, in_background: bool = True,
) -> tuple[Partner, Conductor]:  # fmt: skip
    """A partner, and the conductor that feeds it. `post` puts an item into the conductor's queue."""
    partner = Partner(
        stream, scheduler, world, around, with_style(settings.controls, stream.engine.style),
        settings.policies, measurements, has_chart=settings.chart is not None, early=settings.delays.out,
        post=post, in_background=in_background,
    )  # fmt: skip
    conductor = Conductor(
        partner, around, recording, tape, settings.styles, echo, settings.delays.into, on_take
    )
    return partner, conductor
