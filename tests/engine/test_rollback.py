"""A plan that was taken back leaves no trace: what follows is what follows without it."""

from __future__ import annotations

import random
from math import inf

import numpy as np

from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.engine.stream import Stream
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.events import NoteOff, NoteOn
from plugin_bridge.music.harmony import even_chart

INTERRUPTIONS = 1000
CHART = even_chart(parse_progression("C Am F G7"), 2.0, end=3600.0)
PLAIN = SamplingParameters(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)


def two_streams(style, seed):
    return tuple(
        Stream(
            Engine(style), seed=seed, sampling=PLAIN, chart=CHART, metre_at=lambda s: 1 + int(8 * s) % 16,
            chord_bias=1.0,
        )
        for _ in range(2)
    )  # fmt: skip


def test_after_a_thousand_interruptions_the_duet_is_as_if_no_plan_had_been_abandoned(exact_style):
    """One stream plans up to 12 events and keeps the first few; the other never plans what is not kept.

    Their caches slide at different tokens, so their logits may differ in the last digits; a draw that falls
    between them is no fault, and both begin anew.
    """
    planner, careful = two_streams(exact_style, seed=9)
    chance = random.Random(2)
    begun_anew = 0
    for number in range(INTERRUPTIONS):
        planned, kept = chance.randrange(13), chance.randrange(6)
        place = planner.mark()
        events = []
        for index in range(planned):
            events.append(planner.generate(not_before=planner.seconds, until=inf))
            if index < kept:
                place = planner.mark()
        planner.rewind(place)
        mine = [careful.generate(not_before=careful.seconds, until=inf) for _ in range(min(planned, kept))]
        if mine != events[: len(mine)]:
            begun_anew += 1
            planner, careful = two_streams(exact_style, seed=100 + number)
        at = planner.seconds + chance.choice([0.0, 0.01, 0.13])
        pitch = chance.randrange(40, 90)
        for stream in (planner, careful):
            stream.hear([NoteOn(at, pitch, 80), NoteOff(at + 0.05, pitch)])
            stream.reseed()
        assert planner.seconds == careful.seconds
        assert planner.engine.length == careful.engine.length
        assert planner._grammar.held.tolist() == careful._grammar.held.tolist()
        assert np.abs(planner._logits - careful._logits).max() < 1e-5
    assert begun_anew <= 2
