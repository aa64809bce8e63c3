"""A run can be killed at any moment and goes on as if it had not been; what is written is whole."""

from __future__ import annotations

import csv
import json
import math
import random
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from made_pieces import Inline, duet_clip, source_of, write_pieces
from safetensors.torch import load_file
from training_runs import NETWORK, TRAINING, context, start, train, train_and_die, trainer

from model import checkpoint
from model.checkpoint import load_network, read_checkpoint, recover, write_checkpoint
from model.dataset import Prepared, Variation, build, concatenate
from model.loss import token_nats, weighted_loss
from model.network import DuetNetwork
from model.prepare import prepare
from model.train_base import train_base
from model.training import Trainer, TrainingConfig, evaluation_batches, rate_at
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v


@pytest.fixture(autouse=True)
def torch_settings_restored():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("unkilled") / "run"
    train(folder)
    return folder


def assert_same_end(folder, other):
    """Weights, moments and random state are equal bit for bit, and so is what was reported on the way."""
    for name in ("last", "best"):
        mine, theirs = (load_file(f / name / "state.safetensors") for f in (folder, other))
        assert mine.keys() == theirs.keys()
        for key, tensor in mine.items():
            assert torch.equal(tensor, theirs[key]), (name, key)
    for row, expected in zip(history(folder), history(other), strict=True):
        assert {**row, "seconds": 0} == {**expected, "seconds": 0}


def meta(folder, name="last"):
    return json.loads((folder / name / "meta.json").read_text(encoding="utf-8"))


def history(folder):
    return meta(folder)["history"]


# killed and resumed


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(tmp_path, unkilled):
    """SIGKILL from outside, five times, at moments drawn anew each time, each run a little further on."""
    folder, ends = tmp_path / "run", []
    for attempt in range(5):
        process = start(train, folder)
        while process.is_alive() and steps_done(folder) < attempt * 4:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.1))
        process.kill()
        process.join()
        ends.append(process.exitcode)
    assert ends.count(-signal.SIGKILL) >= 3, ends
    train(folder)
    assert_same_end(folder, unkilled)


def steps_done(folder):
    """The step of the last whole checkpoint, 0 before the first."""
    try:
        return meta(folder)["state"]["step"]
    except (FileNotFoundError, NotADirectoryError):
        return 0


def test_a_run_that_dies_between_the_renames_ends_with_the_same_weights(tmp_path, unkilled):
    folder = tmp_path / "run"
    for name in ("best", "last", "last", "best"):
        process = start(train_and_die, folder, name)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (folder / name).exists()
        assert (folder / f"{name}.old").exists()
    train(folder)
    assert_same_end(folder, unkilled)


def run_and_hold(folder, pipe):
    train(folder)


def test_a_killed_run_leaves_no_process_behind(tmp_path):
    """Whatever the run starts holds the pipe too: its end is seen only when all of them are gone."""
    reader, writer = context.Pipe(duplex=False)
    process = start(run_and_hold, tmp_path / "run", writer)
    writer.close()
    while steps_done(tmp_path / "run") == 0:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert reader.poll(30), "a worker lives on"
    with pytest.raises(EOFError):
        reader.recv()


def test_interrupted_with_ctrl_c_it_saves_a_whole_step(tmp_path, unkilled, monkeypatch):
    """The signal comes in the middle of a step: the step is finished, saved, and gone on from."""
    run = trainer(tmp_path / "run")
    original = run.optimiser.step

    def step(*args, **kwargs):
        if run.step == 7:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(run.optimiser, "step", step)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert signal.getsignal(signal.SIGINT) is before
    assert meta(tmp_path / "run")["state"]["step"] == 8
    train(tmp_path / "run")
    mine, theirs = (load_file(f / "last" / "state.safetensors") for f in (tmp_path / "run", unkilled))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_a_finished_run_stays_as_it_is(tmp_path):
    train(tmp_path / "run")
    first = load_file(tmp_path / "run" / "last" / "state.safetensors")
    trainer(tmp_path / "run").train()
    again = load_file(tmp_path / "run" / "last" / "state.safetensors")
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_batches_are_seen_once_each_across_epochs(tmp_path):
    run = trainer(tmp_path / "run")
    run.train()
    assert run.epoch >= 1, "the run must go through more than an epoch"
    assert run.tokens == TRAINING.steps * TRAINING.batch * TRAINING.length
    assert run.step == TRAINING.steps


# settings


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch": 4}, "batch"), ({"learning_rate": 1e-4}, "learning_rate"), ({"seed": 1}, "seed"),
        ({"mix": (("made", 2.0),)}, "mix"), ({"length": 40, "clip": 2.0}, "clip, length"),
        ({"network": replace(NETWORK, layers=2)}, "the network"),
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_are_refused_by_name(unkilled, change, named):
    with pytest.raises(BridgeError, match=rf"with other settings \({named}\)"):
        trainer(unkilled, **change)


