"""The contact sheet, opened in a browser: pictures shown, sound loads, and the network is never asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from batches import write_duet
from fakes.programs import not_here

from plugin_bridge.render import Output, make_plan, render_batch, write_sheet
from plugin_bridge.render.plan import Failure

BROWSERS_OWN = (".google.com", ".googleapis.com", ".gvt1.com")
"""Where Chromium itself calls, also with an empty page: for the time, updates, dictionaries."""

PROBE = """
<script>
Promise.all([...document.querySelectorAll('audio')].map(each => new Promise(done => {
  each.addEventListener('loadedmetadata', () => done(each.duration));
  each.querySelector('source').addEventListener('error', () => done(-1));
  each.preload = 'metadata';
  each.load();
}))).then(lengths => document.body.setAttribute('data-found', JSON.stringify({
  lengths,
  widths: [...document.images].map(each => each.naturalWidth),
  outside: performance.getEntriesByType('resource').map(each => each.name)
    .filter(name => !/^(file|data):/.test(name)),
})));
</script>
"""


def opened(page: Path, work: Path) -> tuple[dict[str, Any], str]:
    """What a browser found in the page, and the log of all that it asked the network for."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        not_here("chromium is missing (apt-get install chromium)")
    probed = page.with_name("probed.html")
    probed.write_text(
        page.read_text(encoding="utf-8").replace("</html>", PROBE + "</html>"), encoding="utf-8"
    )
    log = work / "net.json"
    command = [
        str(browser), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--no-first-run", f"--user-data-dir={work / 'profile'}",
        f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stdout[-2000:]
    return json.loads(found[1].replace("&quot;", '"')), log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("formats", "embed"), [(("wav16",), False), (("mp3", "flac"), False), (("flac",), True)]
)
def test_a_browser_shows_the_pictures_and_loads_the_sound(
    tmp_path: Path, formats: tuple[str, ...], embed: bool
) -> None:
    songs, out = tmp_path / "songs", tmp_path / "my & <clips>"
    songs.mkdir()
    for name in ("one", "two #2 100%"):
        write_duet(songs / f"{name}.mid")
    report = render_batch(make_plan([songs], Output(formats=formats)), out, jobs=1)
    page = write_sheet(out, report.clips, embed=embed)
    if embed:
        for file in (*out.glob("*.flac"), *out.glob("*.png")):
            file.unlink()
    found, log = opened(page, tmp_path)
    assert found["widths"] == [800, 800]
    assert found["lengths"] == pytest.approx([clip["seconds"] for clip in report.clips], abs=0.1)
    assert found["outside"] == []
    hosts = set(re.findall(r'"url":"(?:https?|ftp|wss?)://([^/:"]+)', log))
    assert {host for host in hosts if not host.endswith(BROWSERS_OWN)} == set()


def test_what_people_wrote_is_text_in_the_page(tmp_path: Path) -> None:
    clip = {
        "name": "<b>x</b>", "chords": "C<script>", "tempo": 100.0, "style": "base", "seed": 1,
        "temperature": 0.9, "seconds": 1.0, "notes": 3, "loudness_lufs": None, "instrument": "piano",
        "files": {"midi": "a b.mid", "audio": ["a b.wav"]},
    }  # fmt: skip
    page = write_sheet(tmp_path, [clip], [Failure("<i>", "row", "a & b")]).read_text(encoding="utf-8")
    assert "<b>x" not in page and "&lt;b&gt;x" in page
    assert "C<script>" not in page
    assert 'src="a%20b.wav"' in page
    assert "&lt;i&gt; (row): a &amp; b" in page
