"""The modes: tables of snapshots, and what each mode may play."""

from __future__ import annotations

import pytest

from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.phrases import Mode, Move, Snapshot
from plugin_bridge.duet.roles import Policies, limits_of
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.grammar import Grammar, Spacing

POLICIES = Policies()


def at(now: float, **changes: object) -> Snapshot:
    values: dict[str, object] = {
        "now": now, "onsets": (10.0, 10.4, 10.8), "last_release": 11.0, "held": 0, "answering": False,
    }  # fmt: skip
    return Snapshot(**{**values, **changes})


@pytest.mark.parametrize(
    ("mode", "snapshot", "move"),
    [
        (Mode.ANSWER, at(11.0), Move.LISTEN),
        (Mode.ANSWER, at(12.0), Move.ANSWER),
        (Mode.ANSWER, at(12.0, answering=True, player_struck=True), Move.YIELD),
        (Mode.CONTINUOUS, at(11.0), Move.ANSWER),
        (Mode.CONTINUOUS, at(11.0, answering=True, player_struck=True), Move.ANSWER),
        (Mode.CONTINUOUS, at(15.0, answering=True), Move.YIELD),
        (Mode.COMP, at(11.0), Move.ANSWER),
        (Mode.COMP, at(15.0, answering=True), Move.YIELD),
        (Mode.SOLO, at(15.0, answering=True), Move.ANSWER),  # a soloist goes on without being fed
        (Mode.SOLO, at(20.0, answering=True), Move.YIELD),
        (Mode.CHUNK, at(12.1), Move.ANSWER),  # a window has just begun
        (Mode.CHUNK, at(13.0), Move.LISTEN),  # too late for this one
        (Mode.CHUNK, at(13.0, answering=True, player_struck=True), Move.ANSWER),  # no change of mind
        (Mode.CHUNK, at(16.0), Move.LISTEN),  # the player is away
        (Mode.CHUNK, at(12.1, onsets=()), Move.LISTEN),
    ],
)
def test_moves(mode: Mode, snapshot: Snapshot, move: Move) -> None:
    assert POLICIES.decide(mode, snapshot).move is move


def test_windows_follow_each_other_and_hear_ten_seconds() -> None:
    first = POLICIES.decide(Mode.CHUNK, at(12.01))
    assert (first.end, first.context) == (14.0, 10.0)
    late = POLICIES.decide(Mode.CHUNK, at(13.0))
    assert late.look_again == 14.0
    assert POLICIES.decide(Mode.CHUNK, at(14.001)).end == 16.0


def allowed(mode: Mode, velocity: float | None = None, **changes: object) -> set[int]:
    """Pitches that may be struck by a part that plays already."""
    controls = Controls(mode=mode, **changes)
    grammar = Grammar()
    for token in (v.PART_BASE + 1, v.VELOCITY_BASE + 10, v.NOTE_ON_BASE + 60, v.SHIFT_BASE + 99):
        grammar.push(token)
    mask = grammar.mask(limits_of(controls, velocity, 1.0, 0))
    return set(mask[v.NOTE_ON_BASE : v.NOTE_OFF_BASE].nonzero()[0].tolist())


def test_a_comping_hand_stays_below_and_a_solo_above() -> None:
    assert max(allowed(Mode.COMP)) == 67
    assert min(allowed(Mode.SOLO)) == 58
    assert (min(allowed(Mode.ANSWER)), max(allowed(Mode.ANSWER))) == (24, 105)


def test_the_users_register_narrows_the_modes_and_wins_where_they_do_not_meet() -> None:
    assert (min(allowed(Mode.COMP, register_low=40)), max(allowed(Mode.COMP, register_low=40))) == (40, 67)
    assert min(allowed(Mode.COMP, register_low=80)) == 80


def test_comping_is_softer_than_the_player() -> None:
    controls = Controls(mode=Mode.COMP)
    grammar = Grammar()
    grammar.push(v.PART_BASE + 1)
    mask = grammar.mask(limits_of(controls, 60.0, 1.0, 0))
    louds = mask[v.VELOCITY_BASE :].nonzero()[0]
    assert v.bin_velocity(int(louds.max())) <= 0.9 * 60 + 2


def test_onsets_keep_their_distance_and_chords_do_not() -> None:
    controls = Controls(mode=Mode.CONTINUOUS, density=2.0)  # half a second
    grammar = Grammar()
    for token in (v.PART_BASE + 1, v.VELOCITY_BASE + 10, v.NOTE_ON_BASE + 60):
        grammar.push(token)
    limits = limits_of(controls, None, 1.0, 0)

    def notes_after(ticks: int) -> bool:
        later = grammar.copy()
        if ticks:
            later.push(v.SHIFT_BASE + ticks - 1)
        return bool(later.mask(limits)[v.NOTE_ON_BASE : v.NOTE_OFF_BASE].any())

    assert [notes_after(ticks) for ticks in (0, 2, 4, 5, 30, 49, 50, 90)] == [
        True, True, True, False, False, False, True, True,
    ]  # fmt: skip


def test_beside_a_player_who_plays_much_comping_leaves_room() -> None:
    def spacing(mode: Mode, density: float) -> int:
        limits = limits_of(Controls(mode=mode), 60.0, density, 0)
        return next(limit.ticks for limit in limits if isinstance(limit, Spacing))

    assert spacing(Mode.COMP, 9.0) == 2 * spacing(Mode.COMP, 2.0)
    assert spacing(Mode.SOLO, 9.0) == spacing(Mode.SOLO, 2.0)
