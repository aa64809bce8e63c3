"""`plugin-bridge prepare`: folders and zips of MIDI to sharded token arrays.

A prepared folder holds `index.json` (format, vocabulary hash, sources with licences, one row a piece)
and shards of three arrays each: `tokens` (uint16), `beats` and `chords` (structured, times in seconds).
A piece is a range of each. Metrical positions and chord pointers are functions of these
(`model.dataset.annotate`), computed when a piece is loaded, because tempo is varied in training.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import signal
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from model.arrangement import Piece, read_piece, seconds_of
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import swap_folder
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import QUALITY_NAMES
from plugin_bridge.music.clip import ChordSpan
from plugin_bridge.music.harmony import chord_ids

FORMAT = 1
SPLITS = ("train", "valid", "test")
BEAT = np.dtype([("time", "f8"), ("number", "u1"), ("beats_in_bar", "u1"), ("sixteenths", "u1")])
CHORD = np.dtype([("start", "f8"), ("root", "u1"), ("quality", "u1"), ("bass", "u1")])

_SHARD_TOKENS = 4_000_000
_LARGEST_ZIP = 4 * 2**30
_SUFFIXES = (".mid", ".midi", ".smf", ".kar")
_SIDECARS = (".chords.txt", ".chords.tsv", ".beats.txt")


@dataclass(frozen=True, slots=True)
class Summary:
    """What was read and what was skipped; `skipped` holds (file, reason)."""

    pieces: int
    notes: int
    tokens: int
    hours: float
    by_source: dict[str, int]
    by_split: dict[str, int]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    name: str
    source: str


def chord_row(span: ChordSpan) -> tuple[float, int, int, int]:
    """A chord span as a row of `CHORD`."""
    return span.start, *chord_ids(span.chord)


def recording_of(name: str) -> str:
    """The recording a file belongs to, so that clips and movements of one are never split apart."""
    return re.sub(r"_(?:clip|mov|part|pt)_?\d+$", "", name.lower())


def split_of(name: str, valid: float = 0.05, test: float = 0.05) -> str:
    """`train`, `valid` or `test`, by a hash of the recording's name: stable, whatever else there is."""
    digest = hashlib.sha256(recording_of(name).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < test else "valid" if share < test + valid else "train"


def prepare(
    inputs: Sequence[Path],
    output: Path,
    *,
    exclude: frozenset[str] = frozenset(),
    licences: dict[str, str] | None = None,
    licence: str = "not stated",
    held_out: tuple[float, float] = (0.05, 0.05),
    cluster: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[Iterator[tuple[str, Piece | str]], int], Iterator[tuple[str, Piece | str]]]
    | None = None,
) -> Summary:
    """Read every MIDI file under `inputs` (files, folders, zips) and write the prepared folder `output`.

    `exclude` holds file names (any folder) to leave out; `licences` maps a source (the name of a zip or
    folder) to its licence, `licence` is that of all others. `cluster` is the address of a `dask.distributed`
    scheduler whose workers read the files (which they must see under the same paths). `output` appears whole
    or not at all; an older one is replaced only when the new one is complete. Raises BridgeError when an
    input is missing or nothing could be read.
    """
    licences = licences or {}
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists() and (
        not output.is_dir() or (not (output / "index.json").exists() and any(output.iterdir()))
    ):
        raise BridgeError(f"{output}: exists and is no prepared folder; choose another with -o")
    excluded = {PurePosixPath(entry).name for entry in exclude}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".prepare-", dir=output.parent)))
        scratch = work if cluster else None  # where the workers of a cluster can see what was in a zip
        found = (c for path in inputs for c in _find(path.resolve(), stack, scratch))
        candidates = [c for c in found if c.path.name not in excluded]
        pool = executor or stack.enter_context(_cluster(cluster) if cluster else _readers())
        results = zip(candidates, pool.map(_read, candidates, chunksize=8), strict=True)
        named = ((c.source, piece) for c, piece in results)
        writer = _Writer(work / "data", licences, licence, held_out)
        seen: set[bytes] = set()
        for index, (source, piece) in enumerate(progress(named, len(candidates)) if progress else named):
            writer.add(candidates[index], source, piece, seen)
        summary = writer.finish()
        if summary.pieces == 0:
            reason = f" (first: {summary.skipped[0][1]})" if summary.skipped else ""
            raise BridgeError(f"no usable MIDI file among {len(candidates)} found in the inputs{reason}")
        swap_folder(work / "data", output, work)
    return summary


