"""`plugin-bridge train style`: a musician's pieces to an adapter on a base, or to a whole fine-tuned network.

Training only; merging, exporting and measuring are `export.style`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from model.adapter import (
    Adapter,
    AdapterOptions,
    adapted,
    attach,
    factors_of,
    load_adapter,
    save_adapter,
)  # fmt: skip
from model.base import Base, build_network
from model.checkpoint import load_network, read_checkpoint, write_checkpoint
from model.dataset import Prepared
from model.network import DuetNetwork
from model.style_data import Deal, base_mix, deal, fingerprint_of
from model.train_base import write_log
from model.training import Progress, Trainer, TrainingConfig
from plugin_bridge.errors import BridgeError

Method = Literal["qlora", "lora", "full"]
RATES: dict[Method, float] = {"qlora": 2e-3, "lora": 2e-3, "full": 3e-4}
"""Peak learning rates unless one is given."""
STYLE_SOURCE = "style"


@dataclass(frozen=True, slots=True)
class StyleTraining:
    """How a style is trained. `epochs` at most, each once through the pieces in another key and tempo;
    `mix` is the share of base music in each, from the prepared folder `base_data`. `bf16`: whether to compute
    in bfloat16; None: where the machine does so itself."""

    method: Method = "qlora"
    adapter: AdapterOptions = field(default_factory=AdapterOptions)
    epochs: int = 12
    batch: int = 4
    length: int = 1024
    learning_rate: float | None = None
    patience: int = 3
    held_out: int | None = None
    base_data: Path | None = None
    mix: float = 0.0
    seed: int = 0
    bf16: bool | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise BridgeError("training needs at least one epoch")
        if not 0 <= self.mix <= 0.9:
            raise BridgeError(f"the share of base music, {self.mix:g}, is not 0 to 0.9")
        if self.mix > 0 and self.base_data is None:
            raise BridgeError("to mix base music in, name its prepared folder with --base-data")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left: the `adapter` (with `full`, None), the `network` as it was trained, read back
    from what was saved (float32, in eval mode, the adapter inside), how the pieces were dealt, and the
    run's figures."""

    adapter: Adapter | None
    network: DuetNetwork
    deal: Deal
    history: list[dict[str, float]]
    trainable: int
    parameters: int
    provenance: dict[str, Any]


_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10)}
"""What Windows keeps for itself."""


def check_base_data(options: StyleTraining) -> None:
    """Raises BridgeError where the base data lacks what is to be mixed in or measured on."""
    if options.base_data is None:
        return
    prepared = Prepared(options.base_data)
    for split in ("train", "test") if options.mix > 0 else ("test",):
        if not prepared.split(split):
            raise BridgeError(
                f"{options.base_data}: has no pieces in its {split} split; prepare it with more"
            )


def check_name(name: str) -> str:
    """The name of a new style, or BridgeError where it could not be one."""
    fits = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_. -]{0,62}[A-Za-z0-9_-])?", name)
    if not fits or name == "base" or name.partition(".")[0].upper() in _RESERVED:
        raise BridgeError(
            f"{name!r} cannot be a style's name: use up to 64 letters, digits, spaces, '-', '_' and '.', "
            "and not 'base'"
        )
    return name


def train_style(
    data: Path, folder: Path, base: Base, options: StyleTraining,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Trained:  # fmt: skip
    """Train on the prepared folder `data`, or go on training, in `folder`: checkpoints, `log.csv`,
    `curve.png`, and at the end `adapter` (or, in full, `network`)."""
    prepared = Prepared(data)
    pieces = [replace(piece, source=STYLE_SOURCE) for piece in prepared.pieces()]
    dealt = deal(pieces, options.held_out)
    style_tokens = sum(len(piece.tokens) for piece in dealt.train)
    others, weights = (
        base_mix(Prepared(options.base_data), style_tokens, options.mix) if options.base_data else ([], {})
    )
    music = fingerprint_of([*dealt.train, *dealt.valid, *dealt.test, *others])
    provenance: dict[str, Any] = {
        "sources": prepared.sources,
        "base": {"name": base.style.name, "fingerprint": base.fingerprint},
        "base_sources": base.style.description["provenance"].get("sources", {}),
        "method": options.method,
        "adapter": None if options.method == "full" else asdict(options.adapter),
        "music": music,
        "train": [piece.name for piece in dealt.train],
        "valid": [piece.name for piece in dealt.valid],
        "test": [piece.name for piece in dealt.test],
        "base_share": options.mix,
    }
    torch.manual_seed(options.seed)
    network = build_network(base, quantised=options.method == "qlora")
    parameters = base.style.sizes.parameters
    if options.method == "full":
        for parameter in network.parameters():
            parameter.requires_grad_(True)
    else:
        attach(network, options.adapter)
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    config = _config(options, style_tokens, weights)

    def report(progress: Progress) -> None:
        write_log(trainer.history, folder, title="Training of the style")
        on_progress(progress)

    trainer = Trainer(
        network,
        [*dealt.train, *others],
        dealt.valid,
        config,
        folder,
        provenance=provenance,
        on_progress=report,
    )
    trainer.train()
    trainer.accelerator.wait_for_everyone()  # the main process may still be writing
    is_main = trainer.accelerator.is_main_process
    best, _ = read_checkpoint(folder / "best")
    trainer.restore(best)
    provenance = {**provenance, "training": {
        "step": trainer.step, "tokens": trainer.tokens, "seconds": round(trainer.seconds, 1),
    }}  # fmt: skip
    adapter = None
    if options.method == "full":
        state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
        meta = {**_meta(folder), "network": base.config.to_json(), "provenance": provenance}
        if is_main:
            write_checkpoint(folder / "network", state, meta)
        trainer.accelerator.wait_for_everyone()
        network, _ = load_network(folder / "network")
    else:
        factors = factors_of(network, options.adapter)
        adapter = Adapter(
            base.fingerprint, base.style.name, options.method == "qlora", options.adapter, factors, provenance
        )
        if is_main:
            save_adapter(adapter, folder / "adapter")
        trainer.accelerator.wait_for_everyone()
        network = adapted(base, load_adapter(folder / "adapter", base))
    return Trained(adapter, network, dealt, trainer.history, trainable, parameters, provenance)


def _meta(folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder / "best" / "meta.json").read_text(encoding="utf-8"))
    return meta


def computes_bf16() -> bool:
    """Whether this machine multiplies bfloat16 fast. Processors without AVX-512 do it a number at a time: a
    run of minutes takes hours there."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _config(options: StyleTraining, style_tokens: int, weights: dict[str, float]) -> TrainingConfig:
    epoch_tokens = style_tokens / (1 - options.mix)
    epoch_steps = max(int(epoch_tokens / (options.batch * options.length)), 1)
    steps = options.epochs * epoch_steps
    return TrainingConfig(
        steps=steps, batch=options.batch, length=options.length, final_rate=0.1,
        learning_rate=options.learning_rate or RATES[options.method], warmup=max(min(20, steps // 5), 1),
        weight_decay=0.1 if options.method == "full" else 0.0, evaluate_every=epoch_steps,
        evaluate_batches=16, patience=options.patience, seed=options.seed, vary="dealt",
        mix=tuple(sorted(weights.items())), bf16=computes_bf16() if options.bf16 is None else options.bf16,
    )  # fmt: skip
