"""Tiny training runs, in this process or in one that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from made_pieces import duet_clip, source_of

from model.config import NetworkConfig
from model.network import DuetNetwork
from model.training import Trainer, TrainingConfig

NETWORK = NetworkConfig("test", 1, 32, 2, 48, 32, 8, (0, 1), dropout=0.1)
TRAINING = TrainingConfig(
    steps=24, batch=2, length=48, accumulate=2, learning_rate=3e-3, warmup=5, evaluate_every=3,
    evaluate_batches=2, patience=100,
)  # fmt: skip

context = multiprocessing.get_context("forkserver")
# what torch imports late would otherwise be imported anew by every process that is started
context.set_forkserver_preload(["model.training", "torch._dynamo", "torch.profiler"])


def trainer(folder: Path, *, network=NETWORK, held_out=2, bars=6, on_progress=None, **changes) -> Trainer:
    """A run over four short pieces, with `held_out` more held out."""
    config = replace(TRAINING, **changes)
    torch.set_num_threads(1)
    pieces = [source_of(duet_clip(bars, seed), f"piece{seed}") for seed in range(4 + held_out)]
    torch.manual_seed(config.seed)
    return Trainer(
        DuetNetwork(network), pieces[:4], pieces[4:], config, folder, on_progress=on_progress
    )  # fmt: skip


def train(folder: Path) -> None:
    trainer(folder).train()


def train_and_die(folder: Path, name: str) -> None:
    """Train, and die when the old checkpoint `name` is out of the way but the new one not yet there."""
    original = Path.rename

    def dying(self: Path, target: Path) -> Path:
        if self.name == f"{name}.new" and self.with_name(f"{name}.old").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, target)

    Path.rename = dying
    train(folder)


def _run(target, *args) -> None:
    multiprocessing.set_start_method("fork", force=True)  # for the run's own worker, as anywhere on Linux
    target(*args)


def start(target, *args) -> BaseProcess:
    """Run `target` in a process of its own."""
    process = context.Process(target=_run, args=(target, *args))
    process.start()
    return process