@contextmanager
def _readers() -> Iterator[Executor]:
    """Processes that read files. An interrupt is for the parent, and drops what is still waiting."""
    pool = ProcessPoolExecutor(initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """The workers of a `dask.distributed` scheduler, as an executor."""
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise BridgeError("--cluster needs dask: python -m pip install 'plugin-bridge[cluster]'") from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise BridgeError(
            f"{address}: no dask scheduler answers there ({error}); start one with 'dask scheduler'"
        ) from error
    try:
        with client.get_executor() as pool:
            yield pool
    finally:
        client.close()


def _find(path: Path, stack: ExitStack, scratch: Path | None) -> Iterator[_Candidate]:
    """The MIDI files in a file, folder or zip, in a stable order."""
    if not path.exists():
        raise BridgeError(f"{path}: there is no such file or folder")
    if path.is_file() and path.suffix.lower() == ".zip":
        folder = stack.enter_context(_unzipped(path, scratch))
        source = path.stem
    elif path.is_file():
        yield _Candidate(path, path.stem, path.parent.resolve().name)
        return
    else:
        folder, source = path, path.resolve().name
    for found in sorted(folder.rglob("*")):
        if found.suffix.lower() in _SUFFIXES and found.is_file():
            yield _Candidate(found, found.stem, source)


@contextmanager
def _unzipped(path: Path, scratch: Path | None) -> Iterator[Path]:
    """MIDI files and sidecars of a zip in a temporary folder (in `scratch`); names inside may not lead out
    of it."""
    with tempfile.TemporaryDirectory(prefix="plugin-bridge-", dir=scratch) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                wanted = [
                    info
                    for info in archive.infolist()
                    if info.filename.lower().endswith(_SUFFIXES + _SIDECARS) and not info.is_dir()
                ]
                if sum(info.file_size for info in wanted) > _LARGEST_ZIP:
                    raise BridgeError(f"{path}: unpacks to more than {_LARGEST_ZIP >> 30} GB; split it")
                for info in wanted:
                    archive.extract(info, folder)
        # Damage shows in the headers (BadZipFile) or in the packed data (zlib.error, EOFError); what is
        # encrypted, or packed in a way that zipfile does not know, is a RuntimeError.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise BridgeError(f"{path}: not a readable zip ({error})") from error
        except OSError as error:
            raise BridgeError(f"{path}: could not be unpacked ({error})") from error
        yield Path(folder)


def _read(candidate: _Candidate) -> Piece | str:
    try:
        return read_piece(candidate.path, candidate.name)
    except BridgeError as error:
        return str(error).removeprefix(f"{candidate.path}: ")
    except (OSError, ValueError, csv.Error) as error:
        return f"a file beside it cannot be read ({error})"


class _Writer:
    """Collects pieces into shards; `finish` writes the index last."""

    def __init__(
        self, folder: Path, licences: dict[str, str], licence: str, held_out: tuple[float, float]
    ) -> None:
        self.folder = folder
        self.licences, self.licence = licences, licence
        self.held_out = held_out
        self.rows: list[dict[str, Any]] = []
        self.skipped: list[tuple[str, str]] = []
        self.hours = 0.0
        self.shards = 0
        self._clear()
        folder.mkdir(parents=True)

    def _clear(self) -> None:
        self.tokens: list[np.ndarray] = []
        self.beats: list[np.ndarray] = []
        self.chords: list[np.ndarray] = []

    def add(self, candidate: _Candidate, source: str, piece: Piece | str, seen: set[bytes]) -> None:
        if isinstance(piece, str):
            self.skipped.append((candidate.path.name, piece))
            return
        digest = hashlib.sha256(piece.tokens.tobytes()).digest()
        if digest in seen:
            self.skipped.append((candidate.path.name, "the same music as a file before it"))
            return
        seen.add(digest)
        beats = np.array([(b.time, b.number, b.beats_in_bar, b.sixteenths) for b in piece.beats], BEAT)
        chords = np.array([chord_row(span) for span in piece.chords], CHORD)
        row = {
            "name": piece.name,
            "source": source,
            "split": split_of(piece.name, *self.held_out),
            "dealt": piece.dealt,
            "has_touch": piece.has_touch,
            "notes": piece.notes,
            "shard": self.shards,
            "tokens": self._extend(self.tokens, piece.tokens),
            "beats": self._extend(self.beats, beats),
            "chords": self._extend(self.chords, chords),
        }
        self.rows.append(row)
        self.hours += seconds_of(piece.tokens) / 3600
        if sum(map(len, self.tokens)) >= _SHARD_TOKENS:
            self._flush()

    @staticmethod
    def _extend(arrays: list[np.ndarray], array: np.ndarray) -> tuple[int, int]:
        start = sum(map(len, arrays))
        arrays.append(array)
        return start, start + len(array)

    def _flush(self) -> None:
        if self.tokens:
            shard = self.folder / f"shard-{self.shards:03d}"
            shard.mkdir()
            for name, arrays in (("tokens", self.tokens), ("beats", self.beats), ("chords", self.chords)):
                np.save(shard / f"{name}.npy", np.concatenate(arrays), allow_pickle=False)
            self.shards += 1
            self._clear()

    def finish(self) -> Summary:
        self._flush()
        sources = Counter(str(row["source"]) for row in self.rows)
        if not {"train", "valid"} <= {row["split"] for row in self.rows}:
            self._hold_out_some()
        splits = Counter(str(row["split"]) for row in self.rows)
        notes = sum(row["notes"] for row in self.rows)
        tokens = sum(row["tokens"][1] - row["tokens"][0] for row in self.rows)
        summary = Summary(
            len(self.rows),
            notes,
            tokens,
            round(self.hours, 2),
            dict(sources),
            dict(splits),
            tuple(self.skipped),
        )
        index = {
            "format": FORMAT,
            "vocabulary": v.fingerprint(),
            "qualities": list(QUALITY_NAMES),
            "sources": {
                name: {"pieces": n, "licence": self.licences.get(name, self.licence)}
                for name, n in sources.items()
            },
            "summary": asdict(summary),
            "pieces": self.rows,
        }
        (self.folder / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
        return summary

    def _hold_out_some(self) -> None:
        """With few pieces the hash may hold out none, or all: then only the last recordings are held out."""
        if all(row["split"] != "train" for row in self.rows):
            for row in self.rows:
                row["split"] = "train"
        recordings = sorted({recording_of(str(row["name"])) for row in self.rows})
        if len(recordings) < 3:
            return
        held = recordings[-max(1, len(recordings) // 10) :]
        for row in self.rows:
            if recording_of(str(row["name"])) in held:
                row["split"] = "valid"
