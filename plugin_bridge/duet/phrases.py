"""When to answer: a pure policy from a snapshot of the player to a decision.

A phrase has ended when the player has rested for a beat or, where no beat is known, for clearly longer than
the spacing of its own notes and any rest between them, and holds no key. The answer begins then, on an
eighth where there is a beat, and lasts about as long as the phrase did; with a host that plays, to the end
of a bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from plugin_bridge.ports.host_clock import BeatLine, Timeline

_EDGE = 1e-6  # beats: a moment this much after an eighth is on it
_FAR = 0.3  # beats: an eighth further away than this is not waited for


class Mode(Enum):
    """How the partner plays: in turns with the player, along with the player, in fixed windows (a baseline
    that plans without changing its mind), beneath the player's lead, or leading."""

    ANSWER = "answer"
    CONTINUOUS = "continuous"
    CHUNK = "chunk"
    COMP = "comp"
    SOLO = "solo"


class Move(Enum):
    """What the partner is to do."""

    LISTEN = "listen"
    ANSWER = "answer"
    YIELD = "yield"


@dataclass(frozen=True, slots=True)
class PhraseRules:
    """Seconds, unless said otherwise. The pause that ends a phrase is `rest` beats where the beat is known,
    and the answer begins with the next eighth, or sixteenth where that is far; within `shortest_pause`
    and `longest_pause`; otherwise the pause is `spacing_factor` times the player's own spacing, slower than a
    share `spacing_quantile`, within `shortest_silence` and `longest_silence`, and `rest_factor` times
    the longest rest within the phrase at least. Tuned on sung phrases of POP909
    (songs below 400), checked on others by `tools/score_phrases.py`. A key held on counts as playing for
    `longest_held`."""

    fewest_notes: int = 3
    rest: float = 0.95
    spacing_factor: float = 1.1
    spacing_quantile: float = 0.6
    shortest_silence: float = 0.6
    longest_silence: float = 0.7
    rest_factor: float = 1.25
    shortest_pause: float = 0.45
    longest_pause: float = 1.5
    longest_held: float = 2.5
    shortest_answer: float = 2.0
    longest_answer: float = 10.0
    prepare: float = 0.25


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The player at `now` (clock seconds): onsets of the current phrase, when the last key came up (None:
    never), how many are held, whether the partner is answering, and whether this is about a key that was
    struck just now. `density` is in onsets a second, `velocity` the mean, both lately; `transport` is the
    host's where it plays, None otherwise; `beat` is what is known of the beat, from the host or by ear;
    `rests` are the silences between the notes of the phrase, in seconds."""

    now: float
    onsets: tuple[float, ...]
    last_release: float | None
    held: int
    answering: bool
    player_struck: bool = False
    pedal: bool = False
    density: float = 0.0
    velocity: float | None = None
    transport: Timeline | None = None
    beat: BeatLine | None = None
    rests: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. An answer begins at `start` and is over at `end` (clock seconds); when listening,
    `look_again` is when something can change by itself (None: not before the player's next event). With
    `context` the partner hears the latest so many seconds only."""

    move: Move
    start: float = 0.0
    end: float = 0.0
    look_again: float | None = None
    context: float | None = None


def pause_after(onsets: Sequence[float], rests: Sequence[float], rules: PhraseRules) -> float:
    """The silence, in seconds from the last onset or release, that ends a phrase with these onsets, and with
    these silences between its notes."""
    if len(onsets) < 2:
        return rules.longest_pause
    gaps = np.diff(onsets)
    gaps = gaps[gaps > 0.03]  # notes of one chord are no spacing
    slow = float(np.quantile(gaps, rules.spacing_quantile)) if len(gaps) else 0.0
    pause = min(max(rules.spacing_factor * slow, rules.shortest_silence), rules.longest_silence)
    return min(max(pause, rules.rest_factor * max(rests, default=0.0)), rules.longest_pause)


def decide(snapshot: Snapshot, rules: PhraseRules = PhraseRules()) -> Decision:
    """The partner's move. While it answers, a key struck by the player makes it yield."""
    if snapshot.answering:
        return Decision(Move.YIELD if snapshot.player_struck else Move.ANSWER)
    if len(snapshot.onsets) < rules.fewest_notes:
        return Decision(Move.LISTEN)
    last_onset = snapshot.onsets[-1]
    quiet_since = max(last_onset, snapshot.last_release or last_onset)
    if snapshot.held:
        quiet_since = last_onset + rules.longest_held
    start = _phrase_end(quiet_since, snapshot, rules)
    if snapshot.now < start - rules.prepare:
        return Decision(Move.LISTEN, look_again=start - rules.prepare)
    start = max(start, snapshot.now)
    length = last_onset - snapshot.onsets[0]
    end = start + min(max(length, rules.shortest_answer), rules.longest_answer)
    bar = snapshot.transport.next_bar(end) if snapshot.transport is not None else None
    return Decision(
        Move.ANSWER, start=start, end=end if bar is None else min(bar, start + rules.longest_answer)
    )


def _phrase_end(quiet_since: float, snapshot: Snapshot, rules: PhraseRules) -> float:
    """When the phrase is over, if nothing more comes."""
    line = snapshot.beat
    position = None if line is None else line.position(quiet_since)
    if line is not None and position is not None:
        over = position + rules.rest
        entry = math.ceil(over * 2 - _EDGE) / 2
        if entry - over > _FAR:
            entry = math.ceil(over * 4 - _EDGE) / 4
        time = line.time_of(entry)
        if time is not None and rules.shortest_pause <= time - quiet_since <= rules.longest_pause:
            return time
    return quiet_since + pause_after(snapshot.onsets, snapshot.rests, rules)
