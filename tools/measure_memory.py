"""Peak memory of fine-tuning a size in full, with LoRA and with QLoRA: a process each, a few real steps.

    python tools/measure_memory.py --size large --length 1024

On a machine with a GPU, what torch allocated there at most; elsewhere the peak of the process's resident
memory, with what the imports alone take beside it. The base is untrained: memory does not depend on weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = ("qlora", "lora", "full")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="large")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(_measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_weights(arguments.size, Path(folder))
        for method in METHODS:
            command = [sys.executable, __file__, "--size", arguments.size, "--length", str(arguments.length),
                       "--steps", str(arguments.steps), "--method", method, "--weights", folder]  # fmt: skip
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            print(done.stdout.strip(), flush=True)


def _write_weights(size: str, folder: Path) -> None:
    from safetensors.torch import save_file

    from model.config import load_config
    from model.network import DuetNetwork
    from plugin_bridge.engine.bundle import WEIGHTS

    state = DuetNetwork(load_config(size)).state_dict()
    save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, folder / WEIGHTS)


def _measure(arguments: argparse.Namespace) -> dict[str, object]:
    import torch

    from model.adapter import AdapterOptions, attach
    from model.base import Base, build_network
    from model.config import load_config
    from model.loss import token_nats
    from model.network import ChordPlan
    from plugin_bridge.engine.bundle import Sizes, Style
    from plugin_bridge.engine.sampling import SamplingParameters
    from plugin_bridge.music import vocabulary as v

    config = load_config(arguments.size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nothing = Sizes(0, 0, 0, 0, 0, 0, (), 0, 0)
    style = Style(arguments.size, arguments.weights, nothing, SamplingParameters(), {"checksums": {}})
    before = _peak_mb(device)
    network = build_network(Base(style, "", config), quantised=arguments.method == "qlora")
    if arguments.method == "full":
        network.requires_grad_(True)
    else:
        attach(network, AdapterOptions())
    network.to(device).train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    tokens = torch.randint(3, v.SIZE, (1, arguments.length), device=device)
    ids = torch.zeros((1, 16), dtype=torch.int64, device=device)
    plan = ChordPlan(ids, ids, ids, torch.tensor([11], device=device))
    began = time.perf_counter()
    for _ in range(arguments.steps):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            logits = network(tokens, torch.zeros_like(tokens), plan, torch.zeros_like(tokens))
        token_nats(logits, tokens, torch.ones_like(tokens, dtype=torch.bool)).mean().backward()
        optimiser.step()
    return {
        "method": arguments.method, "size": arguments.size, "device": device, "length": arguments.length,
        "trainable": sum(parameter.numel() for parameter in trained),
        "peak_mb": round(_peak_mb(device)), "of_that_imports_mb": round(before),
        "seconds_a_step": round((time.perf_counter() - began) / arguments.steps, 2),
    }  # fmt: skip


def _peak_mb(device: str) -> float:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
