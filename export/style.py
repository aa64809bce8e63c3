"""`plugin-bridge train style`, from first to last: prepare, train, merge, export, measure, install.

Every step leaves its result in the work folder, so that an interrupted run goes on where it was; the style
is installed last, whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from export.adapter import merged_adapter
from export.bundle import check_output, write_bundle
from export.style_chart import draw_styles
from model.adapter import merge
from model.base import Base, load_base
from model.chord_fit import line_of, lines_of_piece
from model.copying import Line, longest_copies
from model.dataset import Prepared, Source
from model.held_out import Excerpt, choose_excerpts, model_nats, network_nats
from model.network import DuetNetwork
from model.prepare import Summary, prepare
from model.train_style import StyleTraining, Trained, check_base_data, check_name, train_style
from model.training import Progress
from plugin_bridge.engine.adapters import read_factors
from plugin_bridge.engine.bundle import DESCRIPTION, Style, load_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.generation import Request, generate
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path, swap_folder

MERGED_LIMIT = 1e-4
"""Largest difference of a held-out token's nats between the adapter's network and the merged one."""
REPORT, CHART, CURVE = "report.json", "style.png", "curve.png"
_EXCERPT_TOKENS = 4000
_CLIP_SECONDS = 30.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StyleRequest:
    """What `train style` is to do. `midi`: files, folders or zips of the musician; `others`: music by other
    performers, `training.base_data`: prepared base data, both to measure forgetting on. `tokens` scored of
    each kind of music; `clips` generated to look for copies."""

    midi: tuple[Path, ...]
    name: str
    work: Path
    output: Path
    base: str = "base"
    licence: str = "not stated"
    training: StyleTraining = field(default_factory=StyleTraining)
    others: tuple[Path, ...] = ()
    tokens: int = 40_000
    clips: int = 100
    adapter_only: bool = False
    restart: bool = False


def make_style(request: StyleRequest, tell: Tell = lambda line: None, progress: Any = None) -> dict[str, Any]:
    """The whole way; returns the report, which is also left in the work folder and, in short, in the bundle.

    `tell` gets a line at each stage. Raises BridgeError with what was kept when a stage fails.
    """
    check_name(request.name)
    base = load_base(request.base)
    _check_places(request)
    check_base_data(request.training)
    state = PartialState(cpu=not torch.cuda.is_available())
    began = time.monotonic()
    seconds: dict[str, float] = {}

    def stage(name: str, what: str) -> None:
        nonlocal began
        seconds[name] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        tell(what)

    summary = _prepare(request, progress) if state.is_main_process else None
    state.wait_for_everyone()
    if summary is None:  # one of several processes: it only trains
        train_style(request.work / "data", request.work / "run", base, request.training)
        return {}
    stage("prepare", f"{summary.pieces} pieces, {summary.notes} notes, {summary.hours:.1f} h"
          + (f"; {len(summary.skipped)} files skipped" if summary.skipped else ""))  # fmt: skip
    for name, reason in summary.skipped[:10]:
        tell(f"  skipped {name}: {reason}")

    def report_progress(step: Progress) -> None:
        tell(f"step {step.step}: training {step.train_nats:.4f}, held out {step.valid_nats:.4f} nats a token")

    trained = train_style(
        request.work / "data", request.work / "run", base, request.training, on_progress=report_progress
    )
    kept = request.work / "run" / ("network" if trained.adapter is None else "adapter")
    stage("train", f"trained: {kept}")
    report: dict[str, Any] = {
        "style": request.name, "base": base.style.name, "base_fingerprint": base.fingerprint,
        "method": request.training.method, "summary": asdict(summary),
        "pieces": {name: len(getattr(trained.deal, name)) for name in ("train", "valid", "test")},
        "trainable": trained.trainable, "parameters": trained.parameters,
        "trainable_share": trained.trainable / trained.parameters,
        "adapter_bytes": _size(kept), "training": trained.provenance["training"], "seconds": seconds,
    }  # fmt: skip
    if request.adapter_only:
        return _write_report(request.work, report)
    bundle = request.work / "bundle"
    try:
        _export(request, base, trained, bundle)
    except BridgeError as error:
        raise BridgeError(
            f"{error}; what was trained is kept in {kept}: run the same command again"
        ) from error
    stage("export", f"exported: {bundle}")
    style = load_style(bundle)
    report["stages"] = style.description["metrics"]["stages"]
    report["parity"] = style.description["metrics"]["parity"]
    report["nats"] = _forgetting(request, base.style, style, trained, tell)
    if trained.adapter is not None:
        report["deployed"] = _deployed(base.style, style, trained, request.tokens)
    stage("measure", "measured on held-out music")
    if request.clips:
        report["copying"] = _copying(style, trained, request.clips)
        stage("copying", "looked for copies")
    _write_report(request.work, report)
    draw_styles([report], request.work / CHART)
    _install(bundle, request.output, report)
    tell(f"installed: {request.output}")
    return report


def _prepare(request: StyleRequest, progress: Any) -> Summary:
    """Prepare the musician's files, and those of others beside them; then drop what is to begin anew."""
    if request.others:
        prepare(request.others, request.work / "others", held_out=(0.0, 0.0))
    summary = prepare(
        request.midi, request.work / "data", licence=request.licence, held_out=(0.0, 0.0), progress=progress
    )
    if request.restart:
        for name in ("run", "bundle"):
            shutil.rmtree(request.work / name, ignore_errors=True)
    return summary


