"""Reports of `plugin-bridge train style` side by side: a table in Markdown and a chart.

python tools/compare_styles.py --out DIR WORK/report.json ...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from export.style_chart import draw_styles
from plugin_bridge.files import atomic_path

_HEAD = (
    "style", "method", "own held-out, nats a note", "change", "others", "base", "trainable", "minutes",
    "adapter", "longest copy (human)",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.reports]
    lines = [f"| {' | '.join(_HEAD)} |", f"|---|---|{'---:|' * (len(_HEAD) - 2)}"]
    lines += [f"| {' | '.join(_row(report))} |" for report in reports]
    with atomic_path(arguments.out / "styles.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_styles(reports, arguments.out / "styles.png")
    print("\n".join(lines))


def _row(report: dict[str, Any]) -> list[str]:
    nats = report["nats"]
    copying = report.get("copying")
    own = nats["held_out"]
    return [
        report["style"], report["method"], f"{own['before_per_note']:.3f} -> {own['after_per_note']:.3f}",
        *(f"{nats[kind]['change']:+.1%}" if kind in nats else "-" for kind in ("held_out", "others", "base")),
        f"{report['trainable_share']:.1%}", f"{report['seconds']['train'] / 60:.1f}",
        f"{report['adapter_bytes'] / 1e6:.2f} MB",
        f"{copying['longest']} ({copying['human_longest']})" if copying else "-",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
