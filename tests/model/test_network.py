"""The network sees what it may see, no more, and a stream through its cache is one banded pass."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from model.config import PLAN_AFTER, PLAN_BEFORE, config_from_json, load_config
from model.network import (
    EXACT_DISTANCES,
    LOG_BUCKETS,
    Cache,
    ChordPlan,
    DuetNetwork,
    RelativeAttention,
    distance_buckets,
)
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

TINY = load_config("tiny")
CHORDS = 20


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(5)
    return DuetNetwork(TINY).eval()


def some_plan(batch=1, horizon=PLAN_AFTER, seed=3):
    rng = torch.Generator().manual_seed(seed)
    root, bass = (torch.randint(13, (batch, CHORDS), generator=rng) for _ in range(2))
    quality = torch.randint(TINY.qualities, (batch, CHORDS), generator=rng)
    return ChordPlan(root, quality, bass, torch.full((batch,), horizon))


def some_music(length, batch=1, seed=1):
    """Tokens, metre, and a pointer that walks through the plan, after a while without a chord."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(v.SIZE, (batch, length), generator=rng)
    metre = torch.randint(TINY.metre_size, (batch, length), generator=rng)
    walk = torch.arange(length) * (CHORDS + 1) // length - 1
    return tokens, metre, walk.expand(batch, length).clone()


@torch.no_grad()
def full(network, tokens, metre, pointer, plan):
    return network(tokens, metre, plan, pointer)


@torch.no_grad()
def stepped(network, music, plan, chunks, cache=None):
    """The logits of `music` taken in steps whose sizes are dealt from `chunks` over and over."""
    tokens, metre, pointer = music
    cache = Cache() if cache is None else cache
    plans = network.plans(plan)
    logits, at, turn = [], 0, 0
    while at < tokens.shape[1]:
        part = slice(at, at + chunks[turn % len(chunks)])
        logits.append(network.step(tokens[:, part], metre[:, part], plans, pointer[:, part], cache))
        at, turn = part.stop, turn + 1
    return torch.cat(logits, 1)


# what a token may see


@pytest.mark.parametrize("changed", [0, 1, 15, 16, 63, 64, 127, 128, 129, 255, 270])
@pytest.mark.parametrize("what", ["token", "metre", "pointer"])
def test_what_comes_changes_nothing_before_it(network, changed, what):
    tokens, metre, pointer = some_music(300)
    plan = some_plan()
    before = full(network, tokens, metre, pointer, plan)
    if what == "token":
        tokens[0, changed] = (tokens[0, changed] + 7) % v.SIZE
    elif what == "metre":
        metre[0, changed] = (metre[0, changed] + 5) % TINY.metre_size
    else:
        pointer[0, changed] = (pointer[0, changed] + 3) % CHORDS
    after = full(network, tokens, metre, pointer, plan)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.equal(before[:, changed], after[:, changed])


def test_a_token_reaches_as_far_as_the_bands_allow_and_no_further(network):
    tokens, metre, pointer = some_music(300)
    before = full(network, tokens, metre, pointer, some_plan())
    tokens[0, 50] = (tokens[0, 50] + 1) % v.SIZE
    after = full(network, tokens, metre, pointer, some_plan())
    reach = 50 + (TINY.context - 1) + TINY.layers * (TINY.window - 1)
    changed = (before != after).any(-1)[0].nonzero()[:, 0]
    assert changed.min() == 50
    assert changed.max() <= reach
    assert changed.max() > 50 + TINY.context - 2, "layer 0 must see the whole context"


def test_pieces_of_a_batch_do_not_touch_each_other(network):
    tokens, metre, pointer = some_music(90, batch=2)
    plan = some_plan(batch=2)
    before = full(network, tokens, metre, pointer, plan)
    tokens[1] = tokens[1].flip(0)
    plan.root[1] = (plan.root[1] + 1) % 13
    after = full(network, tokens, metre, pointer, plan)
    torch.testing.assert_close(before[0], after[0], rtol=0, atol=1e-6)
    assert not torch.allclose(before[1], after[1])


# the cache


