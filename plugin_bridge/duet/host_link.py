"""FL Studio beside a session: what its link says, as items for the conductor.

One thread, the session's worker. The link's own messages never reach the tape; what they come to does, so
that a take can be played again without FL.
"""

from __future__ import annotations

from dataclasses import replace

from plugin_bridge.duet.conductor import Host, Item, Message
from plugin_bridge.ports.fl_link import FlLink, HostState
from plugin_bridge.ports.host_clock import Timeline

SAME = 0.001
"""Seconds that two accounts of one run of the transport may differ by and be the same."""


class HostLink:
    """The link of one session. `state` is what is known of FL Studio."""

    def __init__(self, link: FlLink | None = None) -> None:
        self.link = link or FlLink()
        self.state = HostState()
        self._told = Timeline()

    @property
    def round_trip_ms(self) -> float:
        """Milliseconds to FL Studio and back, which are made up for; 0 while they are not known."""
        return round(self.state.round_trip * 1e3, 3)

    def hear(self, message: Message) -> list[Item] | None:
        """What a message of the link's comes to; None where it is not the link's."""
        if not self.link.hear(message.data, message.time):
            return None
        return self.look(message.time)

    def look(self, time: float) -> list[Item]:
        """What has changed by `time` clock seconds, also by silence."""
        self.state = self.link.at(time)
        items: list[Item] = [Message(turned.message, turned.time) for turned in self.link.knobs.take()]
        timeline = self.state.timeline
        if _differ(self._told, timeline, time):
            self._told = timeline
            items.insert(0, Host(timeline, time))
        return items

    def show(self, text: str) -> None:
        """Show the partner's state in FL Studio's hint bar."""
        self.link.show(text)


def _differ(before: Timeline, after: Timeline, time: float) -> bool:
    """Whether `after` says anything that `before` did not."""
    if replace(before, anchor_time=0.0, anchor_position=0.0, tempo=None) != replace(
        after, anchor_time=0.0, anchor_position=0.0, tempo=None
    ):
        return True
    if before.tempo != after.tempo:
        return True
    one, other = before.position(time), after.position(time)
    if one is None or other is None:
        return one != other
    return abs(one - other) * 60 / (after.tempo or 120.0) > SAME
