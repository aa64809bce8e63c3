"""Chord symbols: parsed as musicians write them, printed back, and reduced to what the model is told.

Read are lead-sheet symbols (`Cmaj7`, `Dm7b5`, `G7alt`, `Bb6/9`, `F#/A#`, `N.C.`), the usual variants
(`C-7`, `CM7`, `Co7`, `C^`), and Harte's syntax (`C:min7/b3`; Harte et al., ISMIR 2005).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from plugin_bridge.errors import BridgeError

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_ACCIDENTALS = {"b": -1, "#": 1}
_DEGREES = {1: 0, 2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 7: 11, 9: 2, 11: 5, 13: 9}

QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "mmaj7": (0, 3, 7, 11),
    "m7b5": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "aug7": (0, 4, 8, 10),
    "augmaj7": (0, 4, 8, 11),
    "7sus4": (0, 5, 7, 10),
    "5": (0, 7),
}
"""Base qualities in a fixed order (the model's ids); the values are semitones above the root."""

QUALITY_NAMES = tuple(QUALITIES)


_OPEN_QUALITIES = ("6", "m6", "7", "m7", "maj7", "mmaj7", "m7b5", "7sus4")
"""Qualities after which an alteration is written without brackets."""


def _pitch_class(name: str) -> int:
    return (_LETTERS[name[0]] + sum(_ACCIDENTALS[sign] for sign in name[1:])) % 12


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord as written: `root` and `bass` are spelled names, `quality` a key of `QUALITIES`,
    `tensions` what is added or altered above it (`b9`, `#11`, `13`, `add9`, `alt`)."""

    root: str
    quality: str = ""
    tensions: tuple[str, ...] = ()
    bass: str | None = None

    @property
    def root_class(self) -> int:
        """The root's pitch class, 0 (C) to 11."""
        return _pitch_class(self.root)

    @property
    def bass_class(self) -> int:
        """The pitch class of the lowest note."""
        return _pitch_class(self.bass) if self.bass else self.root_class

    @property
    def quality_id(self) -> int:
        """Index of the quality in `QUALITY_NAMES`, as the model is told it."""
        return QUALITY_NAMES.index(self.quality)

    @property
    def pitch_classes(self) -> frozenset[int]:
        """The chord tones as pitch classes, tensions and bass included."""
        steps = set(QUALITIES[self.quality])
        for tension in self.tensions:
            if tension == "alt":
                steps |= {1, 3, 6, 8}
                steps.discard(7)
                continue
            step = _degree(tension.removeprefix("add"))
            if tension in ("b5", "#5"):
                steps.discard(7)
            steps.add(step)
        return frozenset((self.root_class + step) % 12 for step in steps) | {self.bass_class}

    def transposed(self, semitones: int) -> Chord:
        """The chord `semitones` higher, respelled with the common names."""
        if semitones % 12 == 0:
            return self
        bass = None if self.bass is None else _NAMES[(self.bass_class + semitones) % 12]
        return replace(self, root=_NAMES[(self.root_class + semitones) % 12], bass=bass)

    def __str__(self) -> str:
        text = self.root + self.quality
        if self.quality == "6" and self.tensions == ("add9",):
            text = f"{self.root}6/9"
        elif self.tensions:
            first, others = self.tensions[0], "".join(self.tensions[1:])
            if first in ("9", "11", "13") and self.quality in ("7", "m7", "maj7", "mmaj7"):
                text = f"{self.root}{self.quality[:-1]}{first}{others}"
            elif self.quality not in _OPEN_QUALITIES and not first.startswith("add"):
                text += f"({first}{others})"
            else:
                text += first + others
        return f"{text}/{self.bass}" if self.bass else text


def _degree(text: str) -> int:
    accidental = sum(_ACCIDENTALS[sign] for sign in text if sign in "b#")
    return (_DEGREES[int(text.lstrip("b#"))] + accidental) % 12


_NO_CHORD = {"N", "N.C.", "NC", "N.C", "X", "-"}
_ROOT = re.compile(r"([A-Ga-g])([b#♭♯]{0,2})")
_SPELLINGS = (
    ("♭", "b"),
    ("♯", "#"),
    ("Δ7", "maj7"),
    ("Δ", "maj7"),
    ("△7", "maj7"),
    ("△", "maj7"),
    ("^7", "maj7"),
    ("^", "maj7"),
    ("ø", "hdim"),
    ("°", "dim"),
    ("mMaj", "mmaj"),
)
_TENSION = re.compile(r"add(?:[b#]?(?:2|4|6|9|11|13))|alt|[b#](?:5|9|11|13)|(?:11|13|9)")
_BASES: tuple[tuple[str, str], ...] = (
    # pattern, quality; the first that matches at the start wins
    (r"(?:hdim7?|h7?|(?:m|mi|min|-)7\(?b5\)?)", "m7b5"),
    (r"(?:dim|o)7", "dim7"),
    (r"(?:dim|o)", "dim"),
    (r"(?:m|min|-)\(?(?:maj|ma|M|j)(?=7|9|11|13)", "mmaj7"),
    (r"(?:min|mi|m|-)(?!aj|a[791])(?=7|9|11|13)", "m7"),
    (r"(?:min|mi|m|-)(?!aj|a[791])6", "m6"),
    (r"(?:min|mi|m|-)(?!aj|a[791])", "m"),
    (r"(?:maj|ma|M|j)(?=7|9|11|13)", "maj7"),
    (r"(?:maj|ma|M|j)6", "6"),
    (r"(?:aug|\+)maj7", "augmaj7"),
    (r"(?:aug|\+)(?=7|9)", "aug7"),
    (r"(?:7|9)(?:\+|aug)", "aug7"),
    (r"(?:aug|\+)", "aug"),
    (r"(?:7|9|13)sus4?|sus4?(?:add7|\(b7(?:,9)?\))", "7sus4"),
    (r"sus2", "sus2"),
    (r"sus4?", "sus4"),
    (r"(?:maj|ma|M|j)$", ""),
    (r"(?=7|9|11|13)", "7"),
    (r"6", "6"),
    (r"5$", "5"),
    (r"(?:maj|ma|M|j)", ""),
    (r"", ""),
)
_BASES_COMPILED = tuple((re.compile(pattern), quality) for pattern, quality in _BASES)


def parse_chord(symbol: str) -> Chord | None:
    """The chord that `symbol` names; None for "no chord" (`N.C.`).

    Raises BridgeError with the symbol in its message when it cannot be read.
    """
    text = symbol.strip()
    if text.upper() in _NO_CHORD:
        return None
    problem = BridgeError(
        f"chord symbol {symbol!r} is not understood: write it like Cmaj7, Dm7b5, G7alt or F#/A#"
    )
    for old, new in _SPELLINGS:
        text = text.replace(old, new)
    match = _ROOT.match(text)
    if match is None or len(text) > 32:
        raise problem
    root = match[1].upper() + match[2]
    rest = text[match.end() :].removeprefix(":")
    rest, bass = _split_bass(rest, root, problem)
    for pattern, quality in _BASES_COMPILED:
        base = pattern.match(rest)
        if base is not None:
            return Chord(root, *_tensions(rest[base.end() :], quality, problem), bass)
    raise problem


def _split_bass(rest: str, root: str, problem: BridgeError) -> tuple[str, str | None]:
    """Take a slash bass off: a note name, or a degree as in Harte's syntax. `6/9` is no bass."""
    head, slash, tail = rest.rpartition("/")
    if not slash or (tail == "9" and head.endswith("6")):
        return rest.replace("6/9", "69"), None
    if (note := _ROOT.fullmatch(tail)) is not None:
        return head.replace("6/9", "69"), note[1].upper() + note[2]
    if re.fullmatch(r"[b#]{0,2}(?:[1-7]|9|11|13)", tail):
        if tail == "1":
            return head, None
        return head, _NAMES[(_pitch_class(root) + _degree(tail)) % 12]
    raise problem


def _tensions(rest: str, quality: str, problem: BridgeError) -> tuple[str, tuple[str, ...]]:
    """What follows the base: an extension number implies the seventh, the rest are tensions."""
    rest = re.sub(r"[(),\s]", "", rest)
    found: list[str] = []
    if quality in ("7", "m7", "maj7", "mmaj7", "aug7", "m7b5", "7sus4"):
        extension = re.match(r"(7|9|11|13)", rest)
        if extension:
            rest = rest[extension.end() :]
            if extension[1] != "7":
                found.append(extension[1])
    if quality in ("6", "m6") and rest.startswith("9"):
        found, rest = ["add9"], rest[1:]
    if quality == "7" and re.match(r"sus4?", rest):
        quality, rest = "7sus4", re.sub(r"^sus4?", "", rest)
    if quality in ("", "m") and rest.startswith(("2", "4")):
        found, rest = [f"add{ {'2': '9', '4': '11'}[rest[0]] }"], rest[1:]
    while rest:
        tension = _TENSION.match(rest)
        if tension is None:
            raise problem
        found.append(tension[0])
        rest = rest[tension.end() :]
    if "b5" in found and quality == "m7":
        quality, found = "m7b5", [t for t in found if t != "b5"]
    return quality, tuple(found)


def parse_progression(text: str) -> list[Chord | None]:
    """Symbols separated by spaces, commas or bar lines, in order. Raises BridgeError when empty."""
    symbols = [word for word in re.split(r"[\s,|]+", text) if word]
    if not symbols:
        raise BridgeError('the chord progression is empty: write symbols like "Cmaj7 Dm7 G7 Cmaj7"')
    return [parse_chord(symbol) for symbol in symbols]
