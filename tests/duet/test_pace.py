"""The ladder for slow machines: one measure at a time, and back when there is room."""

from __future__ import annotations

import itertools

from plugin_bridge.duet.pace import RECOVERY, REST, Pace, Rung


def run(pace: Pace, start: float, seconds: float, load: float, piece: float = 0.1) -> float:
    """Plan `seconds` of music in pieces, at a load; where that ends."""
    time = start
    for _ in range(round(seconds / piece)):
        time += piece
        pace.planned(time, load * piece, piece)
    return time


def test_a_fast_machine_changes_nothing() -> None:
    pace = Pace()
    run(pace, 0.0, 60.0, load=0.1)
    assert pace.rung is Rung.FULL
    assert (pace.lookahead(0.8), pace.forks(4), pace.fewest_ticks) == (0.8, 4, 0)
    assert pace.count == 0


def test_a_slow_machine_climbs_a_rung_at_a_time_up_to_a_rest() -> None:
    pace = Pace()
    time = 0.0
    seen = [pace.rung]
    for _ in range(200):
        if pace.resting(time):
            break
        time = run(pace, time, 0.2, load=2.0)
        seen.append(pace.rung)
    assert seen == sorted(seen)
    assert set(seen) == set(Rung)
    steps = pace.since(0)
    assert all(b.time - a.time >= 1.0 for a, b in itertools.pairwise(steps))


def test_each_rung_costs_less_than_the_one_before() -> None:
    pace = Pace()
    costs = []
    for rung in Rung:
        pace.rung = rung
        costs.append((pace.lookahead(0.8), pace.forks(4), -pace.fewest_ticks))
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == (0.8, 4, 0)
    assert costs[-1] == (0.4, 1, -25)


def test_after_a_rest_it_tries_again_and_recovers_slowly() -> None:
    pace = Pace()
    time = 0.0
    while not pace.resting(time):
        time = run(pace, time, 0.2, load=2.0)
    assert pace.resting(time + REST - 0.3)
    assert not pace.resting(time + REST)
    assert pace.rung is Rung.SPACED
    time = run(pace, time + REST, 5 * RECOVERY, load=0.1)
    assert pace.rung is Rung.FULL
    assert pace.highest is Rung.REST


def test_a_note_that_came_too_late_is_a_reason() -> None:
    pace = Pace()
    pace.dropped(1.0, 0)
    assert pace.rung is Rung.FULL
    pace.dropped(2.0, 3)
    assert pace.rung is Rung.SHORT_LOOKAHEAD
    pace.dropped(3.0, 3)
    assert pace.rung is Rung.SHORT_LOOKAHEAD
    assert [step.rung for step in pace.since(0)] == [Rung.SHORT_LOOKAHEAD]
    assert pace.since(1) == []


def test_chords_gain_no_time_and_are_no_load() -> None:
    pace = Pace()
    time = 0.0
    for _ in range(400):
        for gained in (0.0, 0.0, 0.0, 0.25):  # four notes at once, four times a second
            time += 0.005
            pace.planned(time, 0.005, gained)
    assert abs(pace.load - 0.08) < 0.01
    assert pace.rung is Rung.FULL
