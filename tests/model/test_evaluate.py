"""Evaluation: the engine's nats are PyTorch's, the n-grams see the same tokens, the report adds up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_pieces import Inline, duet_clip, source_of, write_pieces

import model.evaluate
from export.bundle import export_bundle
from model.baseline import in_all_keys, train_for
from model.checkpoint import write_checkpoint
from model.chord_fit import choose_spans, chord_of, clip_of, invalid_events, mean_chord_tone_rate, play
from model.config import PLAN_AFTER, NetworkConfig
from model.evaluate import EvaluationOptions, evaluate, render_report
from model.held_out import choose_excerpts, excerpt, model_nats, token_nats
from model.loss import token_nats as torch_token_nats
from model.network import ChordPlan, DuetNetwork
from model.ngram import WittenBell
from model.prepare import prepare
from plugin_bridge.engine.bundle import load_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.events import NoteOff, NoteOn, Part

NETWORK = NetworkConfig("test", 1, 32, 2, 48, 96, 16, (0, 1))
OPTIONS = EvaluationOptions(max_tokens=900, piece_tokens=300, clips=3, clip_seconds=4.0, ngram_order=3)


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    torch.manual_seed(3)
    network = DuetNetwork(NETWORK).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # as initialised the chords hardly matter
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


@pytest.fixture(scope="module")
def style(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("style")
    meta = {
        "format": 1, "vocabulary": v.fingerprint(), "network": NETWORK.to_json(), "provenance": {},
        "state": {"step": 0, "tokens": 0, "seconds": 0},
    }  # fmt: skip
    write_checkpoint(folder / "ck", {f"model.{k}": t for k, t in network.state_dict().items()}, meta)
    export_bundle(folder / "ck", folder / "made", name="made", precision="fp32")
    return load_style(folder / "made")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared folder of two sources, one with chords, with pieces in every split."""
    folder = tmp_path_factory.mktemp("data")
    names = [f"piece {number}" for number in range(16)]
    write_pieces(folder / "charts", names)
    write_pieces(folder / "plain", [f"other {number}" for number in range(16)], chords=False, played=False)
    prepare([folder / "charts", folder / "plain"], folder / "data", held_out=(0.2, 0.4), executor=Inline())
    return folder / "data"


@pytest.fixture(scope="module")
def report(style, prepared):
    return evaluate(style, prepared, OPTIONS)


def network_nats(network, piece, *, plan):
    """The nats of an excerpt by PyTorch: the whole piece in one pass, with the training loss."""
    tokens, metre = (
        torch.from_numpy(each.astype(np.int64))[None] for each in (piece.tokens, piece.metre[:-1])
    )
    columns = (
        torch.from_numpy(piece.chords[name].astype(np.int64))[None] for name in ("root", "quality", "bass")
    )
    pointer = torch.from_numpy(piece.pointer[:-1].astype(np.int64))[None]
    with torch.no_grad():
        chords = ChordPlan(*columns, torch.tensor([PLAN_AFTER]))
        logits = network(tokens[:, :-1], metre, chords, pointer if plan else torch.full_like(pointer, -1))
        touch = torch.full((1, logits.shape[1]), piece.touch)
        return torch_token_nats(logits, tokens[:, 1:], touch)[0].numpy()


@pytest.mark.parametrize("plan", [True, False])
@pytest.mark.parametrize(("view", "touch"), [("solo", True), ("duet", False)])
def test_the_engines_nats_are_those_of_pytorch(network, style, view, touch, plan):
    source = source_of(duet_clip(24, seed=5, played=touch), has_touch=touch)  # more chords than a plan holds
    piece = excerpt(source, view, 400)
    assert len(piece.tokens) > 3 * NETWORK.context
    assert piece.pointer.max() >= PLAN_AFTER
    engine = Engine(style)
    model_nats(engine, piece, plan=not plan)  # what was there before leaves no trace
    found = model_nats(engine, piece, plan=plan)
    np.testing.assert_allclose(found, network_nats(network, piece, plan=plan), atol=1e-3)


def test_the_plan_makes_a_difference(style):
    piece = excerpt(source_of(duet_clip(8)), "solo", 400)
    engine = Engine(style)
    assert np.abs(model_nats(engine, piece, plan=True) - model_nats(engine, piece, plan=False)).max() > 0.01


@pytest.mark.parametrize("touch", [True, False])
def test_nats_of_logits_are_those_of_the_loss(touch):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 8, (50, v.SIZE)).astype(np.float32)
    targets = rng.integers(0, v.VELOCITY_BASE, 50)
    expected = torch_token_nats(
        torch.from_numpy(logits)[None], torch.from_numpy(targets)[None], torch.full((1, 50), touch)
    )
    np.testing.assert_allclose(token_nats(logits, targets, touch=touch), expected[0], rtol=1e-5)


def test_solo_counts_every_token_and_duet_only_the_partners():
    source = source_of(duet_clip(4))
    solo, duet = (excerpt(source, view, 10_000) for view in ("solo", "duet"))
    assert solo.counted.all()
    assert solo.notes == 4 * 7
    assert duet.notes == 4 * 3
    assert 0 < duet.counted.sum() < len(duet.counted)
    for piece in (solo, duet):
        assert piece.tokens[0] == v.BOS
        assert v.EOS not in piece.tokens


