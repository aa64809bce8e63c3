"""One job end to end, as every process of a batch does it: play, render, write, record.

What a job writes is staged in a folder of its own and moved into place when all of it is there; the record,
`.plugin-bridge/NAME.json`, comes last. So a batch may be killed at any moment: what has a record is whole.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugin_bridge.engine.adapters import choose_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.engine.generation import generate
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.midi_file import read_midi, write_midi
from plugin_bridge.render.encoding import encode_below
from plugin_bridge.render.jobs import Generated, Job, MidiSource, style_fingerprint
from plugin_bridge.render.picture import MAX_ROWS, ROW_SECONDS, draw_duet
from plugin_bridge.render.plan import request_of
from plugin_bridge.render.renderer import Renderer, Sound, clip_of
from plugin_bridge.render.settings import FORMATS, PART_NAMES

HIDDEN = ".plugin-bridge"
STAGING = "staging-"
_MOST_ENGINES = 8
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_kept = threading.local()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: its `record`, or the `reason` why there is none. `full`: the disk is."""

    name: str
    where: str
    record: Mapping[str, Any] | None = None
    reason: str = ""
    full: bool = False


class Worker:
    """What a process, or a thread of a cluster's worker, keeps from job to job."""

    def __init__(self, time_limit: float) -> None:
        self.renderer = Renderer(time_limit=time_limit)
        self._engines: dict[str, Engine] = {}

    def clip(self, job: Job) -> tuple[Clip, float]:
        """What is played, and how many seconds it lasts at least."""
        match job.source:
            case MidiSource(path):
                clip = clip_of(read_midi(path))
                if not clip.notes:
                    raise BridgeError(f"{path}: has no notes (drums are left out)")
                return clip, 0.0
            case Generated() as wanted:
                engine = self._engine(wanted)
                request = replace(request_of(wanted), sampling=_sampling(engine, wanted))
                clip = generate(engine, request)
                if not clip.notes:
                    raise BridgeError("the style played no note; try another seed or temperature")
                return clip, clip.beats[-1].time if clip.beats else 0.0

    def _engine(self, wanted: Generated) -> Engine:
        engine = self._engines.pop(wanted.style, None)
        if engine is None:
            style = choose_style(wanted.style)
            if style_fingerprint(style) != wanted.fingerprint:
                raise BridgeError(
                    f"style {wanted.style!r} here is not the one that the batch was planned with"
                )
            engine = Engine(style)
        self._engines[wanted.style] = engine
        while len(self._engines) > _MOST_ENGINES:
            self._engines.pop(next(iter(self._engines)))
        return engine


def _sampling(engine: Engine, wanted: Generated) -> SamplingParameters:
    sampling = engine.style.sampling
    if wanted.temperature is not None:
        sampling = replace(sampling, temperature=wanted.temperature)
    if wanted.top_p is not None:
        sampling = replace(sampling, top_p=wanted.top_p)
    return sampling


def work(job: Job, folder: Path, time_limit: float) -> Outcome:
    """Do one job, into `folder`. Whatever goes wrong with it is its outcome, never an exception."""
    worker = getattr(_kept, "worker", None)
    if worker is None or worker.renderer.time_limit != time_limit:
        worker = _kept.worker = Worker(time_limit)
    try:
        return Outcome(job.name, job.where, record=_done(job, folder, worker))
    except BridgeError as error:
        return _failed(job, str(error), error.__cause__)
    except OSError as error:
        return _failed(job, f"{error.filename or folder}: {error.strerror or error}", error)
    except MemoryError:
        return _failed(job, "there is not enough memory for this clip", None)
    except Exception as error:  # a batch goes on, and the list at its end says what this was
        return _failed(job, f"{type(error).__name__}: {error}", error)


def _failed(job: Job, reason: str, cause: BaseException | None) -> Outcome:
    full = isinstance(cause, OSError) and cause.errno in _FULL
    reason = "the disk is full; free some space and go on with --resume" if full else reason
    return Outcome(job.name, job.where, reason=" ".join(reason.split()), full=full)


def _done(job: Job, folder: Path, worker: Worker) -> dict[str, Any]:
    clip, least = worker.clip(job)
    output = job.output
    sound = worker.renderer.render(clip, job.instrument, job.effects, output, least=least)
    with _staged(folder) as stage:
        files: dict[str, Any] = {"midi": f"{job.name}.mid", "audio": [], "stems": {}}
        if isinstance(job.source, MidiSource):
            shutil.copyfile(job.source.path, stage / files["midi"])
        else:
            write_midi(clip, stage / files["midi"], tempo=job.source.tempo)
        for form in output.formats:
            files["audio"].append(_write(sound, sound.audio, stage, job.name, form))
        for part, stem in sound.stems.items():
            name = PART_NAMES[part]
            files["stems"][name] = [
                _write(sound, stem, stage, f"{job.name}.{name}", f) for f in output.formats
            ]
        if output.picture and clip.duration <= MAX_ROWS * ROW_SECONDS:
            files["picture"] = f"{job.name}.png"
            draw_duet(clip, stage / files["picture"], title=job.name)
        sizes = {path.name: path.stat().st_size for path in sorted(stage.iterdir())}
        record = {
            "name": job.name, "where": job.where, "key": job.key, **job.described(), "notes": len(clip.notes),
            "seconds": round(sound.seconds, 3), "loudness_lufs": _rounded(sound.loudness),
            "true_peak_dbtp": _rounded(sound.true_peak), "limited_db": round(sound.limited, 2),
            "files": files, "bytes": sizes,
        }  # fmt: skip
        (stage / "record").write_text(json.dumps(record), encoding="utf-8")
        record_path(folder, job.name).unlink(
            missing_ok=True
        )  # from here on what lies there is being replaced
        for name in sizes:
            (stage / name).replace(folder / name)
        (stage / "record").replace(record_path(folder, job.name))
    return record


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    stage = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder / HIDDEN))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write(sound: Sound, audio: Any, stage: Path, name: str, form: str) -> str:
    file = f"{name}.{FORMATS[form].suffix}"
    (stage / file).write_bytes(encode_below(audio, sound.sample_rate, form, sound.peak_limit))
    return file


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a clip lies."""
    return folder / HIDDEN / f"{name}.json"


def read_record(folder: Path, job: Job) -> dict[str, Any] | None:
    """The record of a job that need not be done again: same key, and all its files there in their sizes."""
    try:
        record = json.loads(record_path(folder, job.name).read_text(encoding="utf-8"))
        sizes: dict[str, int] = record["bytes"]
        same = record["key"] == job.key and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if same else None
