"""The page in a real browser: Debian's chromium without a screen, driven by selenium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon.conftest import Running, folders_in
from fakes.port_system import FakeSystem
from fakes.programs import program
from fakes.waiting import wait_for
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By

from plugin_bridge.daemon.process import Daemon
from plugin_bridge.duet.performance import performance
from plugin_bridge.music.midi_file import write_midi


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1180,1000"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(program("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, running: Running) -> Any:
    browser.get("about:blank")
    browser.get(f"http://127.0.0.1:{running.port}/#token={running.token}")
    assert wait_for(lambda: text(browser, "state").startswith("playing"))
    assert wait_for(lambda: browser.find_elements(By.ID, "control-temperature"))
    yield browser
    assert [row for row in browser.get_log("browser") if row["level"] == "SEVERE"] == []


def text(browser: Any, name: str) -> str:
    return str(browser.find_element(By.ID, name).text)


def play(running: Running, *messages: bytes) -> None:
    port = running.system.port("Plugin Bridge In")
    assert port is not None
    port.inbox.extend(messages)


def shown(browser: Any, pitch: int) -> bool:
    script = "return pluginBridge.roll.notes.some((note) => note.pitch === arguments[0])"
    return bool(browser.execute_script(script, pitch))


def test_the_token_is_gone_from_the_address_and_kept_over_a_reload(page: Any, running: Running) -> None:
    assert page.current_url == f"http://127.0.0.1:{running.port}/"
    page.refresh()
    assert wait_for(lambda: text(page, "state").startswith("playing"))


def test_a_note_appears_as_it_is_played(page: Any, running: Running) -> None:
    play(running, b"\x90\x30\x50", b"\x80\x30\x00")  # wakes the reader
    assert wait_for(lambda: shown(page, 0x30))
    delays = []
    for pitch in range(50, 60):
        page.execute_script(
            """window.seen = new Promise((resolve) => {
                 const look = () => pluginBridge.roll.notes.some((note) => note.pitch === arguments[0])
                   ? resolve(performance.timeOrigin + performance.now()) : requestAnimationFrame(look);
                 look(); });""",
            pitch,
        )
        played = time.time() * 1e3
        play(running, bytes((0x90, pitch, 80)), bytes((0x80, pitch, 0)))
        delays.append(page.execute_async_script("window.seen.then(arguments[0])") - played)
    delays.sort()
    print(f"from played to drawn, ms: median {delays[5]:.0f}, slowest {delays[-1]:.0f}")
    assert delays[5] < 1000  # the figure is printed: a busy machine is no failure


def test_a_control_changes_the_daemon_and_the_daemon_the_control(page: Any, running: Running) -> None:
    slider = page.find_element(By.ID, "control-register_low")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert wait_for(lambda: running.daemon.control.values()["register_low"] == 25)
    running.ask("PUT", "/api/controls/register_low", {"value": 40})
    assert wait_for(lambda: slider.get_attribute("value") == "40")
    running.ask("PUT", "/api/controls/register_low", {"value": 24})
    page.find_element(By.CSS_SELECTOR, "input[name=mode][value=continuous]").send_keys(Keys.SPACE)
    assert wait_for(lambda: running.daemon.control.values()["mode"] == 1)
    page.find_element(By.CSS_SELECTOR, "input[name=mode][value=answer]").send_keys(Keys.SPACE)
    assert wait_for(lambda: running.daemon.control.values()["mode"] == 0)


def test_a_knob_is_learned_by_the_keyboard_cancelled_and_forgotten(page: Any, running: Running) -> None:
    def button(name: str) -> Any:
        return page.find_element(By.ID, f"{name}-density")

    def said() -> str:
        output = "return document.querySelector('.learner:has(#learn-density) output').value"
        return str(page.execute_script(output))

    def told() -> Any:
        return running.ask("GET", "/api/knobs").json

    assert (button("learn").text, said()) == ("Learn", "")
    assert not button("forget").is_displayed()
    button("learn").send_keys(Keys.ENTER)
    assert wait_for(lambda: said() == "turn a knob …")
    assert told()["learning"] == "density"
    assert button("learn").accessible_name == "Cancel learning a knob for density"
    button("learn").send_keys(Keys.SPACE)
    assert wait_for(lambda: said() == "")
    assert told() == {"knobs": [], "learning": None}
    button("learn").send_keys(Keys.ENTER)
    assert wait_for(lambda: said() == "turn a knob …")
    play(running, b"\xb2\x4d\x21")
    learned = "controller 77, channel 3"
    assert wait_for(lambda: said() == learned)
    assert told()["knobs"] == [{"control": "density", "channel": 3, "number": 77}]
    page.refresh()
    assert wait_for(lambda: page.find_elements(By.ID, "forget-density") and said() == learned)
    button("forget").send_keys(Keys.ENTER)
    assert wait_for(lambda: said() == "")
    assert told() == {"knobs": [], "learning": None}
    assert page.switch_to.active_element.get_attribute("id") == "learn-density"


def test_every_control_of_the_table_can_be_learned_on_the_page(page: Any, running: Running) -> None:
    for row in running.ask("GET", "/api/controls").json["controls"]:
        assert page.find_element(By.ID, f"learn-{row['name']}").is_displayed()


def test_panic_by_the_button_and_by_the_keyboard(page: Any, running: Running) -> None:
    out = running.system.log["output", "Plugin Bridge Out"]
    for press in (
        lambda: page.find_element(By.ID, "panic").click(),
        lambda: page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE),
    ):
        before = len(out)
        press()
        assert wait_for(lambda: b"\xb0\x7b\x00" in out[before:])  # noqa: B023


def test_a_port_is_connected_by_one_click(page: Any, running: Running) -> None:
    found = "button[aria-label='Connect to Synth:1']"
    assert wait_for(lambda: page.find_elements(By.CSS_SELECTOR, found))
    page.find_element(By.CSS_SELECTOR, found).click()
    assert wait_for(lambda: running.system.port("Synth:1") is not None)
    other = "button[aria-label='Disconnect to Synth:1']"
    assert wait_for(lambda: page.find_elements(By.CSS_SELECTOR, other))
    page.find_element(By.CSS_SELECTOR, other).click()
    assert wait_for(lambda: running.system.port("Synth:1") is None)


def test_a_take_is_saved_and_played(page: Any, running: Running) -> None:
    page.find_element(By.ID, "save").click()
    assert wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#takes button[aria-label^='Play ']"))
    write_midi(performance(20.0), running.daemon.folders.takes / "a piece.mid")
    page.refresh()
    assert wait_for(lambda: page.find_elements(By.CSS_SELECTOR, "#takes button[aria-label='Play a piece']"))
    page.find_element(By.CSS_SELECTOR, "#takes button[aria-label='Play a piece']").click()
    assert wait_for(lambda: running.daemon.bridge.takes.playing == "a piece")
    assert wait_for(lambda: page.find_element(By.ID, "stop").is_enabled())
    page.find_element(By.ID, "stop").click()
    assert wait_for(lambda: running.daemon.bridge.takes.playing is None)


def test_all_of_it_is_reached_by_the_keyboard_and_has_a_name(page: Any) -> None:
    script = """return [...document.querySelectorAll('button, input, select, a')]
        .filter((each) => each.offsetParent && (each.tabIndex < 0
          || !(each.textContent.trim() || each.labels?.length || each.getAttribute('aria-label'))))
        .map((each) => each.outerHTML)"""
    assert page.execute_script(script) == []


@pytest.mark.parametrize("width", [360, 1180])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.execute_script(wide) <= 0
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_is_drawn_at_the_rate_of_the_screen(page: Any) -> None:
    before = page.execute_script("return [pluginBridge.roll.drawn, performance.now()]")
    time.sleep(2)
    after = page.execute_script("return [pluginBridge.roll.drawn, performance.now()]")
    rate = (after[0] - before[0]) / (after[1] - before[1]) * 1e3
    print(f"{rate:.0f} frames a second")
    assert rate > 5  # the figure is printed: a busy machine is no failure


def test_without_the_token_it_asks_for_it(browser: Any, running: Running) -> None:
    browser.get("about:blank")
    browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
    browser.get(f"http://localhost:{running.port}/")
    assert wait_for(lambda: browser.find_element(By.ID, "login").is_displayed())
    browser.find_element(By.NAME, "token").send_keys(running.token, Keys.ENTER)
    assert wait_for(lambda: text(browser, "state").startswith("playing"))
    browser.get_log("browser")


def test_it_finds_the_daemon_again_after_a_restart(browser: Any, tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    folders.config_file.write_text("[api]\nport = 0\n")
    with Daemon(folders, system=FakeSystem(), log=False) as daemon:
        port = daemon.address.port
        folders.config_file.write_text(f"[api]\nport = {port}\n")
        browser.get(f"http://127.0.0.1:{port}/#token={folders.token_file.read_text().strip()}")
        assert wait_for(lambda: text(browser, "state").startswith("playing"))
    assert wait_for(lambda: "does not answer" in text(browser, "state"))
    with Daemon(folders, system=FakeSystem(), log=False):
        assert wait_for(lambda: text(browser, "state").startswith("playing"), 10)
        assert browser.find_elements(By.ID, "control-temperature")
    browser.get_log("browser")  # a refused connection is an error to the browser


def test_the_api_has_a_page_of_its_own(browser: Any, running: Running) -> None:
    browser.get(f"http://127.0.0.1:{running.port}/docs")
    assert wait_for(lambda: "PUT /api/controls/temperature" in browser.page_source)
    assert [row for row in browser.get_log("browser") if row["level"] == "SEVERE"] == []
