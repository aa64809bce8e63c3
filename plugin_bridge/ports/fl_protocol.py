"""The link to FL Studio, on the wire: the table of messages, frames, their 7-bit packing, a CC coding.

Both ends use this file. FL Studio's copy is `fl_scripts/Plugin Bridge/bridge_protocol.py`, and a test holds
the two equal; hence Python 3.9, ASCII and nothing imported. docs/fl-link.md describes what is here.

Nothing here raises on what came in: `parse_frame` and `read_messages` give None or less.
"""

from __future__ import annotations

VERSION = 1
LONGEST_FRAME = 1010
"""Bytes of a SysEx frame, F0 and F7 included: Windows programs commonly have buffers of 1024."""
LONGEST_PAYLOAD = 869
"""Bytes in a frame before packing: 994 packed, with 16 around them."""
LONGEST_CC_PAYLOAD = 48
"""Bytes in a frame that goes as control changes, of which it then takes at most 70."""
LONGEST_MESSAGES = 16000
"""Bytes of messages that continue over several frames; what is longer is thrown away."""
MOST_MESSAGES = 16
"""Messages that come together and are read; nobody sends more than one of a name."""

SCRIPT, DAEMON = 0, 1
"""Who speaks."""

_TRANSPORT = (
    ("flags", "u8"), ("run", "u8"), ("tempo", "u32"), ("position", "i32"), ("quarter", "u16"), ("bar", "u16"),
    ("loop_start", "i32"), ("loop_end", "i32"),
)  # fmt: skip
# number: (name, who sends it, fields). A field is (name, kind); kinds: u8, u16, u32, i32, text, bytes.
MESSAGES = {
    1: ("hello", SCRIPT, (("script", "text"), ("host", "text"), ("api", "u16"), ("port", "i32"))),
    2: ("transport", SCRIPT, _TRANSPORT),
    3: ("channel", SCRIPT, (("index", "i32"), ("name", "text"))),
    4: ("project", SCRIPT, (("number", "u16"), ("loading", "u8"))),
    5: ("knobs", SCRIPT, (("last", "u16"), ("moves", "bytes"))),
    6: ("released", SCRIPT, (("reason", "text"), ("notes", "u8"))),
    7: ("echo", SCRIPT, (("number", "u16"), ("held", "u32"))),
    16: ("hint", DAEMON, (("text", "text"),)),
    17: ("panic", DAEMON, ()),
    18: ("ping", DAEMON, (("number", "u16"),)),
}
PLAYING, RECORDING, SONG_MODE = 1, 2, 4
"""Bits of `transport.flags`."""

_SIZES = {"u8": 1, "u16": 2, "u32": 4, "i32": 4}
_NUMBERS = {name: number for number, (name, _, _) in MESSAGES.items()}
_START, _END = 0xF0, 0xF7
_HEAD = (0x7D, 0x50, 0x42)  # the id for private use, then "PB"
_FROM_DAEMON, _RELIABLE, _MORE, _BYE = 1, 2, 4, 8
_CC_STATUS, _CC_FIRST, _CC_EVEN, _CC_ODD, _CC_LAST = 0xBF, 102, 103, 104, 105
_LONGEST_CC_FRAME = 72


class Message:
    """One message: its name and the values of its fields. The endpoint adds who sent it, by id, and whether
    that is the other end of the session (`from_peer`) or a third."""

    __slots__ = ("from_peer", "name", "source", "values")

    def __init__(self, name: str, values: dict[str, int | str | bytes]) -> None:
        self.name, self.values = name, values
        self.source, self.from_peer = 0, False

    def number(self, field: str) -> int:
        """The value of a field that is a number."""
        value = self.values[field]
        return value if isinstance(value, int) else 0

    def text(self, field: str) -> str:
        """The value of a field that is a text."""
        value = self.values[field]
        return value if isinstance(value, str) else ""

    def data(self, field: str) -> bytes:
        """The value of a field that is bytes."""
        value = self.values[field]
        return value if isinstance(value, bytes) else b""


