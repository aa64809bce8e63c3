"""FL Studio's piano roll as its scripts know it: a score with state, and the module `flpianoroll`."""

from __future__ import annotations

import ast
import builtins
import types
from typing import Any


class Note:
    def __init__(self) -> None:
        self.number, self.time, self.length = 60, 0, 0
        self.velocity, self.pan, self.color = 0.8, 0.5, 0

    def clone(self) -> Note:
        copy = Note()
        copy.__dict__.update(self.__dict__)
        return copy


class Score:
    """Notes go in and come out as copies, as in FL."""

    def __init__(self, ppq: int) -> None:
        self.PPQ = ppq
        self._notes: list[Note] = []

    @property
    def noteCount(self) -> int:  # noqa: N802
        return len(self._notes)

    def addNote(self, note: Note) -> None:  # noqa: N802
        assert isinstance(note.number, int)
        assert 0 <= note.number <= 127
        assert isinstance(note.time, int)
        assert note.time >= 0
        assert isinstance(note.length, int)
        assert note.length > 0
        assert 0 <= note.velocity <= 1
        self._notes.append(note.clone())

    def getNote(self, index: int) -> Note:  # noqa: N802
        return self._notes[index]

    def deleteNote(self, index: int) -> None:  # noqa: N802
        del self._notes[index]

    def clearNotes(self, everything: bool = False) -> None:  # noqa: N802
        self._notes.clear()

    def content(self) -> list[tuple[int, int, int, int]]:
        """(time, length, number, velocity of 127), sorted."""
        return sorted((n.time, n.length, n.number, round(n.velocity * 127)) for n in self._notes)


class ScriptDialog:
    def __init__(self, title: str, text: str) -> None:
        self.title, self.text = title, text
        self.choices: dict[str, list[str]] = {}
        self.chosen: dict[str, int] = {}

    def AddInputCombo(self, name: str, values: str, default: int) -> None:  # noqa: N802
        self.choices[name] = values.split(",")
        self.chosen[name] = default

    def GetInputValue(self, name: str) -> float:  # noqa: N802
        return self.chosen[name] + 1e-6  # FL gives "a poorly rounded integer"


class PianoRoll:
    """A piano roll that runs scripts: `run` shows the dialog, lets `apply` preview `previews` times with each
    choice up to the one taken, and applies."""

    def __init__(self, ppq: int = 96) -> None:
        self.score = Score(ppq)
        self.dialog: ScriptDialog | None = None

    def run(self, script: bytes, choice: int = 0, previews: int = 2) -> None:
        source = script.decode("ascii")
        ast.parse(source, feature_version=(3, 9))
        module = types.ModuleType("flpianoroll")
        module.__dict__.update(score=self.score, Note=Note, ScriptDialog=ScriptDialog, Utils=None)

        def importing(name: str, *details: Any) -> types.ModuleType:
            if name != "flpianoroll":
                raise ImportError(name)
            return module

        allowed = {**vars(builtins), "__import__": importing, "open": None, "print": None}
        namespace: dict[str, Any] = {"__builtins__": allowed}
        exec(compile(source, "<string>", "exec"), namespace)
        self.dialog = namespace["createDialog"]()
        for preview in range(previews):
            for name in self.dialog.choices:
                self.dialog.chosen[name] = preview % len(self.dialog.choices[name])
            namespace["apply"](self.dialog)
        for name in self.dialog.choices:
            self.dialog.chosen[name] = choice
        namespace["apply"](self.dialog)
