"""A knob is learned through the daemon: by its API and by `ctl learn`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from daemon.conftest import Running
from daemon.test_api import wait_for

from plugin_bridge.cli import commands
from plugin_bridge.daemon.client import Client
from plugin_bridge.daemon.folders import HOME_VARIABLE
from plugin_bridge.daemon.learning import learn_knob
from plugin_bridge.duet.conductor import Message
from plugin_bridge.duet.knobs import read_knobs
from plugin_bridge.errors import BridgeError


@pytest.fixture(autouse=True)
def here(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(HOME_VARIABLE, str(running.daemon.folders.config))
    yield
    running.ask("PUT", "/api/learning", {"control": None})
    for row in running.ask("GET", "/api/knobs").json["knobs"]:
        running.ask("DELETE", f"/api/knobs/{row['control']}")


def turn(running: Running, number: int, value: int) -> None:
    """A knob moves at an input."""
    session = running.daemon.bridge.playing()
    session._on_message(Message(bytes((0xB3, number, value)), session.began).data, session.began)


def value_of(running: Running, name: str) -> float:
    return running.daemon.control.values()[name]


def ctl(*arguments: str) -> str:
    result = CliRunner().invoke(commands, ["ctl", "learn", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_next_knob_is_learned_kept_and_sets_its_control(running: Running) -> None:
    answer = running.ask("PUT", "/api/learning", {"control": "temperature"})
    assert (answer.status, answer.json) == (200, {"knobs": [], "learning": "temperature"})
    turn(running, 74, 3)
    row = {"control": "temperature", "channel": 4, "number": 74}
    assert wait_for(lambda: running.ask("GET", "/api/knobs").json == {"knobs": [row], "learning": None})
    before = value_of(running, "temperature")
    turn(running, 74, 127)
    assert wait_for(lambda: value_of(running, "temperature") == 2.0)
    assert before != 2.0
    assert wait_for(lambda: "temperature" in read_knobs(running.daemon.folders.knobs_file))
    running.ask("PUT", "/api/controls/temperature", {"value": before})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("PUT", "/api/learning", {"control": "volume"}, 400, "there is no control 'volume'"),
        ("PUT", "/api/learning", {"control": 3}, 400, "the name of a control, or null"),
        ("PUT", "/api/learning", {}, 400, "an object with control"),
        ("DELETE", "/api/knobs/mute", None, 404, "no knob was learned for mute"),
        ("DELETE", "/api/knobs/volume", None, 404, "there is no control 'volume'"),
    ],
)
def test_what_cannot_be_is_refused(
    running: Running, method: str, path: str, body: object, status: int, reason: str
) -> None:
    answer = running.ask(method, path, body)
    assert answer.status == status
    assert reason in answer.json["error"]


def test_ctl_learns_lists_and_forgets(running: Running) -> None:
    assert "nothing was learned yet" in ctl("--list")
    told: list[str] = []

    def person(text: str) -> None:
        told.append(text)
        threading.Timer(0.2, turn, (running, 40, 127)).start()

    learn_knob(Client(running.daemon.folders), "mute", person)
    assert told == ["move the knob, or press the button, for mute"]
    assert ctl("--list") == "mute: controller 40 on channel 4\n"
    assert json.loads(ctl("--list", "--json")) == [{"control": "mute", "channel": 4, "number": 40}]
    assert ctl("--forget", "mute") == "mute has no knob any more\n"
    assert "nothing was learned yet" in ctl("--list")


def test_where_nothing_is_moved_nothing_is_learned_whatever_moves_later(running: Running) -> None:
    client = Client(running.daemon.folders)
    with pytest.raises(BridgeError, match="nothing was moved within 0 s"):
        learn_knob(client, "density", lambda text: None, patience=0.0)
    turn(running, 41, 1)
    assert running.ask("GET", "/api/knobs").json == {"knobs": [], "learning": None}


def test_two_who_learn_at_once_are_told(running: Running) -> None:
    client = Client(running.daemon.folders)
    with pytest.raises(BridgeError, match="density is learned instead of mute"):
        learn_knob(client, "mute", lambda _: client.put("/api/learning", control="density"))


def test_who_waits_for_a_knob_asks_once_and_is_answered_when_it_moves(running: Running) -> None:
    assert running.ask("GET", "/api/learning/mute").json["learning"] is None  # at once: nobody learns it
    assert running.ask("GET", "/api/learning/volume").status == 400
    running.ask("PUT", "/api/learning", {"control": "mute"})
    threading.Timer(0.2, turn, (running, 44, 1)).start()
    answer = running.ask("GET", "/api/learning/mute").json
    assert answer == {"knobs": [{"control": "mute", "channel": 4, "number": 44}], "learning": None}


@pytest.mark.parametrize("arguments", [(), ("mute", "--list"), ("--list", "--forget", "mute")])
def test_ctl_learn_does_one_thing_at_a_time(arguments: tuple[str, ...]) -> None:
    with pytest.raises(BridgeError, match="say one of"):
        CliRunner().invoke(commands, ["ctl", "learn", *arguments], catch_exceptions=False)