class Frame:
    """One frame. `source` and `peer` are 14-bit ids of who sends and who is addressed (0: nobody yet);
    `number` counts reliable frames modulo 128, `ack` is the number expected next; `payload` is bytes of
    messages, and `more` says that the next reliable frame goes on with them; `bye` ends the session."""

    __slots__ = ("ack", "bye", "more", "number", "payload", "peer", "reliable", "sender", "source")

    def __init__(
        self,
        sender: int,
        source: int,
        peer: int,
        payload: bytes = b"",
        reliable: bool = False,
        more: bool = False,
        number: int = 0,
        ack: int = 0,
        bye: bool = False,
    ) -> None:
        self.sender, self.source, self.peer = sender, source, peer
        self.payload, self.reliable, self.more = payload, reliable, more
        self.number, self.ack, self.bye = number, ack, bye


def pack_frame(frame: Frame) -> bytes:
    """The SysEx message. ValueError when the payload is longer than LONGEST_PAYLOAD."""
    if len(frame.payload) > LONGEST_PAYLOAD:
        raise ValueError(f"a payload has at most {LONGEST_PAYLOAD} bytes, not {len(frame.payload)}")
    flags = (
        (_FROM_DAEMON if frame.sender == DAEMON else 0)
        | (_RELIABLE if frame.reliable else 0)
        | (_MORE if frame.more else 0)
        | (_BYE if frame.bye else 0)
    )
    body = bytes(_HEAD) + bytes(
        (
            VERSION,
            flags,
            frame.source >> 7,
            frame.source & 127,
            frame.peer >> 7,
            frame.peer & 127,
            frame.number,
            frame.ack,
        )
    )
    body += pack7(frame.payload)
    check = checksum(body)
    return bytes((_START,)) + body + bytes((check >> 14, check >> 7 & 127, check & 127, _END))


def parse_frame(message: bytes) -> Frame | None:
    """The frame in a SysEx message; None for whatever is not a whole, sound frame of this version."""
    if not 16 <= len(message) <= LONGEST_FRAME or message[0] != _START or message[-1] != _END:
        return None
    body, check = message[1:-4], message[-4:-1]
    if tuple(body[:3]) != _HEAD or body[3] != VERSION or max(message[1:-1]) > 127:
        return None
    if checksum(body) != check[0] << 14 | check[1] << 7 | check[2]:
        return None
    payload = unpack7(body[11:])
    source, flags = body[5] << 7 | body[6], body[4]
    if payload is None or not source or flags > 15:
        return None
    return Frame(
        DAEMON if flags & _FROM_DAEMON else SCRIPT,
        source,
        body[7] << 7 | body[8],
        payload,
        bool(flags & _RELIABLE),
        bool(flags & _MORE),
        body[9],
        body[10],
        bool(flags & _BYE),
    )


def other_version(message: bytes) -> int | None:
    """The version of a frame of this link that this end does not speak, else None."""
    if len(message) < 6 or message[0] != _START or tuple(message[1:4]) != _HEAD:
        return None
    return message[4] if message[4] != VERSION else None


def pack7(data: bytes) -> bytes:
    """Bytes of 8 bits as bytes of 7: a byte of high bits before each seven, the first one's lowest."""
    packed = bytearray()
    for start in range(0, len(data), 7):
        group = data[start : start + 7]
        packed.append(sum((byte >> 7) << index for index, byte in enumerate(group)))
        packed.extend(byte & 127 for byte in group)
    return bytes(packed)


def unpack7(packed: bytes) -> bytes | None:
    """What `pack7` was given; None for what it cannot have made."""
    data = bytearray()
    for start in range(0, len(packed), 8):
        high, group = packed[start], packed[start + 1 : start + 8]
        if not group or high >> len(group):
            return None
        data.extend(byte | (high >> index & 1) << 7 for index, byte in enumerate(group))
    return bytes(data)


def checksum(data: bytes) -> int:
    """CRC-16 of ITU-T V.41 from 0xFFFF: every burst of up to 16 bits is noticed."""
    value = 0xFFFF
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC[value >> 8 ^ byte]
    return value


