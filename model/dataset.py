"""Prepared pieces to training batches: views, augmentation, crops; every batch a function of its number.

A batch depends on nothing but (seed, step): a run that was killed goes on with the batches it would have
had. Pieces are dealt anew each epoch: which part the partner plays (a view), transposition (nearest
direction), tempo (0.9 to 1.1) and velocity are drawn for each piece and epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.config import PLAN_AFTER
from model.prepare import BEAT, CHORD, FORMAT, SPLITS
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import tokens as codec
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import QUALITY_NAMES
from plugin_bridge.music.clip import Beat
from plugin_bridge.music.events import Part
from plugin_bridge.music.harmony import NO_QUALITY, NO_ROOT
from plugin_bridge.music.rhythm import metrical_positions
from plugin_bridge.music.vocabulary import Kind

View = Literal["duet", "swap", "solo", "trade"]
Vary = Literal["freely", "dealt", "never"]

_NOTE = np.dtype([("start", "i8"), ("end", "i8"), ("pitch", "i2"), ("velocity", "i2"), ("part", "i2")])
_KEYS, _TEMPOS = 12, (0.9, 1.0, 1.1)
_LOWEST, _HIGHEST = 9, 120  # transposition may not lead beyond these


@dataclass(frozen=True, slots=True)
class Source:
    """A piece as stored: `tokens` uint16 [T] of both parts, `beats` and `chords` structured arrays."""

    name: str
    source: str
    dealt: str
    has_touch: bool
    tokens: codec.Tokens
    beats: NDArray[np.void]
    chords: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Example:
    """A piece ready for the network, arrays over its T tokens (bos first, eos last).

    `metre` and `pointer` tell of the time after each token; `pointer` indexes `chords` (-1: none).
    `owner` is the part whose event a token leads to; `touch` is False where velocity was not played.
    """

    tokens: NDArray[np.uint16]
    metre: NDArray[np.uint8]
    pointer: NDArray[np.int32]
    owner: NDArray[np.uint8]
    touch: NDArray[np.bool_]
    chords: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Variation:
    """How a piece is varied: semitones, tempo factor on all times, steps of velocity, view."""

    view: View = "duet"
    semitones: int = 0
    stretch: float = 1.0
    velocity_steps: int = 0
    trade_seed: int = 0


class Prepared:
    """A prepared folder. Raises BridgeError when it is missing, damaged or of another vocabulary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            rows, shards = self.index["pieces"], {}
            if self.index["format"] != FORMAT or self.index["qualities"] != list(QUALITY_NAMES):
                raise BridgeError(
                    f"{folder}: was prepared by another version; run plugin-bridge prepare again"
                )
            if self.index["vocabulary"] != v.fingerprint():
                raise BridgeError(
                    f"{folder}: was prepared with another vocabulary; run plugin-bridge prepare again"
                )
            for shard in sorted({row["shard"] for row in rows}):
                path = folder / f"shard-{shard:03d}"
                shards[shard] = {
                    name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
                }
            for row in rows:
                _check_row(row, shards[row["shard"]])
            self.sources: dict[str, dict[str, object]] = self.index["sources"]
        except FileNotFoundError as error:
            raise BridgeError(
                f"{folder}: is not a prepared folder (no {Path(error.filename).name})"
            ) from error
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            raise BridgeError(f"{folder}: is damaged ({error!r}); run plugin-bridge prepare again") from error
        self._rows = rows
        self._shards = shards

    def split(self, name: str) -> list[Source]:
        """The pieces of `train`, `valid` or `test`, in a fixed order."""
        return [self._load(row) for row in self._rows if row["split"] == name]

    def pieces(self) -> list[Source]:
        """All pieces, whatever their split, in a fixed order."""
        return [self._load(row) for row in self._rows]

    def _load(self, row: dict[str, Any]) -> Source:
        shard = self._shards[row["shard"]]
        arrays = {key: np.array(shard[key][slice(*row[key])]) for key in _ARRAYS}
        return Source(
            str(row["name"]), str(row["source"]), str(row["dealt"]), bool(row["has_touch"]),
            arrays["tokens"], arrays["beats"], arrays["chords"],
        )  # fmt: skip


_ARRAYS = {"tokens": np.dtype("u2"), "beats": BEAT, "chords": CHORD}


