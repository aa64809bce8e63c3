"""Tiny style trainings, in this process or in one that can be killed."""

from __future__ import annotations

from pathlib import Path

import torch
from made_pieces import Inline, write_pieces

from model.adapter import AdapterOptions
from model.base import load_base
from model.prepare import prepare
from model.train_style import StyleTraining, Trained, train_style

OPTIONS = StyleTraining(
    adapter=AdapterOptions(rank=4, dropout=0.1), epochs=5, batch=2, length=48, learning_rate=5e-3,
    patience=50, bf16=False,
)  # fmt: skip


def write_data(folder: Path, count: int = 7) -> Path:
    """`count` prepared pieces of one musician, all held in `folder`/data."""
    midi = write_pieces(folder / "midi", [f"piece{i}" for i in range(count)], bars=6)
    prepare([midi], folder / "data", executor=Inline(), held_out=(0.0, 0.0))
    return folder / "data"


def run(data: Path, folder: Path, base: str, options: StyleTraining = OPTIONS) -> Trained:
    torch.set_num_threads(1)
    return train_style(data, folder, load_base(base), options)