def _crc_table() -> list[int]:
    table = []
    for high in range(256):
        value = high << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
        table.append(value)
    return table


_CRC = _crc_table()


def write_message(name: str, /, **values: int | str | bytes) -> bytes:
    """One message: its number, the length of what follows in two bytes, its fields. Numbers are little-endian
    and held within what their kind can say; texts are UTF-8, with two bytes of length before them."""
    number = _NUMBERS[name]
    body = bytearray()
    for field, kind in MESSAGES[number][2]:
        value = values[field]
        if isinstance(value, (str, bytes)):
            data = value.encode("utf-8", "replace") if isinstance(value, str) else value
            data = data[:4000]
            body += len(data).to_bytes(2, "little") + data
            continue
        size, signed = _SIZES[kind], kind == "i32"
        low, high = (-(1 << 31), (1 << 31) - 1) if signed else (0, (1 << 8 * size) - 1)
        body += min(max(value, low), high).to_bytes(size, "little", signed=signed)
    return bytes((number,)) + len(body).to_bytes(2, "little") + bytes(body)


def read_messages(data: bytes, sender: int) -> list[Message]:
    """The messages of `sender` in `data`, the first MOST_MESSAGES. What is unknown or too short is left out,
    and what follows the known fields of a message passed over: a later version may say more."""
    found = []
    at = 0
    for _ in range(MOST_MESSAGES):
        if at + 3 > len(data):
            break
        number, length = data[at], int.from_bytes(data[at + 1 : at + 3], "little")
        body, at = data[at + 3 : at + 3 + length], at + 3 + length
        if number not in MESSAGES or MESSAGES[number][1] != sender or len(body) < length:
            continue
        values = _fields(body, MESSAGES[number][2])
        if values is not None:
            found.append(Message(MESSAGES[number][0], values))
    return found


def _fields(body: bytes, fields: tuple[tuple[str, str], ...]) -> dict[str, int | str | bytes] | None:
    values: dict[str, int | str | bytes] = {}
    at = 0
    for name, kind in fields:
        size = _SIZES.get(kind, 2)
        if at + size > len(body):
            return None
        number = int.from_bytes(body[at : at + size], "little", signed=kind == "i32")
        at += size
        if kind in _SIZES:
            values[name] = number
            continue
        if at + number > len(body):
            return None
        data, at = bytes(body[at : at + number]), at + number
        values[name] = data.decode("utf-8", "replace") if kind == "text" else data
    return values


def as_control_changes(frame: bytes) -> list[bytes]:
    """A SysEx frame as control changes on channel 16: 102 with the first byte, 103 and 104 in turn with the
    rest, 105 with the count modulo 128. For where SysEx does not come through."""
    body = frame[1:-1]
    messages = [bytes((_CC_STATUS, _CC_FIRST, body[0]))]
    for index, byte in enumerate(body[1:]):
        messages.append(bytes((_CC_STATUS, _CC_ODD if index % 2 else _CC_EVEN, byte)))
    messages.append(bytes((_CC_STATUS, _CC_LAST, len(body) & 127)))
    return messages


def is_coded(message: bytes) -> bool:
    """Whether a message is one of those that `as_control_changes` makes."""
    return len(message) == 3 and message[0] == _CC_STATUS and _CC_FIRST <= message[1] <= _CC_LAST


class ControlChangeReader:
    """Puts frames together again from control changes. Holds one frame at most."""

    def __init__(self) -> None:
        self._body = bytearray()

    def hear(self, message: bytes) -> bytes | None:
        """The SysEx frame that this message completes, if it does."""
        number, value = message[1], message[2]
        if number == _CC_FIRST:
            self._body = bytearray((value,))
        elif not self._body:
            return None
        elif number == _CC_LAST:
            body, self._body = self._body, bytearray()
            return bytes((_START, *body, _END)) if len(body) & 127 == value else None
        elif number == (_CC_EVEN if len(self._body) % 2 else _CC_ODD) and len(self._body) < _LONGEST_CC_FRAME:
            self._body.append(value)
        else:
            self._body = bytearray()
        return None
