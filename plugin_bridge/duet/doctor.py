"""`doctor`: what a duet needs, examined one by one, each with the mend."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from plugin_bridge.engine.bundle import Style, installed_styles, load_style
from plugin_bridge.errors import BridgeError

SLOWEST_STEP_MS = 8.0
"""Above this a note of four to five tokens takes longer to decide than a player would forgive."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing examined: what, what was found, whether that is well, and how to mend it."""

    what: str
    found: str
    ok: bool
    mend: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def examine() -> list[Finding]:
    """Examine this machine. Nothing is changed."""
    return [*_system(), *_ports(), *_style()]


def _system() -> Iterator[Finding]:
    version = platform.python_version()
    mend = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    yield Finding("Python", f"{version} on {platform.system()} {platform.machine()}", not mend, mend)
    try:
        import onnxruntime

        yield Finding(
            "ONNX Runtime",
            f"{onnxruntime.__version__} with {', '.join(onnxruntime.get_available_providers())}",
            True,
        )
    except ImportError as error:
        yield Finding(
            "ONNX Runtime", str(error), False, "python -m pip install --force-reinstall onnxruntime"
        )


def _ports() -> Iterator[Finding]:
    from plugin_bridge.ports.midi_ports import list_ports, transport_report

    report = transport_report()
    if report.transport == "loopback":
        mend = "start a JACK server (jackd, PipeWire) or load ALSA's sequencer (modprobe snd-seq)"
        yield Finding("MIDI", str(report), False, mend)
        return
    if report.transport == "winmm":
        mend = "for virtual ports install loopMIDI or use Windows MIDI Services, then give jam their names"
        yield Finding("MIDI", str(report), True, mend)
    try:
        found = list_ports()
    except BridgeError as error:
        yield Finding("MIDI", str(error), False, "restart the MIDI system, then run this again")
        return
    count = f"{len(found.inputs)} inputs and {len(found.outputs)} outputs of other programs"
    yield Finding("MIDI", f"{report.transport}, {count}", True)


def _style() -> Iterator[Finding]:
    folders = list(installed_styles())
    if not folders:
        yield Finding(
            "styles", "none is installed", False, "python -m pip install --force-reinstall plugin-bridge"
        )
    for folder in folders:
        try:
            style = load_style(folder)
            runtime, step = _measured(style)
        except BridgeError as error:
            yield Finding(f"style {folder.name}", str(error), False, "export or install it again")
            continue
        slow = step > SLOWEST_STEP_MS
        mend = "close other programs; the partner will rest more than it should" if slow else ""
        found = f"{style.sizes.parameters / 1e6:.1f} M parameters, a step takes {step:.2f} ms on {runtime}"
        yield Finding(f"style {folder.name}", found, not slow, mend)


def _measured(style: Style) -> tuple[str, float]:
    """What runs the style, and the median of two hundred of its steps, milliseconds, measured now."""
    from plugin_bridge.engine.engine import Engine
    from plugin_bridge.ports.clock import now

    engine = Engine(style)
    times = []
    for index in range(220):
        began = now()
        engine.extend([10 + index], [0])
        times.append(now() - began)
    return engine.runtime, float(np.median(times[20:])) * 1e3