def test_a_run_may_be_made_longer_and_more_patient(tmp_path):
    folder = tmp_path / "run"
    trainer(folder, steps=6).train()
    trainer(folder, steps=12, patience=3).train()
    assert [row["step"] for row in history(folder)] == [3, 6, 9, 12]


@pytest.mark.parametrize(
    "values",
    [{"steps": 0}, {"batch": 0}, {"accumulate": 3}, {"accumulate": 0}, {"length": 4}, {"learning_rate": 0.0}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(BridgeError, match="training needs"):
        TrainingConfig(**{"batch": 16, **values})


def test_too_little_music_is_refused(tmp_path):
    with pytest.raises(BridgeError, match="too few for one batch"):
        trainer(tmp_path / "run", length=5000).train()
    with pytest.raises(BridgeError, match="nothing to train on"):
        Trainer(DuetNetwork(NETWORK), [], [], TRAINING, tmp_path / "run")


def test_the_rate_warms_up_and_falls_to_its_floor():
    config = TrainingConfig(steps=100, warmup=10, learning_rate=1e-2, final_rate=0.1)
    rates = [rate_at(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == pytest.approx(1e-2)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[100] == pytest.approx(1e-3)
    assert all(a > b for a, b in pairwise(rates[10:]))


# what training does


def test_the_loss_falls_on_a_set_small_enough_to_learn_by_heart(tmp_path):
    run = trainer(
        tmp_path / "run", held_out=0, bars=2, network=replace(NETWORK, width=48, heads=3, dropout=0.0),
        steps=120, evaluate_every=20, learning_rate=1e-2, accumulate=1,
    )  # fmt: skip
    run.train()
    nats = [row["train_nats"] for row in run.history]
    assert nats[0] > 1.2 * nats[-1]
    assert nats[-1] < nats[-3] < nats[-5]
    assert nats[-1] < 0.5 * math.log(v.SIZE)


def test_accumulating_in_parts_comes_to_the_same(tmp_path):
    parts = {}
    for accumulate in (1, 2):
        run = trainer(
            tmp_path / str(accumulate), accumulate=accumulate, steps=2, network=replace(NETWORK, dropout=0.0),
            player_weight=1.0,
        )  # fmt: skip
        run.train()
        parts[accumulate] = run.history[-1]["train_nats"]
    assert parts[1] == pytest.approx(parts[2], rel=1e-4)


def test_patience_ends_a_run_that_gets_no_better(tmp_path, monkeypatch):
    results = iter([3.0, 2.0, 2.5, 2.4, 2.3, 1.0])
    run = trainer(tmp_path / "run", patience=3)
    monkeypatch.setattr(run, "held_out_nats", lambda: next(results))
    run.train()
    assert [row["valid_nats"] for row in run.history] == [3.0, 2.0, 2.5, 2.4, 2.3]
    assert meta(tmp_path / "run", "best")["state"]["step"] == 2 * TRAINING.evaluate_every
    resumed = trainer(tmp_path / "run", patience=3)
    resumed.train()
    assert resumed.step == 5 * TRAINING.evaluate_every, "a run that has ended has ended"


def test_a_run_that_breaks_keeps_its_best(tmp_path, monkeypatch):
    results = iter([3.0, math.nan, math.nan])
    run = trainer(tmp_path / "run", steps=9)
    monkeypatch.setattr(run, "held_out_nats", lambda: next(results))
    run.train()
    assert meta(tmp_path / "run", "best")["state"]["step"] == 3


def test_with_nothing_held_out_the_newest_is_the_best_and_patience_is_endless(tmp_path):
    run = trainer(tmp_path / "run", held_out=0, patience=2)
    run.train()
    assert run.step == TRAINING.steps
    assert meta(tmp_path / "run", "best")["state"]["step"] == TRAINING.steps
    assert all(row["valid_nats"] == math.inf for row in run.history)


def test_held_out_music_shorter_than_a_crop_still_counts(tmp_path):
    run = trainer(tmp_path / "run", held_out=0)
    few = [source_of(duet_clip(1, 77, beats=False))]
    assert len(few[0].tokens) < 400
    config = replace(run.config, length=400)
    run = Trainer(DuetNetwork(NETWORK), run.sources, few, config, tmp_path / "other")
    assert 0 < run.held_out_nats() < 20


def test_evaluation_counts_the_partners_tokens_with_half_a_crop_before_them():
    pool = concatenate([build(source_of(duet_clip(12, i)), Variation("duet")) for i in range(3)])
    batches = list(evaluation_batches(pool, 2, 60, 3))
    assert 1 <= len(batches) <= 3
    for batch in batches:
        assert not batch.weight[:, :30].any()
        assert set(np.unique(batch.weight[:, 30:]).tolist()) == {0.0, 1.0}
    again = list(evaluation_batches(pool, 2, 60, 3))
    assert all(np.array_equal(a.tokens, b.tokens) for a, b in zip(batches, again, strict=True))


def test_reports_come_after_the_checkpoint_they_tell_of(tmp_path):
    told = []
    run = trainer(
        tmp_path / "run", steps=6, on_progress=lambda p: told.append((p.step, steps_done(tmp_path / "run")))
    )
    last = run.train()
    assert told == [(3, 3), (6, 6)]
    assert asdict(last) == run.history[-1]


# the loss


def test_a_uniform_network_pays_the_logarithm_of_its_choices():
    targets = torch.tensor([[v.NOTE_ON_BASE, v.SHIFT_BASE]])
    logits = torch.zeros(1, 2, v.SIZE)
    played = token_nats(logits, targets, torch.ones(1, 2, dtype=torch.bool))
    written = token_nats(logits, targets, torch.zeros(1, 2, dtype=torch.bool))
    torch.testing.assert_close(played, torch.full((1, 2), math.log(v.SIZE)))
    torch.testing.assert_close(written, torch.full((1, 2), math.log(v.SIZE - v.VELOCITY_BINS)))


def test_scores_teach_nothing_about_velocity():
    logits = torch.zeros(1, 1, v.SIZE, requires_grad=True)
    token_nats(logits, torch.tensor([[v.SHIFT_BASE]]), torch.tensor([[False]])).sum().backward()
    assert not logits.grad[..., v.VELOCITY_BASE :].any()
    assert logits.grad[..., : v.VELOCITY_BASE].all()


def test_tokens_without_weight_do_not_count():
    logits = torch.randn(1, 4, v.SIZE)
    targets, touch = torch.tensor([[9, 8, 7, 6]]), torch.ones(1, 4, dtype=torch.bool)
    half = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    expected = token_nats(logits, targets, touch)[0, 2:].mean()
    torch.testing.assert_close(weighted_loss(logits, targets, half, touch), expected)
    assert weighted_loss(logits, targets, 0 * half, touch) == 0.0


# checkpoints


OLD, NEW = {"x": torch.zeros(50)}, {"x": torch.ones(50)}


def numbered(number):
    return {"format": 1, "vocabulary": v.fingerprint(), "number": number}


class Dead(BaseException):
    """Stands for the end of the process: nothing in the code under test may catch it."""


@contextmanager
def dying_at(monkeypatch, call):
    """Every change that a checkpoint makes to the disk is counted; at `call` the world stops before it."""
    calls = 0

    def watched(owner, name):
        original = getattr(owner, name)

        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call:
                raise Dead
            return original(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patched:
        for name in ("mkdir", "rename", "touch", "write_text"):
            patched.setattr(Path, name, watched(Path, name))
        patched.setattr(checkpoint, "save_file", watched(checkpoint, "save_file"))
        patched.setattr(shutil, "rmtree", watched(shutil, "rmtree"))
        yield


def test_at_whatever_point_a_checkpoint_is_cut_off_the_old_or_the_new_one_is_there(tmp_path, monkeypatch):
    seen = []
    for call in range(1, 30):
        folder = tmp_path / str(call) / "last"
        write_checkpoint(folder, OLD, numbered(1))
        try:
            with dying_at(monkeypatch, call):
                write_checkpoint(folder, NEW, numbered(2))
        except Dead:
            pass
        else:
            break
        recover(folder)
        tensors, found = read_checkpoint(folder)
        seen.append(found["number"])
        assert torch.equal(tensors["x"], (OLD, NEW)[found["number"] - 1]["x"])
        write_checkpoint(folder, NEW, numbered(3))
        assert read_checkpoint(folder)[1]["number"] == 3
        assert [p.name for p in folder.parent.iterdir()] == ["last"], "nothing is left over"
    assert seen == sorted(seen), "once the new one is there it stays"
    assert seen.count(1) >= 5
    assert seen.count(2) >= 2


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["last"], "last"),
        (["last", "last.new"], "last"),
        (["last", "last.old"], "last"),
        (["last.old", "last.new"], "last.new"),
        (["last.old", "last.new half"], "last.old"),
        (["last.old"], "last.old"),
        (["last.new"], "last.new"),
        (["last.new half"], None),
        ([], None),
    ],
    ids=str,
)
def test_recover_finds_the_newest_whole_checkpoint(tmp_path, there, expected):
    for name in there:
        folder = tmp_path / name.removesuffix(" half")
        write_checkpoint(tmp_path / "made" / "x", OLD, {**numbered(0), "made": name})
        (tmp_path / "made" / "x").rename(folder)
        if name.endswith("half"):
            (folder / "complete").unlink()
            (folder / "state.safetensors").write_bytes(b"half of")
    for _ in range(2):  # recovering twice does no harm
        recover(tmp_path / "last")
        if expected is None:
            assert not (tmp_path / "last").exists()
        else:
            assert read_checkpoint(tmp_path / "last")[1]["made"] == expected


@contextmanager
def files_of_at_most(size):
    """The operating system refuses to let a file grow past `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 4096], ids=["nothing fits", "meta.json cut", "weights cut"])
def test_a_disk_that_takes_no_more_keeps_the_older_checkpoint(tmp_path, size):
    folder = tmp_path / "last"
    write_checkpoint(folder, OLD, numbered(1))
    large = {"x": torch.zeros(4000)} if size else NEW
    with files_of_at_most(size), pytest.raises(BridgeError, match="the one before it is kept") as raised:
        write_checkpoint(folder, large, {**numbered(2), "long": "x" * 200})
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["last"]
    assert read_checkpoint(folder)[1]["number"] == 1
    write_checkpoint(folder, NEW, numbered(3))
    assert read_checkpoint(folder)[1]["number"] == 3


def test_a_file_in_the_place_of_the_new_folder_is_an_error_of_one_line(tmp_path):
    folder = tmp_path / "last"
    write_checkpoint(folder, OLD, numbered(1))
    (tmp_path / "last.new").write_text("in the way", encoding="utf-8")
    with pytest.raises(BridgeError, match="could not be written"):
        write_checkpoint(folder, NEW, numbered(2))
    assert read_checkpoint(folder)[1]["number"] == 1


def test_no_pickle_is_ever_written(unkilled):
    files = [p for p in unkilled.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"state.safetensors", "meta.json", "complete"}
    assert not any(p.read_bytes().startswith((b"\x80", b"PK")) for p in files)
    for name in ("last", "best"):
        json.loads((unkilled / name / "meta.json").read_text(encoding="utf-8"))


DAMAGE = {
    "weights gone": (lambda f: (f / "state.safetensors").unlink(), "is not a checkpoint"),
    "meta gone": (lambda f: (f / "meta.json").unlink(), "is not a checkpoint"),
    "weights cut": (lambda f: cut(f / "state.safetensors"), "is damaged"),
    "meta cut": (lambda f: cut(f / "meta.json"), "is damaged"),
    "other vocabulary": (lambda f: edit_meta(f, vocabulary="0"), "another version or vocabulary"),
    "other format": (lambda f: edit_meta(f, format=2), "another version or vocabulary"),
    "other network": (lambda f: edit_meta(f, network={**NETWORK.to_json(), "width": 64}), "do not fit"),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_meta(folder, **changes):
    values = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    (folder / "meta.json").write_text(json.dumps({**values, **changes}), encoding="utf-8")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_and_foreign_checkpoints_are_refused_with_one_line(tmp_path, damage):
    harm, reason = DAMAGE[damage]
    state = {f"model.{k}": t for k, t in DuetNetwork(NETWORK).state_dict().items()}
    write_checkpoint(tmp_path / "best", state, {**numbered(1), "network": NETWORK.to_json()})
    load_network(tmp_path / "best")
    harm(tmp_path / "best")
    with pytest.raises(BridgeError, match=reason) as raised:
        load_network(tmp_path / "best")
    assert "\n" not in str(raised.value)


def test_a_checkpoint_gives_the_network_that_was_trained(unkilled):
    network, found = load_network(unkilled / "last")
    assert network.config == NETWORK
    assert not network.training
    saved = load_file(unkilled / "last" / "state.safetensors")
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, saved[f"model.{name}"])
    assert found["training"]["steps"] == TRAINING.steps
    assert not any(key.startswith("optimiser") for key in load_file(unkilled / "best" / "state.safetensors"))


# the whole of `train base`


def test_train_base_leaves_log_curve_and_checkpoints(tmp_path):
    midi = write_pieces(tmp_path / "midi", [f"p{i}" for i in range(6)])
    prepare([midi], tmp_path / "data", executor=Inline(), licences={"midi": "CC0"})
    told = []
    config = replace(TRAINING, steps=6)
    run = train_base(tmp_path / "data", tmp_path / "run", NETWORK, config, told.append)
    assert [p.step for p in told] == [3, 6]
    with (tmp_path / "run" / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [3, 6]
    assert float(rows[-1]["train_nats"]) == pytest.approx(run.history[-1]["train_nats"])
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    provenance = meta(tmp_path / "run")["provenance"]
    assert provenance["sources"] == Prepared(tmp_path / "data").sources
    assert provenance["parameters"] == DuetNetwork(NETWORK).parameter_count
