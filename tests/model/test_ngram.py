"""The n-gram baseline: equal to a slow dictionary version, a probability everywhere, blind across pieces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.ngram import WittenBell, uniform_nats

VOCABULARY = 5
START = VOCABULARY

pieces = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)
corpora = st.lists(pieces, max_size=6)
orders = st.integers(1, 5)


def train(corpus, order, vocabulary=VOCABULARY):
    return WittenBell.train([np.array(piece, np.int64) for piece in corpus], vocabulary, order)


def slow_log_probabilities(corpus, piece, order):
    """Witten-Bell straight from the formula, one dictionary entry a history: a list per order."""
    after = defaultdict(Counter)
    for known in corpus:
        line = [START] * (order - 1) + known
        for i in range(order - 1, len(line)):
            for k in range(1, order + 1):
                after[tuple(line[i - k + 1 : i])][line[i]] += 1

    def probability(history, token, k):
        if k == 0:
            return 1 / VOCABULARY
        lower = probability(history[1:], token, k - 1)
        counts = after.get(history, Counter())
        if not counts:
            return lower
        return (counts[token] + len(counts) * lower) / (counts.total() + len(counts))

    line = [START] * (order - 1) + piece
    ends = range(order - 1, len(line))
    return [
        [math.log(probability(tuple(line[i - k + 1 : i]), line[i], k)) for i in ends]
        for k in range(1, order + 1)
    ]


@given(corpora, pieces, orders)
def test_equals_the_formula_written_out(corpus, piece, order):
    fast = train(corpus, order).log_probabilities(np.array(piece, np.int64))
    slow = np.array(slow_log_probabilities(corpus, piece, order)).reshape(order, len(piece))
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-6)


@given(corpora, pieces, orders)
def test_probabilities_sum_to_one_after_any_history(corpus, history, order):
    model = train(corpus, order)
    nexts = [model.log_probabilities(np.array([*history, token]))[:, -1] for token in range(VOCABULARY)]
    np.testing.assert_allclose(np.exp(nexts).sum(axis=0), 1, rtol=1e-5)


def test_probabilities_sum_to_one_over_the_real_vocabulary_size():
    size = 395
    rng = np.random.default_rng(0)
    corpus = [np.minimum(rng.zipf(1.5, 3000) - 1, size - 1) for _ in range(3)]
    model = WittenBell.train(corpus, size, 5)
    for history in (corpus[0][:9], np.array([394, 393, 392, 391]), np.array([], np.int64)):
        nexts = [model.log_probabilities(np.append(history, token))[:, -1] for token in range(size)]
        np.testing.assert_allclose(np.exp(nexts, dtype=np.float64).sum(axis=0), 1, rtol=1e-5)


def test_one_step_by_hand():
    # After 0 came 1 twice and 2 once: c(0) = 3, T(0) = 2. All tokens: c = 7, T = 3; 1 came twice.
    model = train([[0, 1, 0, 1, 0, 2, 0]], 2)
    unigram = (2 + 3 / VOCABULARY) / (7 + 3)
    bigram = (2 + 2 * unigram) / (3 + 2)
    probabilities = np.exp(model.log_probabilities(np.array([0, 1])))[:, 1]
    np.testing.assert_allclose(probabilities, [unigram, bigram], rtol=1e-6)


@given(corpora, pieces)
def test_lower_orders_come_from_the_same_call(corpus, piece):
    tokens = np.array(piece, np.int64)
    all_orders = train(corpus, 5).log_probabilities(tokens)
    for order in range(1, 5):
        np.testing.assert_array_equal(all_orders[:order], train(corpus, order).log_probabilities(tokens))


def test_no_history_crosses_from_one_piece_to_the_next():
    apart = train([[0, 1], [2, 3]], 2)
    joined = train([[0, 1, 2, 3]], 2)
    one_then_two = np.array([1, 2])
    unigram, bigram = apart.log_probabilities(one_then_two)[:, 1]
    assert bigram == unigram  # 1 was never followed by anything
    assert joined.log_probabilities(one_then_two)[1, 1] > bigram


def test_pieces_learn_how_pieces_begin():
    model = train([[3, 0, 1], [3, 1, 0], [3, 0, 0]], 3)
    first_three, first_zero = (model.log_probabilities(np.array([token]))[:, 0] for token in (3, 0))
    assert first_three[0] < first_zero[0]  # rarer over all
    assert (first_three[1:] > first_zero[1:]).all()  # but every piece begins with it


@pytest.mark.parametrize("corpus", [[], [[]], [[], []]])
def test_untrained_model_is_uniform(corpus):
    model = train(corpus, 4)
    np.testing.assert_allclose(model.nats([np.array([0, 4, 2])]), uniform_nats(VOCABULARY), rtol=1e-6)


def test_empty_pieces_change_nothing():
    tokens = np.array([0, 1, 2])
    with_empty, without = train([[], [0, 1], [], [2], []], 3), train([[0, 1], [2]], 3)
    np.testing.assert_array_equal(with_empty.log_probabilities(tokens), without.log_probabilities(tokens))
    assert without.log_probabilities(np.array([], np.int64)).shape == (3, 0)
    assert without.log_probabilities(np.array([])).shape == (3, 0)


def test_a_piece_shorter_than_the_order_is_learned_whole():
    model = train([[4, 2]], 5)
    logs = model.log_probabilities(np.array([4, 2]))
    assert logs.shape == (5, 2)
    assert (np.diff(logs[1:, 0]) > 0).all()  # each longer history, all start symbols, saw the same 4
    assert (np.diff(logs[1:, 1]) > 0).all()


def test_nats_weighs_tokens_not_pieces():
    model = train([[0, 0, 0, 1]], 2)
    streams = [np.array([0, 0, 0]), np.array([], np.int64), np.array([3])]
    logs = np.concatenate([model.log_probabilities(stream) for stream in streams], axis=1)
    np.testing.assert_allclose(model.nats(iter(streams)), -logs.mean(axis=1), rtol=1e-6)


def test_nats_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no tokens"):
        train([[0]], 2).nats([np.array([], np.int64)])


def test_a_longer_history_helps_where_music_repeats():
    riff = [0, 0, 1, 0, 0, 2, 0, 0, 3] * 40
    nats = train([riff], 5).nats([np.array(riff)])
    assert (np.diff(nats) < 0).all()
    assert nats[0] < uniform_nats(VOCABULARY)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_any_integer_type_will_do(dtype):
    tokens = np.array([0, 4, 2, 0, 4])
    typed = WittenBell.train([tokens.astype(dtype)], VOCABULARY, 5)
    plain = train([tokens.tolist()], 5)
    expected = plain.log_probabilities(tokens)
    np.testing.assert_array_equal(typed.log_probabilities(tokens.astype(dtype)), expected)


@pytest.mark.parametrize("bad", [[-1], [0, VOCABULARY], [1 << 40], [0.0, 1.0], [True], [[0, 1]]], ids=str)
def test_streams_that_are_not_tokens_are_refused(bad):
    with pytest.raises(ValueError, match=r"vocabulary|integers|one row"):
        WittenBell.train([np.array([0]), np.array(bad)], VOCABULARY, 3)
    with pytest.raises(ValueError, match=r"vocabulary|integers|one row"):
        train([[0]], 3).log_probabilities(np.array(bad))


@pytest.mark.parametrize(("vocabulary", "order"), [(0, 2), (5, 0), (395, 8)])
def test_sizes_that_cannot_be_packed_are_refused(vocabulary, order):
    with pytest.raises(ValueError, match=r"1 or more|do not fit"):
        WittenBell.train([], vocabulary, order)


def test_packing_uses_all_64_bits():
    size = (1 << 16) - 1  # ids and the start symbol fill 16 bits: four tokens fill the word
    tokens = np.array([size - 1, 0, size - 1, size - 1, 0] * 3)
    model = WittenBell.train([tokens], size, 4)
    nats = model.nats([tokens])
    assert np.isfinite(nats).all()
    assert nats[3] < nats[0] < uniform_nats(size)
