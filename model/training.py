"""Training: one loop for every kind of run, resumable bit for bit.

Batches are functions of (seed, epoch, number) and checkpoints (`model.checkpoint`) hold all state, so a
run that was killed at any moment goes on exactly as if it had not been.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from model.checkpoint import CHECKPOINT_FORMAT, read_checkpoint, recover, write_checkpoint
from model.dataset import Batch, Pool, Source, Vary, build_pool, crop_batch, training_batches
from model.loss import token_nats, weighted_loss
from model.network import ChordPlan, DuetNetwork
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

_EMPTY_EPOCHS = 8  # where the music is little, it depends on the offset of an epoch's crops if one fits


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """`batch` crops of `length` tokens a step, in `accumulate` parts. Rates: peak `learning_rate` after
    `warmup` steps, then cosine to `final_rate` of it at `steps`. `patience` evaluations without a better
    held-out result end the run early. `player_weight` is the loss weight of the player's tokens. `mix` gives
    sources a weight other than 1: the copies of each of their pieces in an epoch."""

    steps: int = 10_000
    batch: int = 16
    length: int = 1536
    accumulate: int = 1
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    warmup: int = 300
    weight_decay: float = 0.1
    clip: float = 1.0
    player_weight: float = 0.3
    evaluate_every: int = 500
    evaluate_batches: int = 16
    patience: int = 10
    seed: int = 0
    mix: tuple[tuple[str, float], ...] = ()
    vary: Vary = "freely"
    bf16: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise BridgeError(
                "training needs steps and batch of at least 1, and a batch that accumulate divides"
            )
        if self.length < 8 or not 0 < self.learning_rate < 1:
            raise BridgeError("training needs crops of at least 8 tokens and a learning rate between 0 and 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run reports at each evaluation. Nats are per token; `valid_nats` counts the partner's only."""

    step: int
    tokens: int
    seconds: float
    train_nats: float
    valid_nats: float
    learning_rate: float