@pytest.mark.parametrize("chunks", [(1,), (7,), (16,), (17,), (64,), (1, 5, 40), (130, 1)])
def test_step_by_step_equals_the_full_pass(network, chunks):
    music, plan = some_music(150, batch=2), some_plan(batch=2)
    torch.testing.assert_close(
        stepped(network, music, plan, chunks), full(network, *music, plan), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("chunks", [(1,), (33, 2)])
def test_a_stream_that_forgets_equals_the_banded_pass(network, chunks):
    length = 9 * TINY.context + 11
    music, plan = some_music(length), some_plan()
    cache = Cache()
    logits = stepped(network, music, plan, chunks, cache)
    torch.testing.assert_close(logits, full(network, *music, plan), rtol=0, atol=1e-4)
    kept = [key.shape[2] for key, _ in cache.layers]
    assert kept == [TINY.context - 1] + [TINY.window - 1] * TINY.layers


@pytest.mark.parametrize("at", [3, 40, 200])
def test_rewinding_equals_never_having_gone_there(network, at):
    tokens, metre, pointer = some_music(at + 60)
    plan, cache = some_plan(), Cache()
    stepped(network, (tokens[:, :at], metre[:, :at], pointer[:, :at]), plan, (13,), cache)
    saved = Cache([(key.clone(), value.clone()) for key, value in cache.layers])
    elsewhere = some_music(90, seed=99)
    stepped(network, elsewhere, plan, (9,), cache)
    rest = (tokens[:, at:], metre[:, at:], pointer[:, at:])
    came_back = stepped(network, rest, plan, (6,), saved)
    never_left = stepped(network, (tokens, metre, pointer), plan, (13,) * (at // 13) + (1,))
    torch.testing.assert_close(came_back, never_left[:, at:], rtol=0, atol=1e-4)


def test_a_saved_cache_is_not_written_to_by_later_steps(network):
    music, plan, cache = some_music(30), some_plan(), Cache()
    stepped(network, music, plan, (30,), cache)
    saved = list(cache.layers)
    copies = [(key.clone(), value.clone()) for key, value in saved]
    stepped(network, some_music(40, seed=8), plan, (4,), cache)
    for (key, value), (key_before, value_before) in zip(saved, copies, strict=True):
        assert torch.equal(key, key_before)
        assert torch.equal(value, value_before)


# relative attention


def written_out(attention, x):
    """Relative attention straight from the formula, query by query: [B, T, D] to [B, T, D]."""
    query, key, value = attention._split(x)
    rows = []
    for i in range(x.shape[1]):
        first = max(i - attention.span + 1, 0)
        distance = torch.arange(i - first, -1, -1)
        vectors = attention.distance[:, attention.buckets[distance]]  # [H, S, K]
        scores = torch.einsum("bhk,bhsk->bhs", query[:, :, i], key[:, :, first : i + 1] + vectors)
        rows.append(torch.einsum("bhs,bhsk->bhk", scores.softmax(-1), value[:, :, first : i + 1]).flatten(1))
    return attention.out(torch.stack(rows, 1))


@pytest.mark.parametrize(("span", "length"), [(16, 40), (64, 64), (200, 300), (256, 129), (130, 128)])
@torch.no_grad()
def test_blocks_and_skew_equal_the_formula(span, length):
    torch.manual_seed(span)
    attention = RelativeAttention(TINY, span)
    torch.nn.init.normal_(attention.distance, std=0.5)  # so that a distance off by one shows
    x = torch.randn(2, length, TINY.width)
    torch.testing.assert_close(attention(x), written_out(attention, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("past", [0, 1, 50, 199, 230])
@pytest.mark.parametrize("new", [1, 3, 70])
@torch.no_grad()
def test_few_queries_against_many_keys_equal_the_full_pass(past, new):
    torch.manual_seed(7)
    attention = RelativeAttention(TINY, 200)
    torch.nn.init.normal_(attention.distance, std=0.5)
    x = torch.randn(1, past + new, TINY.width)
    cache = attention.step(x[:, :past], None)[1] if past else None
    stepped_on, _ = attention.step(x[:, past:], cache)
    torch.testing.assert_close(stepped_on, attention(x)[:, past:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("span", [16, 64, 65, 256, 4096])
def test_buckets_are_exact_near_and_coarse_far(span):
    buckets = distance_buckets(span)
    near = min(span, EXACT_DISTANCES)
    assert buckets[:near].tolist() == list(range(near))
    assert (buckets.diff() >= 0).all()
    assert buckets.max() < EXACT_DISTANCES + LOG_BUCKETS
    assert buckets.max() < RelativeAttention(TINY, span).distance.shape[1]


# chords


def test_with_horizon_0_the_chords_to_come_are_hidden(network):
    tokens, metre, _ = some_music(60)
    pointer = torch.full_like(tokens, 6)
    plan = some_plan(horizon=0)
    before = full(network, tokens, metre, pointer, plan)
    for field in (plan.root, plan.quality, plan.bass):
        field[:, 7:] = (field[:, 7:] + 1) % 13
    assert torch.equal(before, full(network, tokens, metre, pointer, plan))
    plan.horizon[:] = 1
    assert not torch.equal(before, full(network, tokens, metre, pointer, plan))


@pytest.mark.parametrize(
    ("chord", "seen"),
    [
        (8 - PLAN_BEFORE - 1, False), (8 - PLAN_BEFORE, True), (8, True), (8 + PLAN_AFTER, True), (0, False),
    ],
)  # fmt: skip
def test_a_plan_reaches_4_chords_back_and_11_ahead(network, chord, seen):
    tokens, metre, _ = some_music(40)
    pointer = torch.full_like(tokens, 8)
    plan = some_plan()
    before = full(network, tokens, metre, pointer, plan)
    plan.root[0, chord] = (plan.root[0, chord] + 1) % 13
    assert torch.equal(before, full(network, tokens, metre, pointer, plan)) is not seen


def test_more_than_11_chords_ahead_is_out_of_sight(network):
    tokens, metre, _ = some_music(40)
    pointer = torch.full_like(tokens, 2)
    plan = some_plan()
    before = full(network, tokens, metre, pointer, plan)
    plan.quality[0, 2 + PLAN_AFTER + 1 :] = 0
    assert torch.equal(before, full(network, tokens, metre, pointer, plan))


def test_pointer_minus_one_equals_no_plan(network):
    tokens, metre, pointer = some_music(50)
    pointer[:] = -1
    with_plan = full(network, tokens, metre, pointer, some_plan())
    assert torch.equal(with_plan, full(network, tokens, metre, pointer, some_plan(seed=4)))
    empty = torch.zeros(1, 0, dtype=torch.int64)
    without = full(
        network, tokens, metre, pointer, ChordPlan(empty, empty, empty, torch.tensor([PLAN_AFTER]))
    )
    torch.testing.assert_close(with_plan, without, rtol=0, atol=1e-5)


def test_only_the_distance_from_now_counts_in_a_plan(network):
    """The same chords further back in a longer plan, with the pointer moved, sound the same."""
    tokens, metre, pointer = some_music(50)
    pointer = pointer.clamp(0, 8)
    plan = some_plan()
    later = ChordPlan(*(torch.roll(f, 3, 1) for f in (plan.root, plan.quality, plan.bass)), plan.horizon)
    visible = ChordPlan(*(f.clone() for f in (plan.root, plan.quality, plan.bass)), torch.tensor([2]))
    later.horizon = visible.horizon
    pointer += PLAN_BEFORE  # so that what rolled in from the end is out of sight in both
    torch.testing.assert_close(
        full(network, tokens, metre, pointer, visible),
        full(network, tokens, metre, pointer + 3, later),
        rtol=0, atol=1e-5,
    )  # fmt: skip


# sizes


@pytest.mark.parametrize(
    ("size", "count", "designed"),
    [
        ("tiny", 173_387, None),
        ("mini", 4_724_875, None),
        ("small", 14_045_195, 13e6),
        ("medium", 31_149_963, 29e6),
        ("large", 112_459_403, 106e6),
    ],
)
def test_parameter_counts(size, count, designed):
    with torch.device("meta"):
        network = DuetNetwork(load_config(size))
    assert network.parameter_count == count
    if designed is not None:
        assert math.isclose(count, designed, rel_tol=0.1)


def test_the_output_layer_is_the_token_table(network):
    assert network.tokens.table().shape == (v.SIZE, TINY.width)
    shapes = {tuple(parameter.shape) for parameter in network.parameters()}
    assert (v.SIZE, TINY.width) in shapes
    assert sum(p.shape == (v.SIZE, TINY.width) for p in network.parameters()) == 1


def test_octaves_of_a_note_share_a_factor(network):
    """C4 and C5 share kind and class, C4 on and C4 off class and octave: each learns from the other."""
    embedding = network.tokens
    c4, c5, c4_off = v.NOTE_ON_BASE + 60, v.NOTE_ON_BASE + 72, v.NOTE_OFF_BASE + 60
    assert embedding.kind_of[c4] == embedding.kind_of[c5] != embedding.kind_of[c4_off]
    assert embedding.class_of[c4] == embedding.class_of[c5] == embedding.class_of[c4_off]
    assert embedding.octave_of[c4] == embedding.octave_of[c4_off] != embedding.octave_of[c5]


# configs


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 3}, {"heads": 0}, {"width": -64}, {"window": 65}, {"window": 0}, {"layers": -1},
        {"chord_layers": [3]}, {"chord_layers": [-1]}, {"chord_layers": 1}, {"chord_layers": ["0"]},
        {"colour": "red"}, {"width": None}, {"width": "64"}, {"vocabulary_size": 0},
    ],
    ids=str,
)  # fmt: skip
def test_configs_that_do_not_fit_are_refused(change):
    values = {**TINY.to_json(), **change}
    with pytest.raises(BridgeError, match=r"^network config .*fit"):
        config_from_json(values)


def test_a_config_without_a_field_is_refused():
    values = TINY.to_json()
    del values["heads"]
    with pytest.raises(BridgeError, match="heads"):
        config_from_json(values)


def test_a_network_may_have_no_chord_layers():
    config = dataclasses.replace(TINY, chord_layers=())
    network = DuetNetwork(config).eval()
    music = some_music(20)
    assert torch.equal(full(network, *music, some_plan(seed=1)), full(network, *music, some_plan(seed=2))), (
        "without chord layers no plan is seen"
    )


def test_configs_come_from_files_and_survive_json(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(TINY.to_json()), encoding="utf-8")
    assert load_config(str(path)) == TINY


@pytest.mark.parametrize("name", ["huge", "nowhere.json", ""])
def test_unknown_sizes_are_refused(name):
    with pytest.raises(BridgeError, match="there is no"):
        load_config(name)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_broken_config_files_are_refused(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(BridgeError):
        load_config(str(path))
