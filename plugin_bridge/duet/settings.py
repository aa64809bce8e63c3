"""What a session is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.recording import KEPT_SECONDS
from plugin_bridge.duet.roles import Policies
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.stream import MetreAt, unknown_metre
from plugin_bridge.music.harmony import Chart
from plugin_bridge.music.rhythm import steady_metre


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds that MIDI takes from the player's hands to the input, and from the output to the ear."""

    into: float = 0.0
    out: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How the partner plays to begin with, and what it follows.

    `chart` is in seconds from the start of the session, and so is the metre at `tempo` (beats a minute, in
    bars of four; None: free time, unless the host has a clock). Adherence goes with a chart. Without one the
    partner listens for the player's chords, and knows them without being held to them (`hears_chords`). The
    control `style`, or a program change from the player, chooses among `styles`. The latest `kept` seconds
    can always be saved.
    """

    seed: int = 0
    controls: Controls = field(default_factory=Controls)
    policies: Policies = field(default_factory=Policies)
    chart: Chart | None = None
    tempo: float | None = None
    hears_chords: bool = True
    styles: tuple[Style, ...] = ()
    delays: Delays = Delays()
    kept: float = KEPT_SECONDS

    @property
    def metre_at(self) -> MetreAt:
        """The metrical position by the tempo."""
        return unknown_metre if self.tempo is None else steady_metre(self.tempo)


PLAIN = SessionSettings()
"""A session of no special kind."""
