"""The daemon's ports in a process of their own: whichever of the two fails, no note hangs, all comes back."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import kept_ports
from fakes.kept_ports import END, FREEZE
from fakes.waiting import wait_for

import plugin_bridge
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports import keeper_process
from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.frames import Kind, keeper_words, midi_frame, value_frame
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.keeper_meeting import left_keeper, meeting_name
from plugin_bridge.ports.kept_patchbay import STARTING, KeptPatchbay

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops and kills processes by signals")

ON, OFF, PEDAL = b"\x90\x3c\x40", b"\x80\x3c\x40", b"\xb0\x40\x7f"
IN, OUT = "Plugin Bridge In", "Plugin Bridge Out"
BOTH = Connections(("Keys*",), ("Synth*",))


def sounding(messages: list[bytes]) -> int:
    held = Held()
    for message in messages:
        held.follow(message)
    return len(held)


def open_handles() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


class Bench:
    """A patchbay whose keeper runs over a system in memory: what its synth got, what the player played."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.played: list[bytes] = []
        command = (sys.executable, kept_ports.__file__, str(log))
        self.patchbay = KeptPatchbay(IN, OUT, BOTH, command=command)
        self.patchbay.listen(lambda message, _: self.played.append(message))

    def got(self) -> list[bytes]:
        return [bytes.fromhex(line) for line in self.log.read_text().splitlines()]

    def whole(self) -> bool:
        return sum(port.connected for port in self.patchbay.view().ports) == 4

    def keeper(self) -> int:
        assert wait_for(self.whole), self.patchbay.view()
        assert self.patchbay.process is not None
        return self.patchbay.process

    def hold_a_note(self) -> int:
        """The player holds a note and the pedal, and the partner plays the same; the keeper's process."""
        process = self.keeper()
        for message in (ON, PEDAL):
            self.patchbay.send(message)
        assert wait_for(lambda: sounding(self.played) == sounding(self.got()) == 2)
        return process

    def another_keeper(self, before: int) -> bool:
        return wait_for(lambda: self.patchbay.process not in (None, before) and self.whole())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(keeper_process, "HANGING_SECONDS", 3.0)
    threads, handles = threading.active_count(), open_handles()
    bench = Bench(tmp_path / "synth.log")
    with bench.patchbay:
        yield bench
    assert bench.patchbay.process is None
    assert threading.active_count() == threads
    assert open_handles() == handles


def test_what_is_played_and_sent_passes_with_its_times(bench: Bench) -> None:
    times: list[float] = []
    bench.keeper()
    bench.patchbay.listen(lambda message, when: times.append(when))
    before = now()
    bench.patchbay.send(ON)
    assert wait_for(lambda: times)
    assert before <= times[0] <= now()
    assert bench.patchbay.view().transport == "jack"
    assert wait_for(lambda: bench.got()[-1] == ON)


def test_other_patterns_are_followed(bench: Bench) -> None:
    bench.keeper()
    bench.patchbay.follow(Connections((), ("Nothing*",)))
    assert wait_for(lambda: bench.patchbay.view().waiting == (("output", "Nothing*"),))
    assert {port.name for port in bench.patchbay.view().ports if port.connected} == {IN, OUT}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_keeper_that_is_killed_in_the_middle_of_a_note(bench: Bench, how: signal.Signals) -> None:
    process = bench.hold_a_note()
    os.kill(process, how)
    assert wait_for(lambda: sounding(bench.played) == 0)
    bench.patchbay.send(OFF)  # neither raises nor waits while there is none
    assert bench.another_keeper(process)
    assert wait_for(lambda: sounding(bench.got()) == 0)
    bench.hold_a_note()


def test_a_keeper_that_hangs_is_replaced(bench: Bench) -> None:
    process = bench.hold_a_note()
    os.kill(process, signal.SIGSTOP)
    assert bench.another_keeper(process)
    assert wait_for(lambda: sounding(bench.got()) == sounding(bench.played) == 0)


def test_while_a_keeper_is_silent_the_player_holds_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_process, "HANGING_SECONDS", 60.0)
    process = bench.hold_a_note()
    os.kill(process, signal.SIGSTOP)
    assert wait_for(lambda: sounding(bench.played) == 0)
    assert bench.patchbay.process == process  # which is still waited for
    os.kill(process, signal.SIGCONT)


def test_a_keeper_that_freezes_with_the_lock_held_is_replaced(bench: Bench) -> None:
    process = bench.hold_a_note()
    bench.patchbay.send(FREEZE)
    assert bench.another_keeper(process)
    assert wait_for(lambda: sounding(bench.got()) == sounding(bench.played) == 0)


def test_a_keeper_ends_with_its_midi_system_and_another_one_takes_it_up(bench: Bench) -> None:
    process = bench.hold_a_note()
    bench.patchbay.send(END)
    assert bench.another_keeper(process)
    assert wait_for(lambda: sounding(bench.got()) == sounding(bench.played) == 0)


