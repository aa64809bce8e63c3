"""Held-out pieces as a style is scored on them: excerpts, which tokens count, and the nats of each.

Scoring is teacher-forced through the engine that plays, with metre and chord plan moving along as they do
in training (`model.dataset`) and in a stream: the runtime is measured, not a copy of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.config import PLAN_AFTER
from model.dataset import Source, Variation, View, build
from plugin_bridge.engine.engine import Engine, PlanWindow
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.events import Part

if TYPE_CHECKING:
    from model.network import DuetNetwork

_NO_TOUCH = -1e4
"""Added to the logits of velocities where the piece was written, not played; as `model.loss` has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Excerpt:
    """A piece in one view, from its start on, bos first and without eos: T tokens.

    `metre`, `pointer` and `chords` are as in `model.dataset.Example`. `counted` bool [T - 1] tells which of
    tokens 1 .. T - 1 are scored: the partner's. `notes` is the number of note-ons among them.
    """

    source: str
    name: str
    view: View
    touch: bool
    tokens: NDArray[np.uint16]
    metre: NDArray[np.uint8]
    pointer: NDArray[np.int32]
    chords: NDArray[np.void]
    counted: NDArray[np.bool_]
    notes: int

    @property
    def has_chords(self) -> bool:
        """Whether a chord sounds anywhere, so that a plan makes a difference."""
        return bool((self.pointer >= 0).any())


def stable_order(sources: Iterable[Source]) -> list[Source]:
    """Pieces in an order that looks random and is the same everywhere and always."""
    return sorted(sources, key=lambda piece: hashlib.sha256(f"{piece.source}/{piece.name}".encode()).digest())


def excerpt(source: Source, view: View, longest: int) -> Excerpt:
    """The first `longest` tokens (bos included, eos left out) of a piece in a view."""
    example = build(source, Variation(view))
    end = min(len(example.tokens) - 1, longest)
    tokens = example.tokens[:end]
    counted = example.owner[1:end] == Part.PARTNER
    is_on = (tokens[1:] >= v.NOTE_ON_BASE) & (tokens[1:] < v.NOTE_OFF_BASE)
    return Excerpt(
        source.source, source.name, view, source.has_touch, tokens, example.metre[:end],
        example.pointer[:end], example.chords, counted, int((is_on & counted).sum()),
    )  # fmt: skip


def choose_excerpts(sources: Sequence[Source], view: View, tokens: int, longest: int) -> list[Excerpt]:
    """Excerpts of up to `longest` tokens each until `tokens` count, dealt evenly over the sources.

    Always the same for the same pieces. A single line offers no duet: it is left out there.
    """
    waiting: dict[str, list[Source]] = {}
    for piece in reversed(stable_order(sources)):
        if view == "solo" or piece.dealt != "solo":
            waiting.setdefault(piece.source, []).append(piece)
    taken = dict.fromkeys(sorted(waiting), 0)
    chosen: list[Excerpt] = []
    while taken and sum(taken.values()) < tokens:
        name = min(taken, key=lambda each: taken[each] if waiting[each] else tokens + longest)
        if not waiting[name]:
            break
        found = excerpt(waiting[name].pop(), view, longest)
        if found.counted.any():
            chosen.append(found)
            taken[name] += int(found.counted.sum())
    return chosen


def model_nats(engine: Engine, piece: Excerpt, *, plan: bool) -> NDArray[np.float64]:
    """Nats of tokens 1 .. T - 1 of an excerpt given those before, float64 [T - 1]."""
    engine.reset()
    tokens, metre = piece.tokens[:-1].tolist(), piece.metre[:-1].tolist()
    pointer = piece.pointer[:-1] if plan else np.full(len(tokens), -1, np.int32)
    starts = np.flatnonzero(np.diff(pointer, prepend=pointer[:1] - 1)).tolist() if tokens else []
    parts = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        engine.set_plan(_window(piece.chords, int(pointer[start]), engine))
        logits = engine.extend_all(tokens[start:end], metre[start:end])
        parts.append(token_nats(logits, piece.tokens[start + 1 : end + 1], touch=piece.touch))
    return np.concatenate(parts) if parts else np.zeros(0)


def network_nats(network: DuetNetwork, piece: Excerpt) -> NDArray[np.float64]:
    """As `model_nats` with the plan, by the network in PyTorch, in one pass."""
    import torch

    from model.network import ChordPlan

    rows = piece.chords if len(piece.chords) else np.zeros(1, piece.chords.dtype)
    root, quality, bass = (
        torch.from_numpy(rows[name].astype(np.int64))[None] for name in ("root", "quality", "bass")
    )
    plan = ChordPlan(root, quality, bass, torch.tensor([PLAN_AFTER]))
    arrays = (piece.tokens[:-1], piece.metre[:-1], piece.pointer[:-1])
    tokens, metre, pointer = (torch.from_numpy(array.astype(np.int64))[None] for array in arrays)
    with torch.no_grad():
        logits = network(tokens, metre, plan, pointer)[0].numpy()
    return token_nats(logits, piece.tokens[1:], touch=piece.touch)


def token_nats(
    logits: NDArray[np.float32], targets: NDArray[np.integer], *, touch: bool
) -> NDArray[np.float64]:
    """Nats of each target [S] from logits [S, V]; without `touch` velocities are no choice."""
    wide = logits.astype(np.float64)
    if not touch:
        wide[:, v.VELOCITY_BASE :] += _NO_TOUCH
    highest = wide.max(axis=1)
    total = highest + np.log(np.exp(wide - highest[:, None]).sum(axis=1))
    result: NDArray[np.float64] = total - wide[np.arange(len(wide)), targets.astype(np.int64)]
    return result


def score_all(
    engine: Engine, pieces: Sequence[Excerpt], *, plan: bool, progress: Callable[[float], None]
) -> list[NDArray[np.float64]]:
    """`model_nats` of every excerpt; `progress` is told the share done."""
    scores = []
    for index, piece in enumerate(pieces):
        scores.append(model_nats(engine, piece, plan=plan))
        progress((index + 1) / len(pieces))
    return scores


def _window(chords: NDArray[np.void], pointer: int, engine: Engine) -> PlanWindow | None:
    """The chords around the one that sounds, as the dataset's plan has them."""
    if pointer < 0:
        return None
    sizes = engine.style.sizes
    around = range(pointer - sizes.plan_before, pointer + sizes.plan_after + 1)
    rows = chords[["root", "quality", "bass"]]
    return PlanWindow(tuple(rows[i].item() if 0 <= i < len(rows) else None for i in around))
