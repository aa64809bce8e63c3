"""A musician's pieces dealt out: to train on, to stop by, and to be measured by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model.dataset import Prepared, Source
from model.held_out import stable_order
from model.prepare import recording_of
from plugin_bridge.errors import BridgeError

FEWEST_PIECES = 4
_BASE_PIECES = 400


@dataclass(frozen=True, slots=True)
class Deal:
    """`train` and `valid` (early stopping) of the style, `test` for its figures. Recordings stay whole."""

    train: list[Source]
    valid: list[Source]
    test: list[Source]


def deal(pieces: Sequence[Source], held_out: int | None = None) -> Deal:
    """Deal pieces by recording: `held_out` (a fifth, unless given) to test, an eighth of the rest to stop by.

    Always the same for the same pieces. Raises BridgeError where there are too few.
    """
    recordings: dict[str, list[Source]] = {}
    for piece in stable_order(pieces):
        recordings.setdefault(recording_of(piece.name), []).append(piece)
    count = len(recordings)
    test = max(1, round(count / 5)) if held_out is None else held_out
    valid = max(1, (count - test) // 8)
    if count < FEWEST_PIECES or test < 1 or count - test - valid < 2:
        raise BridgeError(
            f"{count} usable pieces, {test} of them held out, are too few: a style needs at least "
            f"{FEWEST_PIECES}, two to train on, one to stop by and one to be measured by"
        )
    groups = list(recordings.values())
    return Deal(
        [piece for group in groups[test + valid :] for piece in group],
        [piece for group in groups[test : test + valid] for piece in group],
        [piece for group in groups[:test] for piece in group],
    )


def base_mix(base: Prepared, style_tokens: int, share: float) -> tuple[list[Source], dict[str, float]]:
    """Base pieces to train on beside the style's, and the copies of each source in an epoch so that they
    make up `share` of its tokens. Each epoch draws others of up to 400 pieces."""
    if share <= 0:
        return [], {}
    pieces = stable_order(base.split("train"))[:_BASE_PIECES]
    tokens = sum(len(piece.tokens) for piece in pieces)
    copies = style_tokens * share / (1 - share) / max(tokens, 1)
    return pieces, {piece.source: copies for piece in pieces}


def fingerprint_of(pieces: Iterable[Source]) -> str:
    """A hash of all that training sees of the pieces, so that a run goes on only with what it began with."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(json.dumps([piece.name, piece.dealt, piece.has_touch]).encode())
        for array in (piece.tokens, piece.beats, piece.chords):
            digest.update(len(array).to_bytes(8, "big") + array.tobytes())
    return digest.hexdigest()
