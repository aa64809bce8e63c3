"""`plugin-bridge evaluate`: what a style is worth on music it has not seen, as one report.

Three questions: how well does it expect held-out music (nats, against n-grams trained on the same data), is
what it plays valid and does it fit the chords (against the human), and does it repeat what it was trained
on (against how much held-out music does)? Needs no PyTorch: the bundle is measured as it will play.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.baseline import AS_WRITTEN, OnProgress, ngram_nats
from model.chord_fit import Span, choose_spans, line_of, lines_of_piece, mean_chord_tone_rate, play
from model.copying import longest_copies
from model.dataset import Prepared, Source, View
from model.evaluation_report import render_report
from model.held_out import Excerpt, choose_excerpts, score_all
from model.ngram import uniform_nats
from model.prepare import SPLITS, prepare
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.clip import Clip

__all__ = ["EvaluationOptions", "OnProgress", "evaluate", "render_report"]

VIEWS: tuple[View, ...] = ("solo", "duet")
_LOWEST_ORDER = 2


RECORDED = (
    "data", "split", "nats_per_token", "nats_per_note", "notes", "below_best_ngram", "chord_tone_rate",
    "invalid_events", "longest_copy_notes",
)  # fmt: skip
"""What of a report a bundle keeps."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is measured, and on how much.

    `split` of a prepared folder (raw MIDI is used whole). `max_tokens` a view, from excerpts of at most
    `piece_tokens`. `plan`: whether the chords are told; `without_plan`: pieces with chords also without.
    `ngram_order` 0: no n-grams; `all_keys`: n-grams also from the training pieces in 12 keys. `clips` of
    `clip_seconds` are generated (0: none), with the style's own sampling unless `sampling` is given.
    `train_data`: a prepared folder whose training split trains the n-grams and is searched for copies;
    otherwise that of the data itself where it is prepared.
    """

    split: str = "test"
    max_tokens: int = 120_000
    piece_tokens: int = 4_000
    plan: bool = True
    without_plan: bool = True
    ngram_order: int = 5
    all_keys: bool = True
    clips: int = 100
    clip_seconds: float = 30.0
    chord_bias: float = 0.0
    sampling: SamplingParameters | None = None
    seed: int = 0
    threads: int = 1
    train_data: Path | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise BridgeError(f"there is no split {self.split!r}: use {', '.join(SPLITS)}")
        if self.max_tokens < 1 or self.piece_tokens < 2:
            raise BridgeError(
                f"{self.max_tokens} tokens in excerpts of {self.piece_tokens} are nothing to score"
            )
        if self.ngram_order and not _LOWEST_ORDER <= self.ngram_order <= 7:
            raise BridgeError(f"n-gram order {self.ngram_order} must be 2 to 7, or 0 for none")
        if self.clips < 0 or not 1 <= self.clip_seconds <= 600:
            raise BridgeError(f"{self.clips} clips of {self.clip_seconds:g} s: a clip lasts 1 to 600 seconds")


def evaluate(
    style: Style, data: Path, options: EvaluationOptions | None = None, progress: OnProgress | None = None
) -> dict[str, Any]:
    """The report on a style, ready for JSON; see `render_report` for people.

    `data`: a prepared folder, or a folder, zip or file of raw MIDI. What could not be measured is None.
    Raises BridgeError where the data is missing or damaged, or holds no piece to score.
    """
    options = options or EvaluationOptions()
    tell = progress or (lambda stage, share: None)
    pieces, training = _load(data, options, tell)
    engine = Engine(style, threads=options.threads)
    views = {view: _view(engine, pieces, training, view, options=options, tell=tell) for view in VIEWS}
    solo = views["solo"]
    if solo is None:
        raise BridgeError(f"{data}: none of its {len(pieces)} pieces has a token to score")
    generated = _generated(engine, pieces, training, options, tell) if options.clips else None
    overall = solo["overall"]
    return {
        "nats_per_token": overall["nats_per_token"],
        "nats_per_note": overall["nats_per_note"],
        "notes": overall["notes"],
        "tokens": overall["tokens"],
        "below_best_ngram": overall.get("below_best_ngram"),
        "chord_tone_rate": generated and generated["chord_tone_rate"],
        "invalid_events": generated and generated["invalid_events"],
        "longest_copy_notes": generated and generated["longest_copy_notes"],
        "style": style.name,
        "precision": style.precision,
        "parameters": style.sizes.parameters,
        "data": data.name,
        "split": options.split if _is_prepared(data) else None,
        "plan": options.plan,
        "max_tokens": options.max_tokens,
        "piece_tokens": options.piece_tokens,
        "training_pieces": len(training),
        "uniform_nats_per_token": uniform_nats(v.SIZE),
        "views": views,
        "generated": generated,
    }


def _is_prepared(data: Path) -> bool:
    return (data / "index.json").is_file()


def _load(data: Path, options: EvaluationOptions, tell: OnProgress) -> tuple[list[Source], list[Source]]:
    """The pieces to score, and the training pieces to compare with (none for raw MIDI on its own)."""
    training = Prepared(options.train_data).split("train") if options.train_data else []
    if not _is_prepared(data):
        return _from_midi(data, tell), training
    prepared = Prepared(data)
    pieces = prepared.split(options.split)
    if not pieces:
        others = [f"{name} has {len(prepared.split(name))}" for name in SPLITS if name != options.split]
        raise BridgeError(f"{data}: has no pieces in its {options.split} split ({', '.join(others)})")
    return pieces, training if options.train_data else prepared.split("train")


def _from_midi(data: Path, tell: OnProgress) -> list[Source]:
    """Every piece of raw MIDI, prepared in passing."""
    tell("reading the MIDI files", 0.0)
    with tempfile.TemporaryDirectory(prefix="plugin-bridge-", ignore_cleanup_errors=True) as folder:
        prepare([data], Path(folder) / "data")
        prepared = Prepared(Path(folder) / "data")
        pieces = [piece for name in SPLITS for piece in prepared.split(name)]
        del prepared  # its files are mapped: nothing may hold them when the folder goes
    return pieces


def _view(
    engine: Engine,
    pieces: Sequence[Source],
    training: Sequence[Source],
    view: View,
    *,
    options: EvaluationOptions,
    tell: OnProgress,
) -> dict[str, Any] | None:
    """Nats of the model and the n-grams in one view, overall and by source; None without a piece for it."""
    chosen = choose_excerpts(pieces, view, options.max_tokens, options.piece_tokens)
    if not chosen:
        return None
    stage = f"scoring {view} excerpts"
    nats = score_all(engine, chosen, plan=options.plan, progress=lambda share: tell(stage, share))
    plain: dict[int, NDArray[np.float64]] = {}
    if options.plan and options.without_plan:
        told = [index for index, piece in enumerate(chosen) if piece.has_chords]
        again = [chosen[index] for index in told]
        stage_2 = f"{stage} without chords"
        scores = score_all(engine, again, plan=False, progress=lambda share: tell(stage_2, share))
        plain = dict(zip(told, scores, strict=True))
    grams: dict[str, list[NDArray[np.float64]]] = {}
    if training and options.ngram_order:
        wanted = [piece.tokens[1:] for piece in chosen]
        grams = ngram_nats(wanted, training, view, options.ngram_order, all_keys=options.all_keys, tell=tell)

    def summary(indices: Sequence[int]) -> dict[str, Any]:
        result = _pooled(chosen, nats, indices)
        result["pieces"] = len(indices)
        result["uniform_nats_per_note"] = uniform_nats(v.SIZE) * result["tokens"] / max(result["notes"], 1)
        with_chords = [index for index in indices if index in plain]
        if with_chords:
            result["pieces_with_chords"] = _chord_effect(chosen, nats, plain, with_chords)
            result["nats_per_token_without_plan"] = result["pieces_with_chords"][
                "nats_per_token_without_plan"
            ]
        if grams:
            result |= _against_ngrams(chosen, grams, indices, result)
        return result

    by_source: dict[str, list[int]] = {}
    for index, piece in enumerate(chosen):
        by_source.setdefault(piece.source, []).append(index)
    return {
        "overall": summary(range(len(chosen))),
        "sources": {source: summary(indices) for source, indices in sorted(by_source.items())},
    }


def _pooled(
    chosen: Sequence[Excerpt], nats: Sequence[NDArray[np.float64]], indices: Iterable[int]
) -> dict[str, Any]:
    """Nats a token and a note over the tokens that count; a note's nats are those of its tokens and of all
    shifts, releases, pedals between the notes."""
    total, tokens, notes = 0.0, 0, 0
    for index in indices:
        counted = chosen[index].counted
        total += float(nats[index][counted].sum())
        tokens += int(counted.sum())
        notes += chosen[index].notes
    return {
        "nats_per_token": total / tokens,
        "nats_per_note": total / notes if notes else None,
        "tokens": tokens,
        "notes": notes,
    }


def _chord_effect(
    chosen: Sequence[Excerpt],
    nats: Sequence[NDArray[np.float64]],
    plain: dict[int, NDArray[np.float64]],
    indices: Sequence[int],
) -> dict[str, Any]:
    """The same tokens, chords told and not told."""
    told = _pooled(chosen, nats, indices)
    untold = _pooled(chosen, [plain.get(i, nats[i]) for i in range(len(chosen))], indices)
    return {
        "nats_per_token_with_plan": told["nats_per_token"],
        "nats_per_token_without_plan": untold["nats_per_token"],
        "tokens": told["tokens"],
    }


def _against_ngrams(
    chosen: Sequence[Excerpt],
    grams: dict[str, list[NDArray[np.float64]]],
    indices: Sequence[int],
    model: dict[str, Any],
) -> dict[str, Any]:
    """The n-grams of each order on the tokens of `indices`; of two kinds of training the better one counts,
    and the best order is the best on these very tokens: what favours the n-grams."""
    orders = {}
    for order in range(_LOWEST_ORDER, len(grams[AS_WRITTEN][0]) + 1):
        kinds = {
            kind: _pooled(chosen, [each[order - 1] for each in scores], indices)
            for kind, scores in grams.items()
        }
        training = min(kinds, key=lambda kind: kinds[kind]["nats_per_token"])
        best = kinds[training]
        orders[str(order)] = {
            "nats_per_token": best["nats_per_token"],
            "nats_per_note": best["nats_per_note"],
            "training": training,
            "nats_per_token_by_training": {kind: each["nats_per_token"] for kind, each in kinds.items()},
        }
    best_order = min(orders, key=lambda order: orders[order]["nats_per_token"])
    return {
        "ngrams": orders,
        "best_order": int(best_order),
        "below_best_ngram": 1 - model["nats_per_token"] / orders[best_order]["nats_per_token"],
    }


def _generated(
    engine: Engine,
    pieces: Sequence[Source],
    training: Sequence[Source],
    options: EvaluationOptions,
    tell: OnProgress,
) -> dict[str, Any]:
    """What the style plays over charts of held-out pieces, beside what the human played there."""
    spans = choose_spans(pieces, options.clips, options.clip_seconds, options.seed)
    played = []
    for index, span in enumerate(spans):
        tell("generating clips", index / len(spans))
        seed = options.seed + index
        played.append(play(engine, span, seed=seed, sampling=options.sampling, chord_bias=options.chord_bias))
    clips = [each.clip for each in played]
    seconds = sum(span.seconds for span in spans)
    notes = sum(len(clip.notes) for clip in clips)
    human_notes = sum(len(span.human.notes) for span in spans)
    accompanied = [index for index, span in enumerate(spans) if span.has_accompaniment]
    by_source: dict[str, list[int]] = {}
    for index, span in enumerate(spans):
        by_source.setdefault(span.source, []).append(index)
    return {
        "clips": len(clips),
        "pieces": len({(span.source, span.name) for span in spans}),
        "seconds": round(seconds, 1),
        "notes": notes,
        "notes_per_second": notes / seconds,
        "notes_per_second_human": human_notes / seconds,
        "silent_clips": sum(not clip.notes for clip in clips),
        "invalid_events": sum(each.invalid_events for each in played),
        "chord_tone_rate": mean_chord_tone_rate(clips),
        "chord_tone_rate_beside_human": mean_chord_tone_rate(clips[index] for index in accompanied),
        "chord_tone_rate_human": mean_chord_tone_rate(spans[index].human for index in accompanied),
        "chord_tone_rate_by_source": {
            source: mean_chord_tone_rate(clips[index] for index in indices)
            for source, indices in sorted(by_source.items())
        },
        **_copies(spans, clips, training, tell),
        "chord_bias": options.chord_bias,
        "seed": options.seed,
        "sampling": asdict(options.sampling or engine.style.sampling),
    }


def _copies(
    spans: Sequence[Span], clips: Sequence[Clip], training: Sequence[Source], tell: OnProgress
) -> dict[str, Any]:
    """The longest runs of notes shared with the training pieces, of the clips and of the human's music."""
    names = [f"{which}_copy_notes{whose}" for whose in ("", "_human") for which in ("longest", "median")]
    if not training:
        return dict.fromkeys(names)
    tell("looking for copies", 0.0)
    lines = [line_of(clip) for clip in [*clips, *(span.human for span in spans)]]
    copies = longest_copies(lines, [line for piece in training for line in lines_of_piece(piece)])
    ours, human = copies[: len(clips)], copies[len(clips) :]
    values = [float(figure) for each in (ours, human) for figure in (each.max(), np.median(each))]
    return {
        name: int(value) if name.startswith("longest") else value
        for name, value in zip(names, values, strict=True)
    }