def test_a_signal_to_the_group_leaves_it_to_the_daemon_to_end(bench: Bench) -> None:
    process = bench.hold_a_note()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        os.kill(process, each)
    bench.patchbay.send(b"\x90\x40\x40")
    assert wait_for(lambda: sounding(bench.got()) == 3)
    bench.patchbay.close()
    assert sounding(bench.got()) == 0
    with pytest.raises(BridgeError, match="is closed"):
        bench.patchbay.send(ON)


def test_a_flood_while_nobody_reads_leaves_no_note(bench: Bench) -> None:
    process = bench.keeper()
    os.kill(process, signal.SIGSTOP)
    for index in range(20_000):
        bench.patchbay.send(bytes((0x90, index % 128, 64)))
        if index > 15_000:
            bench.patchbay.send(bytes((0x80, index % 128, 0)))
    os.kill(process, signal.SIGCONT)
    assert wait_for(lambda: len(bench.got()) > 4000 and sounding(bench.got()) == 0)
    assert bench.patchbay.process == process


@pytest.mark.parametrize("command", [("/nowhere/keeper",), (sys.executable, "-c", "pass")])
def test_a_keeper_that_cannot_start_is_tried_again_and_nothing_else_stops(command: tuple[str, ...]) -> None:
    with KeptPatchbay(IN, OUT, BOTH, command=command) as patchbay:
        for _ in range(20):
            patchbay.send(ON)
            time.sleep(0.02)
        view = patchbay.view()
        assert view.problems == (STARTING,)
        assert {port.name for port in view.ports} == {IN, OUT}
        assert patchbay.transport == "loopback"


@pytest.mark.parametrize(
    "said", [value_frame(Kind.VIEW, {"of": "another"}), value_frame(Kind.LOG, 1), b"?" * 9]
)
def test_a_keeper_that_says_what_makes_no_sense_is_replaced(tmp_path: Path, said: bytes) -> None:
    log = tmp_path / "started"
    speaks = (
        "import os, socket, sys, time\n"
        f"open({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"socket.socket(fileno=int(sys.argv[1])).sendall({said!r})\n"
        "time.sleep(60)\n"
    )
    with KeptPatchbay(IN, OUT, BOTH, command=(sys.executable, "-c", speaks)):
        assert wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 2)
    for each in log.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(each), 0)


def test_whatever_goes_wrong_with_one_keeper_there_is_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, failures = bench.hold_a_note(), ["once"]

    class Channels(Channel):
        def __init__(self, end: socket.socket) -> None:
            if failures:
                raise RuntimeError(failures.pop())
            super().__init__(end)

    monkeypatch.setattr(keeper_process, "Channel", Channels)
    os.kill(process, signal.SIGKILL)
    assert bench.another_keeper(process)
    assert not failures


class Alone:
    """A keeper whose daemon is the test."""

    def __init__(self, log: Path, meeting: str = "") -> None:
        self.log = log
        self.ours, theirs = socket.socketpair()
        handle = theirs.fileno()
        words = [str(handle), *keeper_words("any", IN, OUT), meeting]
        command = [sys.executable, kept_ports.__file__, str(log), *words]
        self.process = subprocess.Popen(command, pass_fds=(handle,), stderr=subprocess.DEVNULL)
        theirs.close()
        wanted = {"listen": ["Keys*"], "play": ["Synth*"]}
        self.ours.sendall(value_frame(Kind.FOLLOW, wanted))
        assert wait_for(lambda: log.exists() and b"\xb0\x7b\x00" in self.got())  # swept

    def got(self) -> list[bytes]:
        return [bytes.fromhex(line) for line in self.log.read_text().splitlines()]


def test_when_the_daemon_dies_in_the_middle_of_a_message_its_notes_end(tmp_path: Path) -> None:
    alone = Alone(tmp_path / "synth.log")
    alone.ours.sendall(midi_frame(ON, 0.0) + midi_frame(b"\x90\x40\x40", 0.0)[:-2])
    alone.ours.close()
    assert alone.process.wait(20) == 0
    assert ON in alone.got()
    assert not any(message[:2] == b"\x90\x40" for message in alone.got())
    assert sounding(alone.got()) == 0


needs_meeting = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a keeper ends with its daemon")


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Alone]:
    """A keeper whose daemon died in the middle of a note, and which waits for another."""
    alone = Alone(tmp_path / "synth.log", meeting_name(tmp_path))
    alone.ours.sendall(midi_frame(ON, 0.0))
    alone.ours.close()
    assert wait_for(lambda: ON in alone.got() and sounding(alone.got()) == 0)
    yield alone
    alone.process.wait(20)


