"""Training a style: only the adapter learns, killed runs end as unkilled ones, bad wishes are refused."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch
from made_pieces import duet_clip, source_of
from safetensors.torch import load_file
from style_runs import OPTIONS, run, write_data
from training_runs import start

from model.adapter import load_adapter
from model.dataset import Prepared, build_pool
from model.style_data import base_mix, deal, fingerprint_of
from model.train_style import StyleTraining, _config, check_name
from plugin_bridge.errors import BridgeError

LONG = replace(OPTIONS, epochs=50)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("style"))


@pytest.fixture(scope="module")
def unkilled(base, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unkilled") / "run"
    process = start(run, data, folder, str(base.style.folder), LONG)
    process.join()
    assert process.exitcode == 0
    return folder


def tensors(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_style_learns(base, data, tmp_path):
    trained = run(data, tmp_path / "run", str(base.style.folder), replace(OPTIONS, epochs=12))
    nats = [row["valid_nats"] for row in trained.history]
    assert min(nats) < nats[0] - 0.1
    assert trained.trainable < 0.2 * trained.parameters
    saved = load_adapter(tmp_path / "run" / "adapter", base)
    assert saved.provenance["method"] == "qlora"
    assert all(up.abs().sum() > 0 for _, up, _ in saved.factors.values())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_other_methods_learn_too(base, data, tmp_path, method):
    options = replace(OPTIONS, method=method, epochs=3, learning_rate=3e-3)
    trained = run(data, tmp_path / "run", str(base.style.folder), options)
    assert trained.history[-1]["valid_nats"] < trained.history[0]["valid_nats"]
    assert (trained.adapter is None) == (method == "full")


def test_killed_ten_times_a_run_ends_with_the_same_adapter(base, data, unkilled, tmp_path):
    chance = random.Random(11)
    folder = tmp_path / "run"
    stood = []
    for _ in range(10):
        process = start(run, data, folder, str(base.style.folder), LONG)
        begun = time.monotonic()
        while not stood and not (folder / "last").exists():
            time.sleep(0.01)  # the first one may get as far as its first checkpoint
        process.join(max(chance.uniform(0.5, 2.5) - (time.monotonic() - begun), 0.0))
        assert process.exitcode is None, "the run was over before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        stood.append(json.loads((folder / "last" / "meta.json").read_text())["state"]["step"])
    assert stood == sorted(stood)
    process = start(run, data, folder, str(base.style.folder), LONG)
    process.join()
    assert process.exitcode == 0
    ours, theirs = tensors(folder), tensors(unkilled)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_goes_on_only_with_what_it_was_begun_with(base, data, unkilled, tmp_path):
    other = write_data(tmp_path, 8)
    with pytest.raises(BridgeError, match="another mix or another base"):
        run(other, unkilled, str(base.style.folder), LONG)
    with pytest.raises(BridgeError, match="other settings"):
        run(data, unkilled, str(base.style.folder), replace(LONG, learning_rate=1e-3))


def test_base_music_is_mixed_in(base, data, tmp_path):
    base_data = write_data(tmp_path / "base", 20)
    options = replace(OPTIONS, epochs=1, mix=0.5, base_data=base_data)
    trained = run(data, tmp_path / "run", str(base.style.folder), options)
    assert trained.provenance["base_share"] == 0.5


# how pieces are dealt


def pieces(count, parts=1):
    return [source_of(duet_clip(2, i), f"piece{i // parts}_part_{i % parts}") for i in range(count * parts)]


@pytest.mark.parametrize(("count", "train", "valid", "test"), [(4, 2, 1, 1), (10, 7, 1, 2), (15, 11, 1, 3)])
def test_pieces_are_dealt_by_recording(count, train, valid, test):
    dealt = deal(pieces(count, parts=3))
    groups = [
        {piece.name.split("_")[0] for piece in group} for group in (dealt.train, dealt.valid, dealt.test)
    ]
    assert [len(group) for group in groups] == [train, valid, test]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    again = deal(pieces(count, parts=3)[::-1])
    assert {piece.name for piece in again.test} == {piece.name for piece in dealt.test}


@pytest.mark.parametrize(("count", "held_out"), [(0, None), (2, None), (3, None), (6, 5), (6, 6), (6, 0)])
def test_too_few_pieces_are_refused(count, held_out):
    with pytest.raises(BridgeError, match="too few") as raised:
        deal(pieces(count), held_out)
    assert "\n" not in str(raised.value)


def test_base_music_has_its_share_of_an_epoch(tmp_path):
    base_data = Prepared(write_data(tmp_path, 30))
    style = [replace(piece, source="style") for piece in pieces(12)]
    tokens = sum(len(piece.tokens) for piece in style)
    others, weights = base_mix(base_data, tokens, 0.25)
    alone = mixed = 0
    for epoch in range(150):
        alone += tokens
        mixed += len(build_pool([*style, *others], 0, epoch, weights, "dealt").tokens)
    assert 1 - alone / mixed == pytest.approx(0.25, abs=0.05)


def test_in_36_epochs_a_piece_is_met_once_in_each_key_and_tempo():
    piece = source_of(duet_clip(2), dealt="solo")
    met = set()
    for epoch in range(36):
        pool = build_pool([piece], 5, epoch, None, "dealt")
        ons = pool.tokens[(pool.tokens >= 3) & (pool.tokens < 131)]
        shifts = pool.tokens[pool.metre > 0]
        met.add((int(ons.min()), len(pool.tokens), shifts.tobytes()))
    assert len(met) == 36


def test_a_corrected_chord_sheet_is_other_music():
    piece = source_of(duet_clip(3))
    other = replace(piece, chords=piece.chords[:-1])
    assert fingerprint_of([piece]) != fingerprint_of([other])
    assert fingerprint_of([piece, piece]) != fingerprint_of([piece])


@pytest.mark.parametrize(
    "name", ["con", "NUL.x", "evans ", "evans.", "", "base", "../x", "a/b", "x" * 65, ".hidden", "a\nb"]
)
def test_names_that_could_not_be_a_folder_are_refused(name):
    with pytest.raises(BridgeError):
        check_name(name)
    assert check_name("Bill Evans-2_b.1") == "Bill Evans-2_b.1"


@pytest.mark.parametrize("options", [{"epochs": 0}, {"mix": 0.95}, {"mix": -0.1}, {"mix": 0.2}])
def test_settings_that_cannot_be_are_refused(options):
    with pytest.raises(BridgeError):
        StyleTraining(**options)


@pytest.mark.parametrize(("capability", "fast"), [("AVX2", False), ("DEFAULT", False), ("AVX512", True)])
def test_bfloat16_is_used_where_the_processor_is_fast_at_it_unless_the_user_says(
    monkeypatch: pytest.MonkeyPatch, capability: str, fast: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    used = {wish: _config(StyleTraining(bf16=wish), 10_000, {}).bf16 for wish in (None, True, False)}
    assert used == {None: fast, True: True, False: False}
