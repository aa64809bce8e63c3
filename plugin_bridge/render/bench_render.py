"""`plugin-bridge bench render`: a batch, beside a plain loop over the same clips in one process.

Each of the two runs in a process of its own from start to end, so that what it imports and loads counts. The
clips are generated on the built-in style, 8 bars each, with the piano, the default effects and a picture.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.batch import default_jobs, render_batch
from plugin_bridge.render.plan import Plan, make_plan
from plugin_bridge.render.plugin_host import DEFAULT_TIME_LIMIT
from plugin_bridge.render.work import HIDDEN, work

CHARTS = {
    "jazz": "Dm7 G7 Cmaj7 Am7",
    "pop": "C G Am F",
    "minor": "Am7 Dm7 E7 Am7",
    "ballad": "Fmaj7 Em7 Dm7 Cmaj7",
}
SETTINGS = {
    "own": "",
    "cool": "temperature = 0.95",
    "warm": "temperature = 1.1",
    "strict": "adherence = 6",
    "slow": "tempo = 80",
}
ROWS = len(CHARTS) * len(SETTINGS)


def write_manifest(path: Path, seeds: int) -> Path:
    """Write the manifest of `seeds` takes of every chart in every setting, 8 bars each."""
    rows = [
        f'[[clip]]\nname = "{chart}-{name}"\nchords = "{chords}"\nseeds = "1-{seeds}"\n{setting}\n'
        for chart, chords in CHARTS.items()
        for name, setting in SETTINGS.items()
    ]
    path.write_text("[defaults]\ntempo = 110\nbars = 8\n\n" + "\n".join(rows), encoding="utf-8")
    return path


def bench_render(clips: int = 8, jobs: int | None = None) -> dict[str, Any]:
    """Render `clips` clips in a plain loop, then in `jobs` processes (None: one for each processor).

    `loop` and `batch` have `seconds`, `clips_per_minute`, `times_real_time`, `cpu_seconds` of all processes
    together and `memory_mb`, the most that they had in use (None where the system does not tell); `ratio` is
    how many times faster the batch was, `same_files` whether both wrote the same bytes. Raises BridgeError
    where a clip could not be rendered.
    """
    jobs = jobs or default_jobs()
    with tempfile.TemporaryDirectory(prefix="plugin-bridge-bench-") as folder:
        manifest = write_manifest(Path(folder) / "clips.toml", -(-clips // ROWS))
        measured = {
            way: _measured(manifest, Path(folder) / way, clips, processes)
            for way, processes in (("loop", 0), ("batch", jobs))
        }
        index = json.loads((Path(folder) / "batch" / "index.json").read_text(encoding="utf-8"))
        same = all(
            (Path(folder) / "loop" / name).read_bytes() == (Path(folder) / "batch" / name).read_bytes()
            for clip in index["clips"]
            for name in clip["bytes"]
        )
    sound = sum(clip["seconds"] for clip in index["clips"])
    rates = {
        way: {
            "seconds": each["seconds"],
            "clips_per_minute": round(clips * 60 / each["seconds"], 1),
            "times_real_time": round(sound / each["seconds"], 1),
            "cpu_seconds": each["cpu_seconds"],
            "memory_mb": each["memory_mb"],
        }
        for way, each in measured.items()
    }
    return {
        "clips": clips,
        "audio_seconds": round(sound, 1),
        "jobs": jobs,
        **rates,
        "ratio": round(measured["loop"]["seconds"] / measured["batch"]["seconds"], 3),
        "same_files": same,
    }


def _measured(manifest: Path, out: Path, clips: int, jobs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, str(manifest), str(out), str(clips), str(jobs)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    seconds = time.perf_counter() - began
    if done.returncode:
        raise BridgeError(f"the clips could not be rendered: {done.stderr.strip().splitlines()[-1]}")
    used: dict[str, Any] = json.loads(done.stdout)
    return used | {"seconds": round(seconds, 2)}


def _render(manifest: Path, out: Path, clips: int, jobs: int) -> None:
    """In a loop with 0 `jobs`; clips are taken from all rows alike."""
    planned = make_plan([manifest]).jobs
    plan = Plan(planned[:: len(planned) // clips][:clips])
    if jobs:
        failures = [each.reason for each in render_batch(plan, out, jobs=jobs).failures]
    else:
        (out / HIDDEN).mkdir(parents=True)
        failures = [
            each.reason for each in (work(job, out, DEFAULT_TIME_LIMIT) for job in plan.jobs) if each.reason
        ]
    if failures:
        sys.exit(failures[0])


def _used(jobs: int) -> dict[str, float | None]:
    """Processor time and memory of this process and its `jobs` processes, which have ended."""
    if sys.platform == "win32":
        return {"cpu_seconds": None, "memory_mb": None}
    import resource

    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "cpu_seconds": round(own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, 2),
        "memory_mb": round((own.ru_maxrss + jobs * others.ru_maxrss) / unit),
    }


if __name__ == "__main__":
    _manifest, _out, _clips, _jobs = sys.argv[1:]
    _render(Path(_manifest), Path(_out), int(_clips), int(_jobs))
    print(json.dumps(_used(int(_jobs))))
