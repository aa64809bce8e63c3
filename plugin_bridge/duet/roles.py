"""The modes: which policy decides in each, and what the partner may play in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugin_bridge.duet.companion import CompanionRules, accompany
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.phrases import Decision, Mode, Move, PhraseRules, Snapshot, decide
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.grammar import Limit, Loudest, PitchRange, Polyphony, Spacing, UsefulPedal


@dataclass(frozen=True, slots=True)
class ChunkRules:
    """Seconds. Each `window` is planned from the latest `context` and played without changing its mind; a
    window that cannot begin within `lateness` is left out, and after `patience` without the player there
    is none."""

    window: float = 2.0
    context: float = 10.0
    lateness: float = 0.25
    patience: float = 4.0


@dataclass(frozen=True, slots=True)
class Policies:
    """The rules of every mode."""

    phrases: PhraseRules = field(default_factory=PhraseRules)
    continuous: CompanionRules = field(default_factory=CompanionRules)
    comp: CompanionRules = field(default_factory=CompanionRules)
    solo: CompanionRules = field(default_factory=lambda: CompanionRules(entry=0.2, patience=8.0))
    chunk: ChunkRules = field(default_factory=ChunkRules)

    def decide(self, mode: Mode, snapshot: Snapshot) -> Decision:
        """What to do in `mode`."""
        match mode:
            case Mode.ANSWER:
                return decide(snapshot, self.phrases)
            case Mode.CONTINUOUS:
                return accompany(snapshot, self.continuous)
            case Mode.COMP:
                return accompany(snapshot, self.comp)
            case Mode.SOLO:
                return accompany(snapshot, self.solo)
            case Mode.CHUNK:
                return next_window(snapshot, self.chunk)


def next_window(snapshot: Snapshot, rules: ChunkRules) -> Decision:
    """Play the window that has just begun, while the player is there; otherwise wait for the next."""
    begun = snapshot.now // rules.window * rules.window
    end = begun + rules.window
    if snapshot.answering:
        return Decision(Move.ANSWER, start=snapshot.now, end=end)
    if not snapshot.onsets or snapshot.now - snapshot.onsets[-1] > rules.patience:
        return Decision(Move.LISTEN)
    if snapshot.now - begun > rules.lateness:
        return Decision(Move.LISTEN, look_again=end)
    return Decision(Move.ANSWER, start=snapshot.now, end=end, context=rules.context)


BUSY = 6.0
"""Onsets a second from which the player plays much."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a mode allows: notes from `low` to `high`, `voices` at once, `density` onsets a second
    (`density_beside_much` beside a player who plays much), and a loudness of `loudness` times the player's
    at most (None: any)."""

    low: int = 0
    high: int = 127
    voices: int = 12
    density: float = 20.0
    density_beside_much: float = 20.0
    loudness: float | None = None


ROLES = {
    Mode.ANSWER: Role(),
    Mode.CONTINUOUS: Role(),
    Mode.CHUNK: Role(),
    Mode.COMP: Role(low=28, high=67, voices=6, density=4.0, density_beside_much=2.0, loudness=0.9),
    Mode.SOLO: Role(low=58, high=100, voices=2, density=10.0),
}
"""Comping stays below the middle of the treble staff, in chords, softer than the lead; a solo above it, one
or two notes at once."""


def limits_of(
    controls: Controls, player_velocity: float | None, player_density: float, fewest_ticks: int
) -> tuple[Limit, ...]:
    """What the partner may play now: the narrower of what the mode and what the controls allow. A register
    that lies outside the mode's is the user's to have. `player_density` is in onsets a second;
    `fewest_ticks`: see `Pace`."""
    role = ROLES[controls.mode]
    low, high = max(role.low, controls.register_low), min(role.high, controls.register_high)
    if low > high:
        low, high = controls.register_low, controls.register_high
    density = min(role.density, role.density_beside_much) if player_density >= BUSY else role.density
    ticks = max(round(1.0 / v.TICK_SECONDS / min(density, controls.density)), fewest_ticks)
    limits: tuple[Limit, ...] = (
        PitchRange(low, high),
        Polyphony(role.voices),
        Spacing(ticks),
        UsefulPedal(),
    )
    if role.loudness is not None and player_velocity is not None:
        limits += (Loudest(v.velocity_bin(max(1, min(127, round(role.loudness * player_velocity))))),)
    return limits