def test_excerpts_are_dealt_evenly_and_whatever_the_order():
    pieces = [
        source_of(duet_clip(8, seed), f"{source} {seed}", source=source)
        for source in "ab"
        for seed in range(9)
    ]
    chosen = choose_excerpts(pieces, "solo", 1000, 150)
    again = choose_excerpts(pieces[::-1], "solo", 1000, 150)
    assert [piece.name for piece in chosen] == [piece.name for piece in again]
    taken = {name: sum(len(p.counted) for p in chosen if p.source == name) for name in "ab"}
    assert 1000 <= sum(taken.values()) < 1150
    assert abs(taken["a"] - taken["b"]) <= 150
    assert max(len(piece.tokens) for piece in chosen) == 150


def test_a_single_line_is_scored_alone_only():
    source = source_of(duet_clip(4), dealt="solo")
    assert choose_excerpts([source], "duet", 100, 100) == []
    assert len(choose_excerpts([source], "solo", 100, 100)) == 1


def test_ngrams_counted_for_some_tokens_give_them_the_probabilities_of_all():
    rng = np.random.default_rng(4)
    streams = [
        (v.NOTE_ON_BASE + rng.integers(0, 12, rng.integers(1, 300))).astype(np.uint16) for _ in range(30)
    ]
    wanted = [*streams[:2], (v.NOTE_ON_BASE + rng.integers(0, 14, 80)).astype(np.uint16)]
    read = []
    some, whole = train_for(wanted, streams, 5, read.append), WittenBell.train(streams, v.SIZE, 5)
    assert sum(read) == sum(map(len, streams))
    for stream in wanted:
        np.testing.assert_array_equal(some.log_probabilities(stream), whole.log_probabilities(stream))


def test_chunks_of_training_add_up(monkeypatch):
    rng = np.random.default_rng(4)
    streams = [(v.NOTE_ON_BASE + rng.integers(0, 9, 200)).astype(np.uint16) for _ in range(20)]
    whole = train_for(streams[:1], streams, 4, lambda tokens: None).log_probabilities(streams[0])
    monkeypatch.setattr("model.baseline._CHUNK", 450)
    parts = train_for(streams[:1], streams, 4, lambda tokens: None).log_probabilities(streams[0])
    np.testing.assert_array_equal(parts, whole)


def test_a_piece_comes_in_twelve_keys_and_stays_on_the_keyboard():
    stream = np.array([3, v.NOTE_ON_BASE + 126, v.SHIFT_BASE + 9, v.NOTE_OFF_BASE + 126], np.uint16)
    keys = list(in_all_keys([stream]))
    assert sorted({int(key[1] - v.NOTE_ON_BASE) % 12 for key in keys}) == list(range(12))
    for key in keys:
        assert v.NOTE_ON_BASE <= key[1] < v.NOTE_OFF_BASE
        assert int(key[3]) - int(key[1]) == 128
        assert key[[0, 2]].tolist() == stream[[0, 2]].tolist()


def test_the_report_has_what_the_command_promises(report):
    for key in (
        "nats_per_token", "nats_per_note", "notes", "chord_tone_rate", "invalid_events", "longest_copy_notes",
    ):  # fmt: skip
        assert report[key] is not None, key
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["invalid_events"] == 0
    assert report["generated"]["clips"] == 3
    assert report["generated"]["notes"] > 0
    assert 0 <= report["chord_tone_rate"] <= 1


def test_the_overall_figures_are_those_of_all_sources_together(report):
    for view in ("solo", "duet"):
        overall, sources = report["views"][view]["overall"], report["views"][view]["sources"]
        assert set(sources) == {"charts", "plain"}
        for key in ("tokens", "notes", "pieces"):
            assert overall[key] == sum(each[key] for each in sources.values())
        total = sum(each["nats_per_token"] * each["tokens"] for each in sources.values())
        assert overall["nats_per_token"] * overall["tokens"] == pytest.approx(total)
        assert overall["nats_per_note"] * overall["notes"] == pytest.approx(total)
    assert report["nats_per_token"] == report["views"]["solo"]["overall"]["nats_per_token"]


def test_only_pieces_with_chords_are_scored_without_them(report):
    sources = report["views"]["solo"]["sources"]
    assert "pieces_with_chords" not in sources["plain"]
    told = sources["charts"]["pieces_with_chords"]
    assert told["nats_per_token_with_plan"] == pytest.approx(sources["charts"]["nats_per_token"])
    assert told["nats_per_token_with_plan"] != told["nats_per_token_without_plan"]


def test_the_best_ngram_is_the_yardstick(report):
    overall = report["views"]["solo"]["overall"]
    by_order = {int(order): each["nats_per_note"] for order, each in overall["ngrams"].items()}
    assert set(by_order) == {2, 3}
    best = min(by_order.values())
    assert by_order[overall["best_order"]] == best
    assert overall["below_best_ngram"] == pytest.approx(1 - overall["nats_per_note"] / best)
    assert overall["below_best_ngram"] < 0  # an untrained network is worse than any n-gram
    for each in overall["ngrams"].values():
        assert each["nats_per_token"] == min(each["nats_per_token_by_training"].values())
        assert set(each["nats_per_token_by_training"]) == {"as written", "all 12 keys"}


