"""The far end of a loopback, for sessions in this process."""

from __future__ import annotations

import time

from plugin_bridge.duet.phrases import PhraseRules
from plugin_bridge.duet.roles import Policies
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.ports.loopback import Loopback

QUICK = SessionSettings(
    seed=1, policies=Policies(PhraseRules(shortest_pause=0.1, longest_pause=0.2, shortest_answer=1.0))
)


class Host:
    """The far end of the ports: records the partner's output and judges it."""

    def __init__(self, end: Loopback) -> None:
        self.end = end
        self.received: list[tuple[float, bytes]] = []
        end.listen(lambda message, when: self.received.append((when, bytes(message))))

    def play(self, pitches: list[int], gap: float = 0.05) -> None:
        for pitch in pitches:
            self.end.send(bytes((0x90, pitch, 80)))
            time.sleep(gap)
            self.end.send(bytes((0x80, pitch, 0)))

    def notes_on(self) -> list[float]:
        return [when for when, m in self.received if m[0] & 0xF0 == 0x90 and m[2]]

    def hanging(self) -> set[int]:
        held: set[int] = set()
        for _, (status, *data) in self.received:
            if status & 0xF0 == 0x90 and data[1]:
                assert data[0] not in held, "struck twice without an off"
                held.add(data[0])
            elif status & 0xF0 in (0x80, 0x90):
                held.discard(data[0])
        return held

    def wait_for_notes(self, count: int, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while len(self.notes_on()) < count:
            assert time.monotonic() < end, f"only {len(self.notes_on())} notes of the partner in {seconds} s"
            time.sleep(0.01)
