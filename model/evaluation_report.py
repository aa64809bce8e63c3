"""The evaluation report as plain text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_COLUMNS = ("notes", "a token", "a note", "no chords", "n-gram", "order", "below it")


def render_report(report: dict[str, Any]) -> str:
    """The report as plain text for people, lines of at most 100 characters."""
    precision = f"{report['parameters']:,} parameters, {report['precision']}"
    where = f"{report['data']}, {report['split']} split" if report["split"] else report["data"]
    lines = [f"Style {report['style']} ({precision}) on {where}", ""]
    for view, what in (("solo", "the partner plays everything"), ("duet", "the partner beside the player")):
        if report["views"][view] is not None:
            lines += [f"Nats, {what}:", *_table(report["views"][view]), ""]
    if not report["training_pieces"]:
        lines += ["No training data was given: no n-grams, and no search for copies.", ""]
    return "\n".join(lines + _generation_lines(report["generated"])).rstrip() + "\n"


def _table(view: dict[str, Any]) -> list[str]:
    rows = [*view["sources"].items(), ("all", view["overall"])]
    return [_aligned("source", _COLUMNS), *(_row(name, row) for name, row in rows)]


def _aligned(name: str, cells: Sequence[str]) -> str:
    return f"  {name[:23]:<24}" + "".join(f"{cell:>10}" for cell in cells)


def _row(name: str, row: dict[str, Any]) -> str:
    order = row.get("best_order")
    grams = row["ngrams"][str(order)]["nats_per_note"] if order else None
    below = row.get("below_best_ngram")
    numbers = (row["nats_per_token"], row["nats_per_note"], row.get("nats_per_token_without_plan"), grams)
    cells = (str(row["notes"]), *map(_number, numbers), str(order or "-"), _share(below))
    return _aligned(name, cells)


def _generation_lines(made: dict[str, Any] | None) -> list[str]:
    if made is None:
        return ["No clips were generated."]
    pairs = [
        ("notes a second", _number(made["notes_per_second"]), _number(made["notes_per_second_human"])),
        ("chord tones, all clips", _share(made["chord_tone_rate"]), ""),
        (
            "chord tones, accompaniments",
            _share(made["chord_tone_rate_beside_human"]),
            _share(made["chord_tone_rate_human"]),
        ),
        (
            "longest copy (notes)",
            _whole(made["longest_copy_notes"]),
            _whole(made["longest_copy_notes_human"]),
        ),
        ("median copy (notes)", _whole(made["median_copy_notes"]), _whole(made["median_copy_notes_human"])),
    ]
    amount = f"{made['clips']} clips over charts of {made['pieces']} pieces, {made['seconds']:.0f} s"
    faults = f"{made['silent_clips']} silent clips, {made['invalid_events']} invalid events"
    return [
        f"{amount}: {made['notes']} notes, {faults}",
        f"  {'':<28}{'style':>10}{'human':>10}",
        *(f"  {label:<28}{ours:>10}{human:>10}".rstrip() for label, ours, human in pairs),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
