"""The network: Perceiver AR's long context in layer 0, short windows above it, relative attention.

Sources: Perceiver AR (Hawthorne et al., 2022) for one long cross-attention under a stack over the last
latents, read here as causal bands so that a stream that forgets equals one pass; Music Transformer
(Huang et al., 2018) for relative attention (the q-dependent term); T5 (Raffel et al., 2020) for
logarithmic distance buckets. Keys carry no position: a cache can slide and rewind as it is.

Shapes: B batch, T tokens, D width, H heads, K = D / H, P chords in a plan, S keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.config import PLAN_AFTER, PLAN_BEFORE, NetworkConfig
from plugin_bridge.music import vocabulary as v

EXACT_DISTANCES = 64
"""Distances below this have vectors of their own; further ones share logarithmic buckets."""
LOG_BUCKETS = 32
_BLOCK = 128


def distance_buckets(span: int) -> Tensor:
    """The bucket of each distance 0..span-1, int64 [span]."""
    distance = torch.arange(span)
    if span <= EXACT_DISTANCES:
        return distance
    ratio = torch.log(distance.clamp(min=1) / EXACT_DISTANCES) / math.log(span / EXACT_DISTANCES)
    far = EXACT_DISTANCES + (ratio * LOG_BUCKETS).long().clamp(0, LOG_BUCKETS - 1)
    return torch.where(distance < EXACT_DISTANCES, distance, far)


@dataclass(slots=True)
class ChordPlan:
    """Chords of a batch: `root`, `quality` and `bass` ids, int64 [B, P] each, and how many chords after
    the one that sounds now may be seen, int64 [B] (0 where the future is not known, else `PLAN_AFTER`)."""

    root: Tensor
    quality: Tensor
    bass: Tensor
    horizon: Tensor


@dataclass(slots=True)
class PlanKeys:
    """A plan as one layer sees it: `key` and `value` [B, H, 1 + P, K], `horizon` int64 [B]."""

    key: Tensor
    value: Tensor
    horizon: Tensor


@dataclass(slots=True)
class Cache:
    """Keys and values of every layer, [B, H, S, K] each, for stepping in PyTorch."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class TokenEmbedding(nn.Module):
    """Token vectors from shared factors: kind + pitch class + octave, plus a vector of each token's own.

    `table()` composes [V, D]; the output layer is tied to it.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        kinds, classes, octaves = [], [], []
        for token in range(config.vocabulary_size):
            what, value = v.kind(token)
            is_note = what in (v.Kind.NOTE_ON, v.Kind.NOTE_OFF)
            kinds.append(int(what))
            classes.append(1 + value % 12 if is_note else 0)
            octaves.append(1 + value // 12 if is_note else 0)
        for name, ids in (("kind_of", kinds), ("class_of", classes), ("octave_of", octaves)):
            self.register_buffer(name, torch.tensor(ids), persistent=False)
        scale = 0.5 / math.sqrt(config.width)
        self.kind = nn.Parameter(torch.randn(len(v.Kind), config.width) * scale)
        self.pitch_class = nn.Parameter(torch.randn(13, config.width) * scale)
        self.octave = nn.Parameter(torch.randn(12, config.width) * scale)
        self.own = nn.Parameter(torch.randn(config.vocabulary_size, config.width) * scale)

    def table(self) -> Tensor:
        """The composed table, [V, D]."""
        kind = F.embedding(self.kind_of, self.kind)
        return (
            self.own
            + kind
            + F.embedding(self.class_of, self.pitch_class)
            + F.embedding(self.octave_of, self.octave)
        )


class RelativeAttention(nn.Module):
    """Causal attention over the last `span` keys with a learned vector per head and distance bucket."""

    def __init__(self, config: NetworkConfig, span: int) -> None:
        super().__init__()
        self.span, self.heads, self.head_width = span, config.heads, config.head_width
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.register_buffer("buckets", distance_buckets(span), persistent=False)
        with torch.device("cpu"):  # networks are also built on "meta", where there are no numbers
            count = int(distance_buckets(span)[-1]) + 1
        self.distance = nn.Parameter(torch.randn(config.heads, count, config.head_width) * 0.02)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, D] to queries (scaled), keys and values, each [B, H, T, K]."""
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, self.head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query / math.sqrt(self.head_width), key, value

    def forward(self, x: Tensor) -> Tensor:
        """A whole pass, [B, T, D] to [B, T, D]. Costs T x span: queries go in blocks, each with the keys
        from the earliest one that its first query sees to its own last."""
        batch, length, width = x.shape
        query, key, value = self._split(x)
        attended = []
        for start in range(0, length, _BLOCK):
            end = min(start + _BLOCK, length)
            first = max(start - self.span + 1, 0) // _BLOCK * _BLOCK
            scores = query[:, :, start:end] @ key[:, :, first:end].transpose(-1, -2)
            scores = scores + self._relative_bias(query[:, :, start:end], start - first)
            scores = scores + self._hidden(end - start, start - first, x.device)
            attended.append(torch.softmax(scores, -1, torch.float32).to(value.dtype) @ value[:, :, first:end])
        return self.out(torch.cat(attended, 2).transpose(1, 2).reshape(batch, length, width))

    def _relative_bias(self, query: Tensor, before: int) -> Tensor:
        """q . E_r of a block of queries [B, H, N, K] and the keys from `before` ahead of it to its end,
        [B, H, N, before + N], by Music Transformer's skew: rows padded by one column and read back without
        it move right by one each. Keys after the query come out as anything and are hidden."""
        count = query.shape[2]
        reach = before + count
        distances = torch.arange(reach - 1, -1, -1, device=query.device).clamp(max=self.span - 1)
        vectors = self.distance.index_select(1, self.buckets[distances]).to(query.dtype)
        logits = query @ vectors.transpose(-1, -2)  # column m: distance reach - 1 - m; [B, H, N, reach]
        # row i needs distance before + i - j at column j, which lies at column m = j + count - 1 - i
        padded = F.pad(logits, (0, 1)).flatten(-2)  # rows are now reach + 1 apart
        padded = F.pad(padded, (0, count))[..., count - 1 :]
        return padded[..., : count * reach].unflatten(-1, (count, reach))

    def _hidden(self, count: int, before: int, device: torch.device) -> Tensor:
        """0 where query i of a block sees key j, -inf where not, float32 [N, before + N]."""
        i = torch.arange(count, device=device)[:, None]
        distance = i + before - torch.arange(before + count, device=device)
        return torch.where((distance >= 0) & (distance < self.span), 0.0, float("-inf"))

    def step(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """New positions after `past` keys and values: [B, T, D] to [B, T, D] and the longer past, of which
        the last `span` - 1 are kept. Exact: equals `forward` over everything there ever was."""
        batch, length, width = x.shape
        query, key, value = self._split(x)
        if past is not None:
            key, value = torch.cat((past[0], key), 2), torch.cat((past[1], value), 2)
        total = key.shape[2]
        distance = torch.arange(total - length, total, device=x.device)[:, None] - torch.arange(
            total, device=x.device
        )
        visible = (distance >= 0) & (distance < self.span)
        relative = torch.einsum("bhik,hmk->bhim", query, self.distance)
        index = self.buckets[distance.clamp(0, self.span - 1)].expand(batch, self.heads, length, total)
        bias = relative.gather(3, index).masked_fill(~visible, float("-inf"))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        keep = max(total - self.span + 1, 0)
        out = self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return out, (key[:, :, keep:], value[:, :, keep:])


class ChordAttention(nn.Module):
    """Attention onto the chord plan, relative to the chord that sounds now, in chord steps.

    A learned entry that is always there stands for "no chord": it is all there is to see without a plan.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key_value = nn.Linear(config.width, 2 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.nothing = nn.Parameter(torch.randn(2, config.heads, 1, config.head_width) * 0.02)
        self.offset = nn.Parameter(
            torch.randn(config.heads, PLAN_BEFORE + 1 + PLAN_AFTER, config.head_width) * 0.02
        )

    def plan(self, chords: Tensor, horizon: Tensor) -> PlanKeys:
        """Chord vectors [B, P, D] to keys and values [B, H, 1 + P, K]; entry 0 is "no chord"."""
        batch, count, _ = chords.shape
        key, value = (
            self.key_value(chords).view(batch, count, 2, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        )
        nothing = self.nothing.to(key.dtype)[:, None].expand(2, batch, self.heads, 1, self.head_width)
        return PlanKeys(torch.cat((nothing[0], key), 2), torch.cat((nothing[1], value), 2), horizon)

    def forward(self, x: Tensor, plan: PlanKeys, pointer: Tensor) -> Tensor:
        """x [B, T, D], `plan` of this layer, pointer int64 [B, T] (-1: no chord now) to [B, T, D]."""
        key, value, horizon = plan.key, plan.value, plan.horizon
        batch, length, width = x.shape
        query = self.query(x).view(batch, length, self.heads, self.head_width).transpose(1, 2)
        query = query / math.sqrt(self.head_width)
        entries = torch.arange(key.shape[2] - 1, device=x.device)
        offset = entries - pointer[..., None] + PLAN_BEFORE  # [B, T, P]
        seen = (offset >= 0) & (offset <= PLAN_BEFORE + horizon[:, None, None]) & (pointer[..., None] >= 0)
        relative = torch.einsum("bhtk,hok->bhto", query, self.offset.to(query.dtype))
        index = offset.clamp(0, PLAN_BEFORE + PLAN_AFTER)[:, None].expand(-1, self.heads, -1, -1)
        bias = relative.gather(3, index).masked_fill(~seen[:, None], float("-inf"))
        bias = F.pad(bias, (1, 0))  # "no chord" is always seen
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        return self.out(attended.transpose(1, 2).reshape(batch, length, width))


class Layer(nn.Module):
    """Attention, the chord plan where this layer has it, feed-forward; norms before, residuals around."""

    def __init__(self, config: NetworkConfig, index: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = RelativeAttention(config, config.span(index))
        self.has_chords = index in config.chord_layers
        if self.has_chords:
            self.chord_norm = nn.LayerNorm(config.width)
            self.chords = ChordAttention(config)
        self.feed_norm = nn.LayerNorm(config.width)
        self.feed_in = nn.Linear(config.width, config.feed_forward, bias=False)
        self.feed_out = nn.Linear(config.feed_forward, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def after_attention(self, x: Tensor, attended: Tensor, plan: PlanKeys | None, pointer: Tensor) -> Tensor:
        """What follows the attention; all shapes [B, T, D]."""
        x = x + self.dropout(attended)
        if self.has_chords and plan is not None:
            x = x + self.dropout(self.chords(self.chord_norm(x), plan, pointer))
        hidden = F.gelu(self.feed_in(self.feed_norm(x)), approximate="tanh")
        return x + self.dropout(self.feed_out(hidden))


class DuetNetwork(nn.Module):
    """Tokens with metrical positions and a chord plan to next-token logits."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = TokenEmbedding(config)
        self.metre = nn.Parameter(torch.randn(config.metre_size, config.width) * 0.02)
        self.chord_root = nn.Parameter(torch.randn(13, config.width) * 0.5)
        self.chord_bass = nn.Parameter(torch.randn(13, config.width) * 0.5)
        self.chord_quality = nn.Parameter(torch.randn(config.qualities, config.width) * 0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers + 1))
        self.norm = nn.LayerNorm(config.width)
        nn.init.constant_(self.norm.weight, 0.2)  # tied to its input, the output would begin sure of a repeat
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and name.endswith(".weight"):
                residual = name.endswith((".out.weight", "feed_out.weight"))
                deviation = 0.7 / math.sqrt(parameter.shape[1])
                nn.init.normal_(
                    parameter, std=deviation / math.sqrt(2 * len(self.layers)) if residual else deviation
                )

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def plans(self, chords: ChordPlan) -> list[PlanKeys]:
        """Keys and values of the plan for each chord layer: computed once for each plan."""
        vectors = F.embedding(chords.root, self.chord_root) + F.embedding(chords.bass, self.chord_bass)
        vectors = vectors + F.embedding(chords.quality, self.chord_quality)
        return [layer.chords.plan(vectors, chords.horizon) for layer in self.layers if layer.has_chords]

    def _embed(self, tokens: Tensor, metre: Tensor) -> tuple[Tensor, Tensor]:
        table = self.tokens.table()
        scale = math.sqrt(self.config.width)
        return self.dropout(F.embedding(tokens, table) * scale + F.embedding(metre, self.metre)), table

    def _logits(self, x: Tensor, table: Tensor) -> Tensor:
        return F.linear(self.norm(x), table, self.bias)

    def forward(self, tokens: Tensor, metre: Tensor, plan: ChordPlan, pointer: Tensor) -> Tensor:
        """int64 [B, T] tokens, metre (ids) and pointer (into the plan, -1 for none) to logits [B, T, V]."""
        x, table = self._embed(tokens, metre)
        plans = iter(self.plans(plan))
        for layer in self.layers:
            attended = layer.attention(layer.attention_norm(x))
            x = layer.after_attention(x, attended, next(plans) if layer.has_chords else None, pointer)
        return self._logits(x, table)

    def step(
        self, tokens: Tensor, metre: Tensor, plans: list[PlanKeys], pointer: Tensor, cache: Cache
    ) -> Tensor:
        """As `forward` for T new tokens after those in `cache`, which is extended; `plans` from `plans`."""
        x, table = self._embed(tokens, metre)
        chord_plans = iter(plans)
        grown: list[tuple[Tensor, Tensor]] = []
        for index, layer in enumerate(self.layers):
            past = cache.layers[index] if cache.layers else None
            attended, kept = layer.attention.step(layer.attention_norm(x), past)
            grown.append(kept)
            x = layer.after_attention(x, attended, next(chord_plans) if layer.has_chords else None, pointer)
        cache.layers = grown
        return self._logits(x, table)
