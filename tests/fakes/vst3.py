"""The synth of tests/fixtures/test_synth as a VST3, built with Debian's dpf-source."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from fakes.programs import not_here

SOURCE = Path(__file__).parents[1] / "fixtures" / "test_synth"
DPF = Path("/usr/share/dpf/distrho")
ZAM = Path("/usr/lib/vst3")


def build_test_synth(folder: Path) -> Path:
    """Build the plugin into `folder`. Raises RuntimeError where what it needs is not there."""
    compiler = shutil.which("g++")
    if compiler is None or not DPF.is_dir():
        raise RuntimeError("the test synth needs g++ and dpf-source (apt-get install dpf-source)")
    binaries = folder / "BridgeTestSynth.vst3" / "Contents" / f"{platform.machine()}-linux"
    binaries.mkdir(parents=True)
    command = [
        compiler, "-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden",
        "-DDISTRHO_PLUGIN_TARGET_VST3", f"-I{SOURCE}", f"-I{DPF}", f"-I{DPF.parent}",
        "-o", str(binaries / "BridgeTestSynth.so"), str(SOURCE / "synth.cpp"),
        str(DPF / "DistrhoPluginMain.cpp"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder / "BridgeTestSynth.vst3"


def zam(name: str) -> Path:
    """One of Debian's zam-plugins; without them the test is skipped, or fails where it may not be."""
    path = ZAM / f"{name}.vst3"
    if not path.exists():
        not_here(f"{path} is missing (apt-get install zam-plugins)")
    return path