def _check_row(row: dict[str, Any], shard: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError or LookupError where a row of the index does not fit its shard."""
    if row["split"] not in SPLITS or not {"name", "source", "dealt", "has_touch"} <= row.keys():
        raise ValueError(f"piece {row.get('name')} is not described in full")
    for key, dtype in _ARRAYS.items():
        start, end = row[key]
        if not 0 <= start <= end <= len(shard[key]) or shard[key].dtype != dtype:
            raise ValueError(f"the {key} of piece {row['name']} are not in its shard")


def views_of(source: Source) -> tuple[View, ...]:
    """The views a piece offers; a single line can only be the partner's, whole or in turns."""
    return ("solo", "trade") if source.dealt == "solo" else ("duet", "swap", "solo", "trade")


def build(source: Source, variation: Variation) -> Example:
    """One piece, varied, as an `Example`."""
    rows = codec.decode(source.tokens)
    notes, pedals = _notes(rows), rows[rows["kind"] == Kind.PEDAL].copy()
    semitones = _possible(notes, variation.semitones)
    notes["pitch"] += semitones
    notes["velocity"] = np.clip(notes["velocity"] + variation.velocity_steps, 0, v.VELOCITY_BINS - 1)
    for field in ("start", "end"):
        notes[field] = np.round(notes[field] * variation.stretch)
    pedals["tick"] = np.round(pedals["tick"] * variation.stretch)
    _assign_parts(notes, pedals, variation)
    varied = _rows(notes, pedals)
    body = codec.encode(varied, velocities=source.has_touch)
    tokens = np.concatenate(([v.BOS], body, [v.EOS])).astype(np.uint16)
    chords = source.chords.copy()
    chords["start"] *= variation.stretch
    for field in ("root", "bass"):
        known = chords[field] != NO_ROOT
        chords[field] = np.where(known, (chords[field].astype(np.int64) + semitones) % 12, NO_ROOT)
    beats = [Beat(b["time"] * variation.stretch, *b.tolist()[1:]) for b in source.beats]
    metre, pointer = annotate(tokens, beats, chords)
    return Example(tokens, metre, pointer, owners(tokens), np.full(len(tokens), source.has_touch), chords)


def annotate(
    tokens: NDArray[np.integer], beats: Sequence[Beat], chords: NDArray[np.void]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Metrical position and chord pointer of the time after each token, [T] each."""
    seconds = codec.ticks(tokens) * v.TICK_SECONDS
    metre = metrical_positions(seconds, beats)
    # a chord is written a little before or after the beat it belongs to: half a tick of grace
    pointer = (
        np.searchsorted(chords["start"], seconds + v.TICK_SECONDS / 2, side="right").astype(np.int32) - 1
    )
    return metre, pointer


def owners(tokens: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The part whose event each token leads to, uint8 [T]: a shift belongs to the event after it."""
    wide = tokens.astype(np.int64)
    is_part = (wide >= v.PART_BASE) & (wide < v.PEDAL_BASE)
    part = np.full(len(wide), int(Part.PARTNER))
    index = np.maximum.accumulate(np.where(is_part, np.arange(len(wide)), -1))
    part = np.where(index >= 0, wide[np.maximum(index, 0)] - v.PART_BASE, part)
    is_event = (wide >= v.PART_BASE) & ~((wide >= v.SHIFT_BASE) & (wide < v.VELOCITY_BASE))
    backwards = np.where(is_event, np.arange(len(wide)), len(wide) - 1)
    nearest = np.minimum.accumulate(backwards[::-1])[::-1]
    return part[nearest].astype(np.uint8)


def _notes(rows: codec.Rows) -> NDArray[np.void]:
    """Pair note-ons and note-offs (which alternate on each key) into notes."""
    played = rows[(rows["kind"] == Kind.NOTE_ON) | (rows["kind"] == Kind.NOTE_OFF)]
    order = np.lexsort((np.arange(len(played)), played["value"], played["part"]))
    played = played[order]
    (on,) = np.nonzero(played["kind"] == Kind.NOTE_ON)
    on = on[on + 1 < len(played)]
    notes = np.zeros(len(on), _NOTE)
    notes["start"], notes["end"] = played["tick"][on], played["tick"][on + 1]
    for field, name in (("pitch", "value"), ("velocity", "velocity"), ("part", "part")):
        notes[field] = played[name][on]
    return notes


def _rows(notes: NDArray[np.void], pedals: NDArray[np.void]) -> codec.Rows:
    """Notes and pedals as rows in canonical order; on one key of one part a re-strike ends the old note."""
    notes = notes[np.lexsort((notes["end"], notes["start"], notes["pitch"], notes["part"]))]
    notes["end"] = np.maximum(notes["end"], notes["start"] + 1)
    same = (notes["pitch"][1:] == notes["pitch"][:-1]) & (notes["part"][1:] == notes["part"][:-1])
    clipped = np.minimum(notes["end"][:-1], notes["start"][1:])
    notes["end"][:-1] = np.where(same, clipped, notes["end"][:-1])
    notes = notes[notes["end"] > notes["start"]]
    count = len(notes)
    rows = np.zeros(2 * count + len(pedals), codec.ROW)
    rows["tick"] = np.concatenate((notes["start"], notes["end"], pedals["tick"]))
    rows["kind"] = np.repeat([Kind.NOTE_ON, Kind.NOTE_OFF, Kind.PEDAL], [count, count, len(pedals)])
    rows["value"] = np.concatenate((notes["pitch"], notes["pitch"], pedals["value"]))
    rows["velocity"][:count] = notes["velocity"]
    rows["part"] = np.concatenate((notes["part"], notes["part"], pedals["part"]))
    rank = np.array([0, 0, 0, 2, 0])[rows["kind"]] + (rows["kind"] == Kind.PEDAL)
    return rows[np.lexsort((rows["value"], rows["part"], rank, rows["tick"]))]


def _possible(notes: NDArray[np.void], semitones: int) -> int:
    """The transposition itself, or in the other direction by an octave less, or none: what keeps the notes
    on the keyboard."""
    if len(notes) == 0:
        return 0
    low, high = int(notes["pitch"].min()), int(notes["pitch"].max())
    for candidate in (semitones, semitones - 12 if semitones > 0 else semitones + 12):
        if (low + candidate >= _LOWEST or candidate >= 0) and (
            high + candidate <= _HIGHEST or candidate <= 0
        ):
            return candidate
    return 0


def _assign_parts(notes: NDArray[np.void], pedals: NDArray[np.void], variation: Variation) -> None:
    """Give notes and pedals their parts for the view, in place."""
    view = variation.view
    if view == "duet":
        return
    if view == "solo":
        notes["part"] = pedals["part"] = Part.PARTNER
    elif view == "swap":
        notes["part"], pedals["part"] = 1 - notes["part"], 1 - pedals["part"]
    else:
        end = int(notes["end"].max()) if len(notes) else 0
        rng = np.random.default_rng(variation.trade_seed)
        turns = np.cumsum(rng.uniform(200, 1000, size=end // 200 + 2))
        notes["part"] = np.searchsorted(turns, notes["start"], side="right") % 2
        # a pedal stays with the foot that pressed it: its release goes where its press went
        order = np.argsort(pedals["tick"], kind="stable")
        press = np.maximum.accumulate(np.where(pedals["value"][order] == 1, np.arange(len(order)), 0))
        pedals["part"][order] = np.searchsorted(turns, pedals["tick"][order][press], side="right") % 2


@dataclass(frozen=True, slots=True)
class Pool:
    """One epoch's pieces end to end: arrays over all tokens, and all chords with a gap between pieces."""

    tokens: NDArray[np.uint16]
    metre: NDArray[np.uint8]
    pointer: NDArray[np.int32]
    owner: NDArray[np.uint8]
    touch: NDArray[np.bool_]
    chords: NDArray[np.void]


def build_pool(
    sources: Sequence[Source],
    seed: int,
    epoch: int,
    mix: Mapping[str, float] | None = None,
    vary: Vary = "freely",
) -> Pool:
    """The pool of an epoch: pieces in a new order, each with a new view and variation. `mix` gives the
    copies of each piece of a source (1 where it says nothing); a fraction is a probability.

    `vary`: keys and tempos drawn "freely"; "dealt", so that in 36 epochs a piece is met once in each of 12
    keys at each of 3 tempos; or "never", nor its touch.
    """
    rng = np.random.default_rng([seed, epoch])
    wanted = np.array([(mix or {}).get(source.source, 1.0) for source in sources])
    copies = np.floor(wanted + rng.random(len(sources))).astype(np.int64)
    if (wanted < 0).any() or not copies.any():
        raise BridgeError("the mix leaves no pieces: give each source 0 or more, and one of them 1 or more")
    order = rng.permutation(np.repeat(np.arange(len(sources)), copies))
    jobs = []
    for index in order.tolist():
        options = views_of(sources[index])
        weights = np.array([{"duet": 3.0, "swap": 1.5, "solo": 3.0, "trade": 1.5}[view] for view in options])
        view = options[int(rng.choice(len(options), p=weights / weights.sum()))]
        trade_seed = int(rng.integers(2**31))
        if vary == "never":
            jobs.append((sources[index], Variation(view, trade_seed=trade_seed)))
            continue
        semitones, stretch = int(rng.integers(-5, 7)), float(rng.uniform(0.9, 1.1))
        if vary == "dealt":
            hand = np.random.default_rng([seed, index]).permutation(_KEYS * len(_TEMPOS))
            card = int(hand[epoch % len(hand)])
            semitones, stretch = card % _KEYS - 5, _TEMPOS[card // _KEYS]
        touch = int(rng.integers(-3, 4))
        jobs.append((sources[index], Variation(view, semitones, stretch, touch, trade_seed)))
    return concatenate([build(*job) for job in jobs])


def concatenate(examples: Sequence[Example]) -> Pool:
    """Join examples; pointers are moved into the joined chord list."""
    gap = np.zeros(16, CHORD)
    gap["root"], gap["bass"], gap["quality"] = NO_ROOT, NO_ROOT, NO_QUALITY
    chords, pointers, base = [], [], 0
    for example in examples:
        pointers.append(np.where(example.pointer >= 0, example.pointer + base, -1).astype(np.int32))
        if len(example.chords):
            chords += [example.chords, gap]
            base += len(example.chords) + len(gap)
    return Pool(
        np.concatenate([e.tokens for e in examples]),
        np.concatenate([e.metre for e in examples]),
        np.concatenate(pointers),
        np.concatenate([e.owner for e in examples]),
        np.concatenate([e.touch for e in examples]),
        np.concatenate(chords) if chords else np.zeros(0, CHORD),
    )


PLAN_LENGTH = 96
"""Chords that one crop can hold; tokens past them see no plan."""


@dataclass(frozen=True, slots=True)
class Batch:
    """int64 arrays: `tokens`, `metre`, `pointer`, `targets` [B, T]; `weight` float32 [B, T]; `touch` bool
    [B, T]; `chords` [3, B, P] (root, quality, bass); `horizon` [B], how many chords ahead may be seen."""

    tokens: NDArray[np.int64]
    metre: NDArray[np.int64]
    pointer: NDArray[np.int64]
    targets: NDArray[np.int64]
    weight: NDArray[np.float32]
    touch: NDArray[np.bool_]
    chords: NDArray[np.int64]
    horizon: NDArray[np.int64]


def crop_batch(
    pool: Pool, starts: NDArray[np.integer], length: int, player_weight: float,
    plan_mode: NDArray[np.integer], metre_known: NDArray[np.bool_],
) -> Batch:  # fmt: skip
    """Crops [B] of `length` tokens from `starts`. `plan_mode` [B]: 0 the whole plan, 1 only chords up to
    now, 2 no plan. The weight of the player's tokens is `player_weight`, of the partner's 1."""
    at = starts[:, None] + np.arange(length + 1)
    window = pool.tokens[at].astype(np.int64)
    pointer = pool.pointer[at[:, :-1]].astype(np.int64)
    metre = pool.metre[at[:, :-1]].astype(np.int64) * metre_known[:, None]
    known = pointer >= 0
    first = np.where(known.any(1), np.where(known, pointer, np.iinfo(np.int64).max).min(1) - 4, 0)
    first = np.maximum(first, 0)
    if len(pool.chords):
        rows = pool.chords[np.minimum(first[:, None] + np.arange(PLAN_LENGTH), len(pool.chords) - 1)]
        chords = np.stack([rows["root"], rows["quality"], rows["bass"]]).astype(np.int64)
    else:
        chords = np.zeros((3, len(starts), PLAN_LENGTH), np.int64)
        chords[0], chords[1], chords[2] = NO_ROOT, NO_QUALITY, NO_ROOT
    local = np.where(known & (plan_mode[:, None] != 2), pointer - first[:, None], -1)
    local = np.where(local < PLAN_LENGTH - 12, local, -1)
    horizon = np.where(plan_mode == 1, 0, PLAN_AFTER)
    owner = pool.owner[at[:, 1:]]
    weight = np.where(owner == Part.PARTNER, 1.0, player_weight).astype(np.float32)
    return Batch(window[:, :-1], metre, local, window[:, 1:], weight, pool.touch[at[:, 1:]], chords, horizon)


def training_batches(
    pool: Pool, seed: int, epoch: int, batch: int, length: int, player_weight: float
) -> Iterator[Batch]:
    """All batches of an epoch, in order. Batch i of epoch e is the same in every run with this seed."""
    rng = np.random.default_rng([seed, epoch, 1])
    offset = int(rng.integers(length))
    starts = np.arange(offset, len(pool.tokens) - length - 1, length)
    rng.shuffle(starts)
    for first in range(0, len(starts) - batch + 1, batch):
        modes = rng.choice(3, size=batch, p=(0.6, 0.2, 0.2))
        known = rng.random(batch) < 0.85
        yield crop_batch(pool, starts[first : first + batch], length, player_weight, modes, known)


def batches_in(pool_tokens: int, batch: int, length: int) -> int:
    """A lower bound of the batches an epoch yields."""
    return max((pool_tokens - 2 * length - 1) // length // batch, 0)
