"""Which base to train: several sizes and mixes, the same time each, by held-out nats a note.

    python tools/compare_bases.py --data DIR --out DIR --minutes 12 mini small lean=mini:pop909_mit=2

A candidate is a size, or NAME=SIZE with a mix after a colon (SOURCE=WEIGHT, separated by commas). Its speed
is measured first, all candidates in turn on a quiet machine, and kept in OUT/speed.json: what each may train
in the time is then a number of steps, whatever else the machine does. Interrupted, it goes on where
it was. Held-out figures are over the same crops of the validation split for all.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from model.config import load_config
from model.dataset import Prepared, build_pool
from model.loss import token_nats
from model.network import DuetNetwork
from model.training import Trainer, TrainingConfig, evaluation_batches, to_device
from plugin_bridge.files import atomic_path
from plugin_bridge.music import vocabulary as v

BATCH, LENGTH = 4, 1024
MIX = {"openscore_lieder_cc0": 0.5, "stanford_rolls_mit": 0.6, "mutopia_pd_ccby": 0.7}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("candidates", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    prepared = Prepared(arguments.data)
    candidates = dict(map(_candidate, arguments.candidates))
    arguments.out.mkdir(parents=True, exist_ok=True)
    speed = _speeds({size for size, _ in candidates.values()}, prepared, arguments.out / "speed.json")
    rows = []
    for name, (size, mix) in candidates.items():
        tokens = speed[size] * arguments.minutes * 60
        rows.append(_train(name, size, mix, int(tokens / (BATCH * LENGTH)), prepared, arguments.out))
        _write(rows, arguments, speed)


def _candidate(text: str) -> tuple[str, tuple[str, dict[str, float]]]:
    what, _, mix = text.partition(":")
    name, _, size = what.rpartition("=")
    weights = dict(pair.split("=") for pair in mix.split(",")) if mix else {}
    return name or size, (size, {**MIX, **{source: float(weight) for source, weight in weights.items()}})


def _config(steps: int, mix: dict[str, float]) -> TrainingConfig:
    return TrainingConfig(
        steps=steps, batch=BATCH, length=LENGTH, warmup=min(200, steps // 5), learning_rate=2e-3,
        evaluate_every=max(steps // 4, 1), evaluate_batches=24, patience=1000, bf16=True,
        mix=tuple(mix.items()),
    )  # fmt: skip


def _speeds(sizes: set[str], prepared: Prepared, path: Path) -> dict[str, float]:
    """Tokens a second of each size: the median of steps taken in turn."""
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    wanted = sorted(sizes - known.keys())
    pieces = prepared.split("train")[:40]
    trainers = {
        size: Trainer(
            DuetNetwork(load_config(size)), pieces, [], _config(8, {}), path.parent / f"speed-{size}"
        )
        for size in wanted
    }
    batch = next(evaluation_batches(build_pool(pieces, 0, 0), BATCH, LENGTH, 4))
    times: dict[str, list[float]] = {size: [] for size in wanted}
    for _ in range(8):
        for size, trainer in trainers.items():
            began = time.perf_counter()
            trainer._update(batch)
            times[size].append(time.perf_counter() - began)
    known |= {size: BATCH * LENGTH / sorted(each)[len(each) // 2] for size, each in times.items()}
    path.write_text(json.dumps(known), encoding="utf-8")
    return known


def _train(
    name: str, size: str, mix: dict[str, float], steps: int, prepared: Prepared, out: Path
) -> dict[str, object]:
    config = _config(steps, mix)
    network = DuetNetwork(load_config(size))
    trainer = Trainer(network, prepared.split("train"), prepared.split("valid"), config, out / name)
    trainer.train()
    assert trainer.held_out is not None
    nats, tokens, notes = 0.0, 0, 0
    network.eval()
    with torch.no_grad():
        for batch in evaluation_batches(trainer.held_out, BATCH, LENGTH, 48):
            ids, metre, plan, pointer, targets, weight, touch = to_device(batch, trainer.accelerator.device)
            with trainer.accelerator.autocast():
                logits = network(ids, metre, plan, pointer)
            counted = weight > 0
            nats += float((token_nats(logits, targets, touch) * counted).sum())
            tokens += int(counted.sum())
            notes += int((counted & (targets >= v.NOTE_ON_BASE) & (targets < v.NOTE_OFF_BASE)).sum())
    row = {
        "name": name, "size": size, "mix": mix, "parameters": network.parameter_count, "steps": steps,
        "tokens": trainer.tokens, "nats_per_token": nats / tokens, "nats_per_note": nats / notes,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def _write(rows: list[dict[str, object]], arguments: argparse.Namespace, speed: dict[str, float]) -> None:
    lines = [
        f"{arguments.minutes:g} minutes each on {arguments.threads} threads, by the measured speed.", "",
        "| candidate | parameters | tokens a second | tokens | nats a token | nats a note |",
        "|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {speed[str(row['size'])]:,.0f} | {row['tokens']:,} "
            f"| {row['nats_per_token']:.3f} | {row['nats_per_note']:.2f} |"
        )
    with atomic_path(arguments.out / "table.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
