"""The process that a plugin runs in: `python -m plugin_bridge.render.plugin_process`.

One plugin a process. Requests come on the standard input and are answered on what was the standard output,
as `framing` says; what the plugin prints goes to nowhere. A thread reads the requests, the main thread,
which is where plugins expect to live, carries them out. When the other end closes the pipe, or dies, the
process ends at once, whatever the plugin is doing.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plugin_bridge.render.framing import receive, send
from plugin_bridge.render.instruments import class_of_preset
from plugin_bridge.render.piano import Audio
from plugin_bridge.render.tails import process_out, ring_out

BLOCK = 512
"""Samples in a block, as in a DAW. Messages keep their sample within it."""

_MIDI_CONTROLLERS = re.compile(r"MIDI Ch\. \d+ CC \d+")
Request = dict[str, Any]


class Host:
    """The plugin, loaded, with its settings."""

    def __init__(self, spec: Request) -> None:
        self.plugin = _load(spec)
        if spec["preset"]:
            _apply_preset(self.plugin, Path(spec["preset"]))
        for name, value in spec["parameters"]:
            _set(self.plugin, name, value)
        self.mono = False

    def describe(self, request: Request, audio: Audio | None) -> tuple[Request, Audio | None]:
        """What it is. Tried on a moment of silence, so that what cannot work is known before work starts."""
        rate = request["sample_rate"]
        silence = np.zeros((2, BLOCK), np.float32)
        if request["use"] == "instrument":
            if not self.plugin.is_instrument:
                raise ValueError("is an effect, not an instrument")
            self.plugin([], BLOCK / rate, rate, 2, BLOCK)
        elif request["use"] == "effect":
            if not self.plugin.is_effect:
                raise ValueError("is an instrument, not an effect")
            self._effect(silence, rate)
        return {
            "name": self.plugin.name, "maker": self.plugin.manufacturer_name,
            "version": self.plugin.version, "instrument": self.plugin.is_instrument,
            "parameters": [_parameter(name, each) for name, each in self.plugin.parameters.items()],
        }, None  # fmt: skip

    def play(self, request: Request, audio: Audio | None) -> tuple[Request, Audio | None]:
        """`messages` are (hexadecimal bytes, seconds), played over `seconds` and the tail."""
        rate = request["sample_rate"]
        messages = [(bytes.fromhex(message), time) for message, time in request["messages"]]
        first = self.plugin(messages, request["seconds"], rate, 2, BLOCK, True)
        return {}, ring_out(
            first,
            lambda count: self.plugin([], count / rate, rate, 2, BLOCK, False),
            rate,
            request["tail"],
        )

    def process(self, request: Request, audio: Audio | None) -> tuple[Request, Audio | None]:
        """Sound through the effect, with its tail."""
        if audio is None:
            raise ValueError("no sound was sent")
        rate, tail = request["sample_rate"], request["tail"]
        self._effect(np.zeros((2, BLOCK), np.float32), rate)
        if not self.mono:
            return {}, process_out(self._effect, audio, rate, tail)
        sides = [process_out(self._effect, side[None, :], rate, tail) for side in audio]
        longest = max(side.shape[1] for side in sides)
        return {}, np.concatenate([np.pad(s, ((0, 0), (0, longest - s.shape[1]))) for s in sides])

    def _effect(self, audio: Audio, sample_rate: int, *, reset: bool = True) -> Audio:
        """One call of the effect; a mono one is found out at the first, and gets a channel at a time."""
        try:
            result: Audio = self.plugin.process(audio[:1] if self.mono else audio, sample_rate, BLOCK, reset)
        except ValueError as error:
            if self.mono or "channel" not in str(error):
                raise
            self.mono = True
            result = self.plugin.process(audio[:1], sample_rate, BLOCK, reset)
        return result


def _load(spec: Request) -> Any:
    """Load it. DPF's plugins have 2080 hidden parameters for MIDI controllers, for each of which pedalboard
    would ask for a thousand texts (20 s): they join those that it leaves out."""
    import pedalboard
    from pedalboard import _pedalboard

    ignored = getattr(_pedalboard, "PARAMETER_NAME_REGEXES_TO_IGNORE", None)
    if isinstance(ignored, set):
        ignored.add(_MIDI_CONTROLLERS)
    return pedalboard.load_plugin(spec["path"], plugin_name=spec["name"])


def _apply_preset(plugin: Any, path: Path) -> None:
    wanted, found = class_of_preset(path), class_of_preset_bytes(bytes(plugin.preset_data))
    if found and wanted != found:
        raise ValueError(f"preset {path} belongs to another plugin")
    try:
        plugin.load_preset(str(path))
    except RuntimeError as error:
        raise ValueError(f"preset {path} is damaged, or belongs to another plugin") from error


def class_of_preset_bytes(data: bytes) -> str | None:
    """The class ID in a preset's bytes, None where it has none."""
    return data[8:40].decode("ascii", "replace").upper() if data[:4] == b"VST3" else None


def _set(plugin: Any, name: str, value: Any) -> None:
    parameters = plugin.parameters
    if name not in parameters:
        raise ValueError(f"has no parameter {name!r}; it has {', '.join(list(parameters)[:40])}")
    try:
        setattr(plugin, name, value)
    except (ValueError, TypeError) as error:
        described = _parameter(name, parameters[name])
        allowed = described["values"] or "{} to {}".format(*described["range"])
        raise ValueError(f"parameter {name}: {value!r} is out of range ({allowed})") from error


def _parameter(name: str, parameter: Any) -> Request:
    numeric = parameter.type is float
    return {
        "name": name,
        "range": [parameter.min_value, parameter.max_value] if numeric else None,
        "values": None if numeric else [str(value) for value in parameter.valid_values[:50]],
        "unit": parameter.label or "",
    }


def main() -> None:
    """Serve until the pipe closes."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    waiting: queue.Queue[tuple[Request, Audio | None]] = queue.Queue()

    def read() -> None:
        try:
            while True:
                waiting.put(receive(requests))
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    host: Host | None = None
    while True:
        request, audio = waiting.get()
        try:
            if host is None:
                host = Host(request["plugin"])
            act: Callable[[Request, Audio | None], tuple[Request, Audio | None]]
            act = {"describe": host.describe, "play": host.play, "process": host.process}[request["do"]]
            header, sound = act(request, audio)
            send(answers, {"ok": True} | header, sound)
        except Exception as error:  # whatever it is, the other end has to hear of it
            send(answers, {"ok": False, "reason": " ".join(str(error).split())[:300]})


if __name__ == "__main__":
    main()
