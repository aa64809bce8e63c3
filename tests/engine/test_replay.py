"""A stream that moves to another engine goes on as if that engine had played all along."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.bundles import make_style_bundle

from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.replay import Cancelled, Replay
from plugin_bridge.engine.stream import Stream
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.events import NoteOff, NoteOn
from plugin_bridge.music.harmony import even_chart

CHART = even_chart(parse_progression("C F G7 C"), 0.5, end=400.0)


@pytest.fixture(scope="module")
def other(base, tmp_path_factory):
    return make_style_bundle(base, tmp_path_factory.mktemp("other") / "other", seed=3, name="other")


def stream(style, **options):
    return Stream(Engine(style), seed=4, chart=CHART, metre_at=lambda s: 1 + int(s * 8) % 16, **options)


def play(one, count, start=0.0):
    for index in range(count):
        at = start + 0.2 * index
        one.hear([NoteOn(at, 60 + index % 12, 80), NoteOff(at + 0.1, 60 + index % 12)])


def events(one, count=30):
    return [one.generate(not_before=one.seconds, until=1e9) for _ in range(count)]


def test_moved_it_plays_what_a_stream_of_that_style_would(base, other):
    moved, born = stream(base.style), stream(other)
    for each in (moved, born):
        play(each, 20)
    assert moved.move(Replay(Engine(other), moved.history()))
    assert np.abs(moved._logits - born._logits).max() < 1e-4
    assert moved.engine.style.name == "other"
    assert events(moved) == events(born)


def test_it_catches_up_with_what_came_since(base, other):
    moved, born = stream(base.style), stream(other)
    play(moved, 12)
    replay = Replay(Engine(other), moved.history())
    play(moved, 9, start=3.0)
    play(born, 12)
    play(born, 9, start=3.0)
    assert moved.move(replay)
    assert np.abs(moved._logits - born._logits).max() < 1e-4
    assert events(moved) == events(born)


def test_what_was_taken_back_since_is_forgotten(base, other):
    moved, born = stream(base.style), stream(other)
    play(moved, 10)
    mark = moved.mark()
    events(moved, 8)
    replay = Replay(Engine(other), moved.history())
    moved.rewind(mark)
    play(moved, 3, start=2.5)
    play(born, 10)
    play(born, 3, start=2.5)
    assert moved.move(replay)
    assert np.abs(moved._logits - born._logits).max() < 1e-4


def test_a_replay_of_another_past_is_not_moved_to(base, other):
    moved, strange = stream(base.style), stream(base.style)
    play(strange, 70)
    play(moved, 70, start=1.0)
    before = moved.engine
    assert not moved.move(Replay(Engine(other), strange.history()))
    assert moved.engine is before


def test_chords_that_were_followed_before_are_kept_when_the_chart_changes(base, other):
    moved, born = stream(base.style), stream(other)
    later = even_chart(parse_progression("Am Dm"), 0.7, end=100.0)
    for each in (moved, born):
        play(each, 10)
        each.set_chart(later)
        play(each, 4, start=3.0)
    assert moved.move(Replay(Engine(other), moved.history()))
    assert np.abs(moved._logits - born._logits).max() < 1e-4


def test_a_replay_that_is_not_wanted_any_more_stops(base, other):
    moved = stream(base.style)
    play(moved, 200)
    asked = []
    with pytest.raises(Cancelled):
        Replay(Engine(other), moved.history(), lambda: asked.append(1) or len(asked) > 3)
    assert len(asked) == 4


def test_after_a_long_session_the_latest_past_is_enough(base, other):
    """A logit depends on what the spans of all layers reach, which is kept: nothing older matters."""
    moved, born = stream(base.style), stream(other)
    for each in (moved, born):
        for part in range(30):
            play(each, 30, start=6.0 * part)
    history = moved.history()
    assert len(history.entries) < history.end
    assert moved.move(Replay(Engine(other), history))
    assert np.abs(moved._logits - born._logits).max() < 1e-4
    mark = moved.mark()
    first = events(moved, 10)
    moved.rewind(mark)
    assert events(moved, 10) == first


def test_it_moves_again_and_back(base, other):
    moved, stayed = stream(base.style), stream(base.style)
    for each in (moved, stayed):
        play(each, 8)
    for style in (other, base.style):
        assert moved.move(Replay(Engine(style), moved.history()))
        play(moved, 4, start=moved.seconds + 0.1)
        play(stayed, 4, start=stayed.seconds + 0.1)
    assert np.abs(moved._logits - stayed._logits).max() < 1e-4
