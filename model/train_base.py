"""`plugin-bridge train base`: a base style from prepared data, with its logs and its loss curve."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from model.config import NetworkConfig
from model.dataset import Prepared
from model.network import DuetNetwork
from model.training import Progress, Trainer, TrainingConfig
from plugin_bridge.files import atomic_path


def train_base(
    data: Path,
    folder: Path,
    size: NetworkConfig,
    config: TrainingConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Trainer:
    """Train, or go on training, in `folder`: checkpoints `last` and `best`, TensorBoard logs, `log.csv`
    and `curve.png`. Returns the trainer when the run has ended."""
    prepared = Prepared(data)
    torch.manual_seed(config.seed)
    network = DuetNetwork(size)
    writer = SummaryWriter(str(folder / "tensorboard"))

    def report(progress: Progress) -> None:
        writer.add_scalar("nats/train", progress.train_nats, progress.step)
        writer.add_scalar("nats/held_out", progress.valid_nats, progress.step)
        writer.add_scalar("learning_rate", progress.learning_rate, progress.step)
        writer.flush()
        write_log(trainer.history, folder)
        on_progress(progress)

    provenance = {"sources": prepared.sources, "mix": dict(config.mix), "parameters": network.parameter_count}
    trainer = Trainer(
        network, prepared.split("train"), prepared.split("valid"), config, folder,
        provenance=provenance, on_progress=report,
    )  # fmt: skip
    trainer.train()
    writer.close()
    return trainer


def write_log(
    history: list[dict[str, float]], folder: Path, title: str = "Training of the base style"
) -> None:
    """The progress so far as `log.csv` and `curve.png`."""
    with atomic_path(folder / "log.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, list(history[0]))
        rows.writeheader()
        rows.writerows(history)
    draw_curve(history, folder / "curve.png", title)


def draw_curve(history: list[dict[str, float]], path: Path, title: str) -> None:
    """Nats per token, training and held-out, over the tokens seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    tokens = [row["tokens"] / 1e6 for row in history]
    axes.plot(
        tokens,
        [row["train_nats"] for row in history],
        color="#0072b2",
        label="training (all tokens, weighted)",
    )
    axes.plot(
        tokens,
        [row["valid_nats"] for row in history],
        color="#d55e00",
        label="held out (the partner's tokens)",
    )
    axes.set(xlabel="training tokens (millions)", ylabel="nats per token", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
