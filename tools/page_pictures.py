"""Takes the pictures of the daemon's page for the documentation, while a duet is played.

    python tools/page_pictures.py docs

Needs chromium and chromium-driver. The MIDI system is one in memory; the style is the built-in one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.port_system import FakeSystem
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from plugin_bridge.daemon.folders import Folders
from plugin_bridge.daemon.process import Daemon
from plugin_bridge.duet.performance import PROGRESSION, performance
from plugin_bridge.ports.messages import message_from_event

PICTURES = {
    "page-light.png": (1180, 1240, "light"),
    "page-dark.png": (1180, 1240, "dark"),
    "page-phone.png": (390, 844, "dark"),
}  # fmt: skip


def main() -> int:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        folders = Folders(home, home / "state", home / "takes")
        settings = (
            f'tempo = 96.0\nchords = "{PROGRESSION}"\n[api]\nport = 0\n[controls]\nmode = "continuous"\n'
        )
        folders.config_file.write_text(settings)
        folders.connections_file.write_text('listen = ["Keystation*"]\nplay = ["FLUID Synth*"]\n')
        system = FakeSystem(["Keystation 49:MIDI 1"], ["FLUID Synth:Input", "Drums:Input"])
        with Daemon(folders, system=system, log=False) as daemon:
            player = threading.Thread(target=_play, args=(system,), daemon=True)
            player.start()
            token = folders.token_file.read_text().strip()
            _photograph(f"{daemon.address.url}/#token={token}", target)
    return 0


def _play(system: FakeSystem) -> None:
    began = time.perf_counter()
    for event in performance(120.0).events():
        time.sleep(max(began + event.time - time.perf_counter(), 0.0))
        port = system.port("Keystation 49:MIDI 1")
        if port is None:
            return
        port.inbox.append(message_from_event(event))


def _photograph(address: str, target: Path) -> None:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(word)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(address)
        time.sleep(14)
        for name, (width, height, scheme) in PICTURES.items():
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            time.sleep(4)
            driver.save_screenshot(str(target / name))
    finally:
        driver.quit()


if __name__ == "__main__":
    sys.exit(main())
