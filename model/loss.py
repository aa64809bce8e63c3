"""The loss: weighted cross-entropy over the tokens that count, in nats."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from plugin_bridge.music import vocabulary as v


def token_nats(logits: Tensor, targets: Tensor, touch: Tensor) -> Tensor:
    """Nats of each target, float32 [B, T], from logits [B, T, V] and targets int64 [B, T].

    Where `touch` (bool [B, T]) is False the piece was written, not played: velocity tokens are no choice
    there, so that the model does not learn that music has none.
    """
    velocity = torch.zeros(v.SIZE, device=logits.device)
    velocity[v.VELOCITY_BASE :] = -1e4
    logits = logits.float() + velocity * (~touch)[..., None]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def weighted_loss(logits: Tensor, targets: Tensor, weight: Tensor, touch: Tensor) -> Tensor:
    """The mean of `token_nats` under `weight` (float32 [B, T]), a scalar."""
    return (token_nats(logits, targets, touch) * weight).sum() / weight.sum().clamp(min=1.0)