def rate_at(config: TrainingConfig, step: int) -> float:
    """The learning rate of `step` (from 0): linear warm-up, then cosine to `final_rate` of the peak."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    share = min((step - config.warmup) / max(config.steps - config.warmup, 1), 1.0)
    floor = config.final_rate
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def to_device(
    batch: Batch, device: torch.device
) -> tuple[Tensor, Tensor, ChordPlan, Tensor, Tensor, Tensor, Tensor]:
    """Tokens, metre, plan, pointer, targets, weight and touch as tensors on `device`."""

    def send(array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    root, quality, bass = (send(batch.chords[i]) for i in range(3))
    plan = ChordPlan(root, quality, bass, send(batch.horizon))
    arrays = (batch.pointer, batch.targets, batch.weight, batch.touch)
    pointer, targets, weight, touch = map(send, arrays)
    return send(batch.tokens), send(batch.metre), plan, pointer, targets, weight, touch


class Trainer:
    """One run in `folder`. `train` goes on from the checkpoint there, if there is one."""

    def __init__(
        self,
        network: DuetNetwork,
        sources: Sequence[Source],
        held_out: Sequence[Source],
        config: TrainingConfig,
        folder: Path,
        *,
        provenance: dict[str, object] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if not sources:
            raise BridgeError("there is nothing to train on: the prepared folder has no training pieces")
        self.config, self.folder, self.provenance = config, folder, provenance or {}
        self.on_progress = on_progress
        self.sources = list(sources)
        precision = "bf16" if config.bf16 else "no"
        self.accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
        torch.manual_seed(config.seed)
        if self.accelerator.device.type == "cpu":
            torch.use_deterministic_algorithms(True)  # a resumed run must be the same, bit for bit
            torch.utils.deterministic.fill_uninitialized_memory = False
        self.network = network
        matrices = [p for name, p in network.named_parameters() if p.dim() == 2 and name.endswith("weight")]
        chosen = {id(p) for p in matrices}
        others = [p for p in network.parameters() if id(p) not in chosen and p.requires_grad]
        matrices = [p for p in matrices if p.requires_grad]
        decayed = {"params": matrices, "weight_decay": config.weight_decay}
        groups = [decayed, {"params": others, "weight_decay": 0.0}]
        on_gpu = torch.cuda.is_available()
        optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=on_gpu)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.best, self.stale = math.inf, 0
        self.history: list[dict[str, float]] = []
        self.model, self.optimiser = self.accelerator.prepare(network, optimiser)
        if config.batch % (config.accumulate * self.accelerator.num_processes):
            raise BridgeError(
                f"a batch of {config.batch} cannot be shared by {self.accelerator.num_processes} processes "
                f"in {config.accumulate} parts; choose a multiple with --batch"
            )
        self._resume()
        if config.compile:
            self.model = torch.compile(self.model)
        self.held_out = build_pool(held_out, config.seed, 0, vary="never") if held_out else None

    def train(self) -> Progress | None:
        """Run to the end. Returns the last progress. On KeyboardInterrupt the state is saved first."""
        config, device = self.config, self.accelerator.device
        started = time.monotonic() - self.seconds
        total = torch.zeros((), device=device)
        counted = 0
        last: Progress | None = None
        with ExitStack() as stack:
            workers = stack.enter_context(ProcessPoolExecutor(1, initializer=_follow_parent))
            interrupted = stack.enter_context(_interrupts_held_back())
            self.model.train()
            try:
                for epoch, number, batch in self._batches(workers):
                    if self.step >= config.steps or self.stale >= config.patience:
                        break
                    loss = self._update(batch)
                    total += loss
                    counted += 1
                    self.step += 1
                    self.tokens += batch.tokens.size
                    self.epoch, self.number = epoch, number + 1
                    if self.step % config.evaluate_every == 0 or self.step == config.steps:
                        self.seconds = time.monotonic() - started
                        last = self._evaluate(float(total) / counted)
                        total.zero_()
                        counted = 0
                    if interrupted():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                self.seconds = time.monotonic() - started
                self.save("last")
                raise
        return last

    def _batches(self, workers: Executor) -> Iterator[tuple[int, int, Batch]]:
        """Batches from where the run stands; the next epoch's pool is built while this one is used."""
        config = self.config
        epoch, skip = self.epoch, self.number
        following, empty = None, 0
        while True:
            mix = dict(config.mix)
            pool = (
                following.result()
                if following
                else build_pool(self.sources, config.seed, epoch, mix, config.vary)
            )
            following = workers.submit(build_pool, self.sources, config.seed, epoch + 1, mix, config.vary)
            batches = training_batches(
                pool, config.seed, epoch, config.batch, config.length, config.player_weight
            )
            number = skip
            found = False
            for batch in islice(batches, skip, None):
                found = True
                yield epoch, number, batch
                number += 1
            empty = 0 if found or skip else empty + 1
            if empty == _EMPTY_EPOCHS:
                raise BridgeError(
                    f"the training pieces hold {len(pool.tokens)} tokens, too few for one batch of "
                    f"{config.batch} crops of {config.length}: lower --batch or --length"
                )
            epoch, skip = epoch + 1, 0

    def _update(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the loss, a detached scalar."""
        config = self.config
        rate = rate_at(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.accelerator.device)
        part = config.batch // config.accumulate // self.accelerator.num_processes
        for index in range(config.accumulate):
            first = (index * self.accelerator.num_processes + self.accelerator.process_index) * part
            rows = slice(first, first + part)
            tokens, metre, plan, pointer, targets, weight, touch = to_device(
                _rows_of(batch, rows), self.accelerator.device
            )
            with self.accelerator.autocast():
                logits = self.model(tokens, metre, plan, pointer)
            loss = weighted_loss(logits, targets, weight, touch) / config.accumulate
            self.accelerator.backward(loss)
            total += loss.detach()
        self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimiser.step()
        return total

    @torch.no_grad()
    def held_out_nats(self) -> float:
        """Nats per token of the partner's tokens over the held-out crops, the plan given; infinite where
        there is nothing held out, or too little for one crop."""
        if self.held_out is None:
            return math.inf
        config = self.config
        self.model.eval()
        sums, weights = 0.0, 0.0
        length = min(config.length, max(len(self.held_out.tokens) - 2, 1))  # short pieces count too
        for batch in evaluation_batches(
            self.held_out, config.batch // config.accumulate, length, config.evaluate_batches
        ):
            tokens, metre, plan, pointer, targets, weight, touch = to_device(batch, self.accelerator.device)
            with self.accelerator.autocast():
                logits = self.model(tokens, metre, plan, pointer)
            nats = token_nats(logits, targets, touch)
            sums += float((nats * weight).sum())
            weights += float(weight.sum())
        self.model.train()
        return sums / weights if weights else math.inf

    def _evaluate(self, train_nats: float) -> Progress:
        state = torch.get_rng_state()
        valid = self.held_out_nats()
        torch.set_rng_state(state)
        progress = Progress(
            self.step, self.tokens, self.seconds, train_nats, valid, rate_at(self.config, self.step)
        )
        self.history.append(asdict(progress))
        better = valid < self.best or valid == math.inf  # a run that broke (nan) is never the best
        self.best = min(self.best, valid)
        self.stale = 0 if better else self.stale + 1
        if better:
            self.save("best")
        self.save("last")
        if self.on_progress and self.accelerator.is_main_process:
            self.on_progress(progress)
        return progress

    # state

    epoch: int = 0
    number: int = 0

    def save(self, name: str) -> None:
        """Write the state to `folder/name`: whole, or not at all."""
        if not self.accelerator.is_main_process:
            return
        trained = {k: p for k, p in self.network.named_parameters() if p.requires_grad}
        tensors: dict[str, Tensor] = {f"model.{k}": t.detach() for k, t in trained.items()}
        if name == "last":
            for index, state in self.optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(t) for k, t in state.items()}
            tensors["random.cpu"] = torch.get_rng_state()
            if torch.cuda.is_available():
                tensors["random.cuda"] = torch.cuda.get_rng_state()
        meta = {
            "format": CHECKPOINT_FORMAT,
            "vocabulary": v.fingerprint(),
            "network": self.network.config.to_json(),
            "training": asdict(self.config),
            "provenance": self.provenance,
            "history": self.history,
            "state": {
                "step": self.step, "tokens": self.tokens, "seconds": self.seconds, "epoch": self.epoch,
                "number": self.number, "best": self.best, "stale": self.stale,
            },
        }  # fmt: skip
        write_checkpoint(self.folder / name, tensors, meta)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Set what is trained to the values of a checkpoint."""
        trained = {k: p for k, p in self.network.named_parameters() if p.requires_grad}
        if {f"model.{k}" for k in trained} != {k for k in tensors if k.startswith("model.")}:
            raise BridgeError(f"{self.folder}: its checkpoint is of another network; use another folder")
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(tensors[f"model.{name}"])

    def _resume(self) -> None:
        folder = self.folder / "last"
        recover(self.folder / "best")
        recover(folder)
        if not folder.exists():
            return
        tensors, meta = read_checkpoint(folder)
        free = {"steps": 0, "warmup": 0, "patience": 0, "compile": False}
        same, mine = {**meta["training"], **free}, {**json.loads(json.dumps(asdict(self.config))), **free}
        if same != mine or meta["network"] != json.loads(json.dumps(self.network.config.to_json())):
            changed = sorted(key for key in mine if same.get(key) != mine[key]) or ["the network"]
            raise BridgeError(
                f"{folder}: was begun with other settings ({', '.join(changed)}); "
                "use the same ones to go on, or another folder, or --restart, to start anew"
            )
        if meta["provenance"] != json.loads(json.dumps(self.provenance)):
            raise BridgeError(
                f"{folder}: was begun with other music, another mix or another base; use the same to go on, "
                "or another folder, or --restart, to start anew"
            )
        self.restore(tensors)
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimiser."):
                _, index, name = key.split(".", 2)
                state.setdefault(int(index), {})[name] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        for name, value in meta["state"].items():
            setattr(self, name, value)
        self.history = meta["history"]


@contextmanager
def _interrupts_held_back() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back until a step is whole, so that the state saved is one of a run that never stopped.
    Yields a function that says whether it came. A second Ctrl-C is not held back."""
    came = False

    def hold(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end with it, also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _rows_of(batch: Batch, rows: slice) -> Batch:
    return Batch(
        batch.tokens[rows], batch.metre[rows], batch.pointer[rows], batch.targets[rows], batch.weight[rows],
        batch.touch[rows], batch.chords[:, rows], batch.horizon[rows],
    )  # fmt: skip


def evaluation_batches(pool: Pool, batch: int, length: int, count: int) -> Iterator[Batch]:
    """`count` batches spread evenly over a pool; only the partner's tokens count, and only those with at
    least half a crop before them."""
    last = max(len(pool.tokens) - length - 1, 1)
    starts = np.linspace(0, last - 1, min(batch * count, max(last // length, 1) * 2)).astype(np.int64)
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        if len(pool.tokens) <= length:
            return
        crop = crop_batch(
            pool, chosen, length, 0.0, np.zeros(len(chosen), np.int64), np.ones(len(chosen), bool)
        )
        crop.weight[:, : length // 2] = 0.0
        yield crop
