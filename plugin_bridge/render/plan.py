"""From what a user gives (MIDI files, folders, manifests) to jobs. Everything that can be known before work
starts is found here, and named by row and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugin_bridge.engine.generation import DEFAULT_ADHERENCE, Request
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.render.effects import choose_effects
from plugin_bridge.render.instruments import choose_instrument
from plugin_bridge.render.jobs import Generated, Job, MidiSource, Source, fingerprint_of, job_key
from plugin_bridge.render.manifest import MOST_CLIPS, Row, is_file_name, read_manifest
from plugin_bridge.render.settings import LONGEST_CLIP, PART_NAMES, Output

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".kar")
MANIFEST_SUFFIXES = (".toml", ".csv")


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that was not rendered, the row or file it came from, and why."""

    name: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a batch, and the clips that are known not to work (MIDI files that cannot be used)."""

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...] = ()


def make_plan(
    inputs: Sequence[str | Path],
    output: Output | None = None,
    *,
    instrument: str = "piano",
    preset: str | None = None,
    effects: str = "default",
) -> Plan:
    """The plan for MIDI files, folders of them, and manifests; `instrument`, `preset` and `effects` are for
    whatever does not say its own. Raises BridgeError, naming row and key, for what the user has to mend."""
    given = {"instrument": instrument, "preset": preset, "effects": effects}
    defaults = {key: _from_here(text) for key, text in given.items() if text is not None}
    output = output or Output()
    jobs: list[Job] = []
    failures: list[Failure] = []
    names: dict[str, Row] = {}
    for row in (row for path in inputs for row in _rows(Path(path))):
        for name, source in _sources(row):
            _take_names(names, row, name, output)
            problem = _unusable(source)
            if problem is not None:
                failures.append(Failure(name, row.where, problem))
            else:
                jobs.append(_job(row, name, source, output, defaults))
    return Plan(tuple(jobs), tuple(failures))


def _from_here(text: str) -> str:
    """A file that is given outside a manifest is sought from the current folder."""
    return str(Path(text).absolute()) if Path(text).exists() else text


def _take_names(names: dict[str, Row], row: Row, name: str, output: Output) -> None:
    """Note the files that a clip will write; not all systems tell capitals from small letters."""
    for taken in (name, *(f"{name}.{part}" for part in PART_NAMES.values() if output.stems)):
        other = names.setdefault(taken.lower(), row)
        if other is not row:
            raise row.problem("name", f"{taken!r} is written by {other.where} too; name them apart")
    if len(names) > MOST_CLIPS * (1 + 2 * output.stems):
        raise BridgeError(f"{row.where}: with it there are more than {MOST_CLIPS} clips; split the batch")


def _rows(path: Path) -> Iterator[Row]:
    """A file or folder of MIDI is as many rows that say midi."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in MIDI_SUFFIXES and p.is_file())
        if not found:
            raise BridgeError(f"{path}: has no MIDI file in it")
        for file in found:
            name = "-".join(file.relative_to(path).with_suffix("").parts)
            yield Row(str(file), {"midi": str(file.absolute()), "name": name})
    elif not path.exists():
        raise BridgeError(f"{path}: there is no such file or folder")
    elif path.suffix.lower() in MANIFEST_SUFFIXES:
        yield from read_manifest(path)
    elif path.suffix.lower() in MIDI_SUFFIXES:
        yield Row(str(path), {"midi": str(path.absolute())})
    else:
        raise BridgeError(f"{path}: is neither MIDI (.mid) nor a manifest (.toml, .csv)")


def _sources(row: Row) -> Iterator[tuple[str, Source]]:
    """The clips of a row, by name."""
    values = row.values
    if "midi" in values:
        path = row.folder / values["midi"]
        name = values.get("name", path.stem)
        if not is_file_name(name):
            raise row.problem("name", f"{name!r} cannot be the name of a file on every system; give another")
        yield name, MidiSource(path)
        return
    wanted = _generated(row)
    seeds = values.get("seeds") or range(wanted.seed, wanted.seed + values.get("takes", 1))
    name = values.get("name", f"clip-{row.where.rpartition(' ')[2]:0>3}")
    for seed in seeds:
        yield name if len(seeds) == 1 else f"{name}-s{seed}", replace(wanted, seed=seed)


def _generated(row: Row) -> Generated:
    values: Mapping[str, Any] = row.values
    style = values.get("style", "base")
    try:
        fingerprint = fingerprint_of(style)
    except BridgeError as error:
        raise row.problem("style", error) from error
    prompt = row.folder / values["prompt"] if "prompt" in values else None
    if prompt is not None:
        try:
            read_midi(prompt)
        except BridgeError as error:
            raise row.problem("prompt", error) from error
    wanted = Generated(
        values.get("chords", ""), values.get("tempo", 120.0), values.get("bars", 8), values.get("beats", 4),
        style, fingerprint, values.get("seed", 0), values.get("temperature"), values.get("top_p"),
        values.get("adherence", DEFAULT_ADHERENCE), prompt,
    )  # fmt: skip
    seconds = wanted.bars * wanted.beats * 60 / wanted.tempo
    if seconds > LONGEST_CLIP:
        raise row.problem("bars", f"last {seconds:.0f} s; a clip may last {LONGEST_CLIP:.0f} s")
    return wanted


def request_of(wanted: Generated) -> Request:
    """What the engine is asked for; sampling is left to whoever knows the style."""
    chords = tuple(parse_progression(wanted.chords)) if wanted.chords else ()
    prompt = read_midi(wanted.prompt).clip() if wanted.prompt else None
    return Request(
        wanted.tempo, wanted.bars, wanted.beats, chords, wanted.seed, None, wanted.adherence, prompt
    )


def _unusable(source: Source) -> str | None:
    """Why a MIDI file cannot be rendered, None where it can."""
    if not isinstance(source, MidiSource):
        return None
    try:
        clip = read_midi(source.path).clip()
    except BridgeError as error:
        return str(error)
    if not clip.notes:
        return f"{source.path}: has no notes (drums are left out)"
    if clip.duration > LONGEST_CLIP:
        hours, minutes = divmod(round(clip.duration / 60), 60)
        return (
            f"{source.path}: lasts {hours} h {minutes:02d} min, and a clip may last "
            f"{LONGEST_CLIP / 60:.0f} min; cut it"
        )
    return None


def _job(row: Row, name: str, source: Source, output: Output, defaults: Mapping[str, str]) -> Job:
    own_instrument = "instrument" in row.values
    values = {key: text for key, text in defaults.items() if key != "preset" or not own_instrument}
    values |= {key: row.values[key] for key in ("instrument", "preset", "effects") if key in row.values}
    key = "instrument" if own_instrument or "preset" not in row.values else "preset"
    try:
        instrument = choose_instrument(values["instrument"], values.get("preset"), row.folder)
        key = "effects"
        effects = choose_effects(values["effects"], row.folder)
    except BridgeError as error:
        raise (row.problem(key, error) if key in row.values else error) from error
    job = Job(name, row.where, source, instrument, effects, output)
    return replace(job, key=job_key(job))