def _check_places(request: StyleRequest) -> None:
    """Nothing that is not ours is ever written over: neither by the run nor by the bundle."""
    work, output = request.work, request.output
    here, there = work.resolve(), output.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise BridgeError(f"{output}: the run's folder {work} and the bundle's must lie apart")
    for folder in (work, output.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BridgeError(f"{folder}: cannot be made ({error.strerror}); choose another") from error
    if any(work.iterdir()) and not (work / "data" / "index.json").exists():
        raise BridgeError(f"{work}: is not empty and no run of train style; choose another with --work")
    check_output(output)


def _export(request: StyleRequest, base: Base, trained: Trained, bundle: Path) -> None:
    """Merge and write the bundle, the stages measured on held-out music on the way."""
    adapter = trained.adapter
    network = trained.network if adapter is None else merge(base, adapter)
    excerpts = choose_excerpts(trained.deal.test, "solo", 6_000, 2_000)

    def measure(exact: Path, quantised: Path) -> dict[str, Any]:
        return {"stages": _stages(trained.network, network, (exact, quantised), excerpts)}

    write_bundle(
        network, bundle, name=request.name, provenance=trained.provenance, measure=measure,
        adapter=None if adapter is None else merged_adapter(adapter),
    )  # fmt: skip


def _stages(
    adapted: DuetNetwork, merged: DuetNetwork, bundles: Sequence[Path], excerpts: Sequence[Excerpt]
) -> dict[str, Any]:
    """Held-out nats a token at each stage, and the largest difference of a token's nats from the stage
    before. Raises BridgeError where the merge is not what was trained."""
    engines = [Engine(load_style(folder), runtime="onnx") for folder in bundles]
    scores = {
        "adapter": [network_nats(adapted, piece) for piece in excerpts],
        "merged": [network_nats(merged, piece) for piece in excerpts],
        "onnx_fp32": [model_nats(engines[0], piece, plan=True) for piece in excerpts],
        "onnx_int8": [model_nats(engines[1], piece, plan=True) for piece in excerpts],
    }
    flat = {stage: np.concatenate(parts) for stage, parts in scores.items()}
    names = list(flat)
    result = {
        stage: {
            "nats_per_token": float(flat[stage].mean()),
            "worst_token": float(np.abs(flat[stage] - flat[names[max(index - 1, 0)]]).max()),
        }
        for index, stage in enumerate(names)
    }
    worst = result["merged"]["worst_token"]
    if not worst <= MERGED_LIMIT:
        raise BridgeError(
            f"merged, the style differs by {worst:.2g} nats on a token from what was trained; nothing was "
            "exported"
        )
    return result


def _forgetting(
    request: StyleRequest, before: Style, after: Style, trained: Trained, tell: Tell
) -> dict[str, dict[str, Any]]:
    """Nats before and after, on the style's held-out pieces, on other performers and on the base's own."""
    kinds: dict[str, list[Source]] = {"held_out": trained.deal.test}
    if request.others:
        kinds["others"] = Prepared(request.work / "others").pieces()
    if request.training.base_data is not None:
        kinds["base"] = Prepared(request.training.base_data).split("test")
    engines = {"before": Engine(before), "after": Engine(after)}
    result: dict[str, dict[str, Any]] = {}
    for kind, pieces in kinds.items():
        excerpts = choose_excerpts(pieces, "solo", request.tokens, _EXCERPT_TOKENS)
        if not excerpts:
            continue
        row: dict[str, Any] = {"pieces": len(excerpts), "notes": sum(piece.notes for piece in excerpts)}
        for when, engine in engines.items():
            scores = [model_nats(engine, piece, plan=True)[piece.counted] for piece in excerpts]
            total, tokens = sum(float(each.sum()) for each in scores), sum(len(each) for each in scores)
            row[f"{when}_per_token"] = total / tokens
            row[f"{when}_per_note"] = total / max(row["notes"], 1)
        row["change"] = row["after_per_note"] / row["before_per_note"] - 1
        result[kind] = row
        tell(
            f"{kind.replace('_', ' ')}: {row['before_per_note']:.3f} nats a note before, "
            f"{row['after_per_note']:.3f} after ({row['change']:+.1%})"
        )
    return result


def _deployed(base: Style, style: Style, trained: Trained, tokens: int) -> dict[str, float]:
    """Nats a note on the held-out pieces by the merged graph and by the adapter on the shared base."""
    shared = replace(base, name=style.name, factors=read_factors(style))
    excerpts = choose_excerpts(trained.deal.test, "solo", tokens, _EXCERPT_TOKENS)
    notes = max(sum(piece.notes for piece in excerpts), 1)
    nats = {}
    for name, engine in (("merged", Engine(style)), ("shared", Engine(shared))):
        nats[name] = sum(float(model_nats(engine, piece, plan=True).sum()) for piece in excerpts) / notes
    return nats


def _copying(style: Style, trained: Trained, count: int) -> dict[str, Any]:
    """Longest runs of notes shared with the training pieces: of what the style plays by itself, and of the
    performer's own held-out pieces, cut as long."""
    engine = Engine(style)
    bars = round(_CLIP_SECONDS / 2)
    clips = [generate(engine, Request(120.0, bars, seed=seed)) for seed in range(count)]
    training = [line for piece in trained.deal.train for line in lines_of_piece(piece)]
    human = [cut for piece in trained.deal.test for cut in _cut(lines_of_piece(piece)[0])]
    copies = longest_copies([*(line_of(clip) for clip in clips), *human], training)
    ours, theirs = copies[:count], copies[count:]
    return {
        "clips": count,
        "clip_seconds": _CLIP_SECONDS,
        "notes": sum(len(clip.notes) for clip in clips),
        "longest": int(ours.max(initial=0)),
        "median": float(np.median(ours)),
        "human_excerpts": len(human),
        "human_longest": int(theirs.max(initial=0)),
        "human_median": float(np.median(theirs)) if len(theirs) else None,
    }


def _cut(line: Line) -> list[Line]:
    """A line in pieces as long as the clips are."""
    ticks = round(_CLIP_SECONDS * 100)
    last = int(line.ticks.max(initial=0))
    masks = [(line.ticks >= start) & (line.ticks < start + ticks) for start in range(0, last + 1, ticks)]
    return [Line(line.ticks[mask], line.pitches[mask]) for mask in masks if mask.sum() > 1]


def _write_report(work: Path, report: dict[str, Any]) -> dict[str, Any]:
    with atomic_path(work / REPORT) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _install(bundle: Path, output: Path, report: dict[str, Any]) -> None:
    """Copy the bundle, with the figures inside, to where styles are found."""
    path = bundle / DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    description["metrics"] |= {key: report[key] for key in ("nats", "copying") if key in report}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    try:
        with tempfile.TemporaryDirectory(prefix=".install-", dir=output.parent) as attic:
            swap_folder(shutil.copytree(bundle, Path(attic) / "new"), output, Path(attic))
    except OSError as error:
        raise BridgeError(f"{output}: cannot be written ({error}); the bundle is kept in {bundle}") from error


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