def test_the_printed_report_names_the_sources_and_the_figures(report):
    text = render_report(report)
    assert "charts" in text
    assert "plain" in text
    assert f"{report['nats_per_note']:.3f}" in text
    assert "0 invalid events" in text
    assert max(map(len, text.splitlines())) <= 100


def test_of_raw_midi_every_piece_counts_and_there_is_nothing_to_compare_with(style, tmp_path, prepared):
    folder = write_pieces(tmp_path / "mine", ["one", "two", "three"], bars=4)
    options = replace(OPTIONS, clips=1, max_tokens=100_000)
    report = evaluate(style, folder, options)
    assert report["views"]["solo"]["overall"]["pieces"] == 3
    assert report["longest_copy_notes"] is None
    assert report["below_best_ngram"] is None
    assert "No training data" in render_report(report)
    compared = evaluate(style, folder, replace(options, train_data=prepared))
    assert compared["longest_copy_notes"] is not None
    assert compared["below_best_ngram"] is not None
    assert compared["nats_per_token"] == report["nats_per_token"]


def test_progress_is_told_in_shares(style, prepared):
    told = []
    evaluate(style, prepared, OPTIONS, lambda stage, share: told.append((stage, share)))
    stages = {stage for stage, _ in told}
    assert {"scoring solo excerpts", "scoring duet excerpts", "generating clips"} <= stages
    assert all(0 <= share <= 1 for _, share in told)


def test_a_split_without_pieces_is_refused_by_name(style, tmp_path):
    folder = write_pieces(tmp_path / "mine", ["one", "two"], bars=3)
    prepare([folder], tmp_path / "data", held_out=(0.0, 0.0), executor=Inline())
    with pytest.raises(BridgeError, match=r"no pieces in its test split \(train has 2"):
        evaluate(style, tmp_path / "data", OPTIONS)


@pytest.mark.parametrize(
    "wrong", [{"split": "all"}, {"max_tokens": 0}, {"ngram_order": 1}, {"clips": -1}, {"clip_seconds": 0.1}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(BridgeError):
        EvaluationOptions(**wrong)


@pytest.mark.parametrize("symbol", ["C", "F#m7", "Bbmaj7/D", "G7sus4"])
def test_a_chord_comes_back_from_its_ids(symbol):
    chord = parse_chord(symbol)
    found = chord_of(chord.root_class, chord.quality_id, chord.bass_class)
    assert found is not None
    assert found.pitch_classes == chord.pitch_classes
    assert (found.root_class, found.bass_class) == (chord.root_class, chord.bass_class)


def test_spans_begin_at_bars_and_keep_the_chords_of_the_piece():
    source = source_of(duet_clip(12))
    whole = clip_of(source)
    spans = choose_spans([source], 5, 6.0, seed=2)
    assert len({span.start for span in spans}) > 1
    for span in spans:
        assert span.start % 2.0 == pytest.approx(0.0)
        assert span.human.duration <= span.seconds == 6.0
        for time in (0.5, 2.5, 5.9):
            assert span.chart.chord(time) == whole.chord_at(span.start + time)
        assert len(span.human.part(Part.PARTNER).notes) == 9


def test_pieces_with_chords_are_preferred_and_not_needed():
    with_chords = source_of(duet_clip(6), "with")
    without = source_of(duet_clip(6, chords=False, beats=False), "without")
    assert {span.name for span in choose_spans([with_chords, without], 4, 5.0, 0)} == {"with"}
    assert {span.name for span in choose_spans([without], 4, 5.0, 0)} == {"without"}
    assert choose_spans([], 4, 5.0, 0) == []


def test_a_clip_is_the_same_for_a_seed_and_the_bias_keeps_it_to_the_chords(style):
    (span,) = choose_spans([source_of(duet_clip(12))], 1, 8.0, seed=2)
    engine = Engine(style)
    one, two = (play(engine, span, seed=1, sampling=None, chord_bias=0.0) for _ in range(2))
    assert one == two
    assert play(engine, span, seed=2, sampling=None, chord_bias=0.0) != one
    biased = play(engine, span, seed=1, sampling=None, chord_bias=100.0)
    assert mean_chord_tone_rate([one.clip]) < mean_chord_tone_rate([biased.clip]) == 1.0
    assert biased.clip.duration <= 8.0


def test_events_that_make_no_sense_are_counted():
    on, off = NoteOn(0.1, 60, 70, Part.PARTNER), NoteOff(0.2, 60, Part.PARTNER)
    assert invalid_events([on, off]) == 0
    assert invalid_events([on, on, off]) == 1
    assert invalid_events([on, off, off]) == 1
    assert invalid_events([on]) == 1


def test_no_torch_is_needed():
    code = "import sys, model.evaluate; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    folder = str(model.evaluate.__file__).rsplit("model", 1)[0]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=folder).returncode == 0
