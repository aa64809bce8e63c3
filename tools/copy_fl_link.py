"""Copies what both ends of the link to FL Studio share into the script's folder. Run it after a change.

python tools/copy_fl_link.py
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
PORTS, SCRIPT = ROOT / "plugin_bridge" / "ports", ROOT / "fl_scripts" / "Plugin Bridge"


def copies() -> dict[Path, str]:
    """The script's files that are copies, and what they should hold."""
    protocol = (PORTS / "fl_protocol.py").read_text(encoding="utf-8")
    endpoint = (PORTS / "fl_endpoint.py").read_text(encoding="utf-8")
    return {
        SCRIPT / "bridge_protocol.py": protocol,
        SCRIPT / "bridge_endpoint.py": endpoint.replace("plugin_bridge.ports.fl_protocol", "bridge_protocol"),
    }


if __name__ == "__main__":
    for path, text in copies().items():
        path.write_text(text, encoding="utf-8")
