"""When to play along: a pure policy for the mode in which the partner plays while the player does.

It comes in with the player, stays through the player's short rests, and ends when the player has been away.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from plugin_bridge.duet.phrases import Decision, Move, Snapshot


@dataclass(frozen=True, slots=True)
class CompanionRules:
    """Seconds. The partner comes in `entry` after a player's note, once there have been `fewest_notes`, and
    plays on until nothing was heard for `patience` and no key is held; a key alone counts for
    `longest_held`."""

    fewest_notes: int = 2
    entry: float = 0.1
    patience: float = 3.0
    longest_held: float = 12.0


def accompany(snapshot: Snapshot, rules: CompanionRules = CompanionRules()) -> Decision:
    """The partner's move: answer (without an end) while the player is there, yield when not."""
    if len(snapshot.onsets) < rules.fewest_notes:
        return Decision(Move.LISTEN)
    last_onset = snapshot.onsets[-1]
    away = max(last_onset, snapshot.last_release or last_onset) + rules.patience
    if snapshot.held:
        away = last_onset + rules.longest_held
    if snapshot.now >= away:
        return Decision(Move.YIELD if snapshot.answering else Move.LISTEN)
    start = snapshot.now if snapshot.answering else max(last_onset + rules.entry, snapshot.now)
    return Decision(Move.ANSWER, start=start, end=inf, look_again=away)
