"""What a full pass costs, beside an ordinary causal transformer of the same size, over growing lengths.

    python tools/measure_full_pass.py mini small

One thread, batch 1, eager, no gradients: the forward pass that training makes, without its backward. The
other network has as many layers, the same width, heads and feed-forward, learned absolute positions and
`scaled_dot_product_attention(is_causal=True)`, PyTorch's fused kernel. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.config import PLAN_AFTER, NetworkConfig, load_config
from model.network import ChordPlan, DuetNetwork
from plugin_bridge.errors import BridgeError

LENGTHS = (512, 1024, 2048, 4096)
CHORDS = 96


class OrdinaryLayer(nn.Module):
    """Full causal attention and feed-forward, norms before."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        self.attention_norm, self.feed_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.feed_in = nn.Linear(config.width, config.feed_forward, bias=False)
        self.feed_out = nn.Linear(config.feed_forward, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, self.head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed_out(F.gelu(self.feed_in(self.feed_norm(x)), approximate="tanh"))


class OrdinaryTransformer(nn.Module):
    """Decoder-only, absolute positions, output tied to the input, as many layers as the duet network."""

    def __init__(self, config: NetworkConfig, longest: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary_size, config.width)
        self.positions = nn.Embedding(longest, config.width)
        self.layers = nn.Sequential(*(OrdinaryLayer(config) for _ in range(config.layers + 1)))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, T] to logits [B, T, V]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.layers(self.tokens(tokens) + self.positions(places))
        return F.linear(self.norm(x), self.tokens.weight)


@torch.inference_mode()
def fastest(passes: list[Callable[[], Tensor]], repeats: int) -> list[float]:
    """The fastest of `repeats` runs of each pass, in seconds of processor time (one thread). They take turns,
    so that whatever else the machine does troubles them alike."""
    best = [float("inf")] * len(passes)
    for run in passes:
        run()
    for _ in range(repeats):
        for index, run in enumerate(passes):
            start = time.process_time()
            run()
            best[index] = min(best[index], time.process_time() - start)
    return best


def measure(config: NetworkConfig, repeats: int) -> list[tuple[int, float, float]]:
    """(tokens, seconds of ours, seconds of the ordinary one) at each of `LENGTHS`."""
    torch.manual_seed(0)
    ours, ordinary = DuetNetwork(config).eval(), OrdinaryTransformer(config, max(LENGTHS)).eval()
    chords = torch.zeros(1, CHORDS, dtype=torch.int64)
    plan = ChordPlan(chords, chords, chords, torch.tensor([PLAN_AFTER]))
    rows = []
    for length in LENGTHS:
        tokens = torch.randint(config.vocabulary_size, (1, length))
        metre = torch.randint(config.metre_size, (1, length))
        pointer = (torch.arange(length) * (CHORDS - 12) // length)[None]
        inputs = (tokens, metre, plan, pointer)
        seconds = fastest([lambda inputs=inputs: ours(*inputs), lambda t=tokens: ordinary(t)], repeats)
        rows.append((length, seconds[0], seconds[1]))
    return rows


def table(config: NetworkConfig, rows: list[tuple[int, float, float]]) -> str:
    """A Markdown table of `rows`."""
    lines = [
        f"`{config.name}`: {config.layers} + 1 layers, width {config.width}, context {config.context}, "
        f"window {config.window}",
        "",
        "| tokens | ours, s | ordinary, s | ours / ordinary | ours grew by | ordinary grew by |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    before: tuple[int, float, float] | None = None
    for length, ours, ordinary in rows:
        grew = f"{ours / before[1]:.2f} | {ordinary / before[2]:.2f}" if before else "| "
        lines.append(f"| {length} | {ours:.3f} | {ordinary:.3f} | {ours / ordinary:.2f} | {grew} |")
        before = length, ours, ordinary
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="cost of a full pass, ours and an ordinary transformer's")
    parser.add_argument("sizes", nargs="*", default=["mini"], help="network sizes or config files")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest of so many runs counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for name in arguments.sizes:
            config = load_config(name)
            print(table(config, measure(config, max(arguments.repeats, 1))), end="\n\n")
    except BridgeError as error:
        print(f"measure_full_pass: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