@needs_meeting
def test_a_folder_has_one_keeper_whatever_leads_there(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    assert meeting_name(link) == meeting_name(folder) != meeting_name(tmp_path)


@needs_meeting
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_where_processes_cannot_be_held_by_handles_no_keeper_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(error, "refused")

    assert meeting_name(tmp_path)
    for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            assert meeting_name(tmp_path) == ""
        with monkeypatch.context() as patch:
            patch.delattr(module, name)
            assert meeting_name(tmp_path) == ""


@needs_meeting
def test_a_keeper_whose_daemon_has_died_is_taken_over_with_its_ports(orphan: Alone, tmp_path: Path) -> None:
    played: list[bytes] = []
    no_other = (sys.executable, "-c", "raise SystemExit(1)")
    patchbay = KeptPatchbay(IN, OUT, BOTH, meeting=meeting_name(tmp_path), command=no_other)
    patchbay.listen(lambda message, _: played.append(message))
    with patchbay:
        assert wait_for(lambda: sum(port.connected for port in patchbay.view().ports) == 4)
        assert patchbay.process == orphan.process.pid
        patchbay.send(ON)
        assert wait_for(lambda: sounding(orphan.got()) == sounding(played) == 1)
    assert orphan.process.wait(20) == 0
    assert sounding(orphan.got()) == 0


@needs_meeting
def test_a_keeper_that_was_left_with_other_ports_makes_room(orphan: Alone, tmp_path: Path) -> None:
    command = (sys.executable, kept_ports.__file__, str(orphan.log))
    with KeptPatchbay(IN, "Another Out", BOTH, meeting=meeting_name(tmp_path), command=command) as patchbay:
        assert wait_for(lambda: sum(port.connected for port in patchbay.view().ports) == 4)
        assert patchbay.process != orphan.process.pid
        assert "Another Out" in {port.name for port in patchbay.view().ports}
        assert orphan.process.wait(20) == 0


@needs_meeting
def test_a_keeper_that_another_release_has_left_makes_room(
    orphan: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_bridge, "__version__", "another", raising=False)
    command = (sys.executable, kept_ports.__file__, str(orphan.log))
    with KeptPatchbay(IN, OUT, BOTH, meeting=meeting_name(tmp_path), command=command) as patchbay:
        assert wait_for(lambda: sum(port.connected for port in patchbay.view().ports) == 4)
        assert patchbay.process != orphan.process.pid
        assert orphan.process.wait(20) == 0


@needs_meeting
def test_a_keeper_that_was_left_and_hangs_is_replaced(
    orphan: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_process, "HANGING_SECONDS", 1.0)
    os.kill(orphan.process.pid, signal.SIGSTOP)
    command = (sys.executable, kept_ports.__file__, str(orphan.log))
    with KeptPatchbay(IN, OUT, BOTH, meeting=meeting_name(tmp_path), command=command) as patchbay:
        assert orphan.process.wait(20) == -signal.SIGKILL
        monkeypatch.setattr(keeper_process, "HANGING_SECONDS", 20.0)
        assert wait_for(lambda: sum(port.connected for port in patchbay.view().ports) == 4)


@needs_meeting
def test_a_keeper_for_which_nobody_comes_ends_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORPHAN_SECONDS", "0.2")
    alone = Alone(tmp_path / "synth.log", meeting_name(tmp_path))
    alone.ours.sendall(midi_frame(ON, 0.0))
    alone.ours.close()
    assert alone.process.wait(20) == 0
    assert sounding(alone.got()) == 0
    assert left_keeper(meeting_name(tmp_path)) is None


@needs_meeting
def test_a_keeper_that_is_asked_to_end_while_it_waits_for_a_daemon_ends_in_good_order(orphan: Alone) -> None:
    os.kill(orphan.process.pid, signal.SIGTERM)
    assert orphan.process.wait(20) == 0  # it would wait for 30 s
    assert sounding(orphan.got()) == 0


@needs_meeting
def test_a_keeper_that_was_asked_to_end_plays_on_with_its_daemon_and_waits_for_no_other(
    tmp_path: Path,
) -> None:
    alone = Alone(tmp_path / "synth.log", meeting_name(tmp_path))
    os.kill(alone.process.pid, signal.SIGTERM)
    alone.ours.sendall(midi_frame(ON, 0.0))
    assert wait_for(lambda: ON in alone.got())
    time.sleep(0.3)
    assert sounding(alone.got()) == 1
    alone.ours.close()
    assert alone.process.wait(20) == 0  # it would wait for 30 s
    assert sounding(alone.got()) == 0


@needs_meeting
def test_each_folder_has_a_keeper_of_its_own(orphan: Alone, tmp_path: Path) -> None:
    assert left_keeper(meeting_name(tmp_path / "another")) is None
    found = left_keeper(meeting_name(tmp_path))
    assert found is not None
    line, process = found
    assert process.pid == orphan.process.pid
    assert not process.wait(0)
    process.kill()
    assert process.wait(20)
    process.close()
    line.close()


def test_when_the_daemon_dies_while_the_keeper_is_frozen_the_keeper_ends_by_itself(tmp_path: Path) -> None:
    alone = Alone(tmp_path / "synth.log")
    alone.ours.sendall(midi_frame(FREEZE, 0.0))
    alone.ours.close()
    assert alone.process.wait(20) != 0


def test_a_channel_whose_other_end_has_gone_says_so_and_drops_what_is_sent() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.close()
    channel.send_midi(ON, 0.0)
    channel.send_midi(OFF, 0.0)
    assert channel.receive(5.0) is None
    channel.close()
    channel.close()
