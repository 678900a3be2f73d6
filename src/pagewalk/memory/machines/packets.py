"""Packets of gdb's remote protocol, made and taken apart: no I/O, and no trust in what arrives.

How it works. A packet is ``$payload#checksum``, the checksum two hexadecimal digits: the sum of what stands between.
There, ``}`` is an escape (the next byte is xored with 0x20), and ``*`` repeats the byte before it as many times as the
next one says, less 29. Between packets stand acknowledgements, ``+``. Bytes on a stream do not get lost: what is wrong
was sent so, and nothing is asked for again.

Source: Debugging with GDB, appendix E.1 (overview of the remote protocol).
"""

from __future__ import annotations

import re
import sys
from typing import Final

from pagewalk.doors import shown
from pagewalk.errors import ImageFormatError

__all__ = ["LONGEST", "Packets", "packed"]

LONGEST: Final = 1 << 16
"""Bytes of a packet that are waited for at most, and of its payload when it is spread out."""
_FEW: Final = 256
_REPEAT: Final = 29
_SUM: Final = re.compile(rb"[0-9a-fA-F]{2}")
_ESCAPE: Final = re.compile(rb"\}(.)", re.DOTALL)


def packed(payload: bytes) -> bytes:
    """A packet. What may not stand in it as it is, is escaped."""
    plain = re.sub(rb"[#$}*]", lambda one: b"}" + bytes([one[0][0] ^ 0x20]), payload)
    return b"$%b#%02x" % (plain, _sum(plain))


class Packets:
    """What arrives, as payloads."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now, in order.

        Raises:
            ImageFormatError: What arrived is no packet: a wrong checksum, bytes between packets, one without an end.
        """
        found, at, data = [], 0, self._rest + data
        while (start := _skipped(data, at)) < len(data):
            end = data.find(b"#", start)
            if end < 0 or end + 3 > len(data):
                break
            if data[start : start + 1] == b"$":  # else a notification, which nobody waits for
                found.append(_payload(data[start + 1 : end], data[end + 1 : end + 3]))
            at = end + 3
        self._rest = data[start:]
        if len(self._rest) > LONGEST:
            raise ImageFormatError(f"a packet of more than {LONGEST} bytes arrives: {shown(self._rest[:8])}...")
        return found


def _skipped(data: bytes, at: int) -> int:
    """Where the next packet or notification begins: acknowledgements are passed over."""
    while data[at : at + 1] == b"+":
        at += 1
    if data[at : at + 1] not in (b"$", b"%", b""):
        raise ImageFormatError(f"{shown(data[at : at + 8])} arrives where a packet of gdb's protocol begins with '$'")
    return at


def _payload(raw: bytes, checksum: bytes) -> bytes:
    """What a packet says.

    Raises:
        ImageFormatError: Its checksum is another, or it is too long; or what repeats or escapes stands alone.
    """
    if not _SUM.fullmatch(checksum) or int(checksum, 16) != _sum(raw):
        raise ImageFormatError(f"a packet's checksum is {shown(checksum)}, and its bytes add up to {_sum(raw):#04x}")
    if b"*" in raw:
        raw = _spread(raw)
    if len(raw) > LONGEST:
        raise ImageFormatError(f"a packet says more than {LONGEST} bytes: {shown(raw[:8])}...")
    if b"}" not in raw:
        return raw
    if raw.endswith(b"}") and len(raw) - len(raw.rstrip(b"}")) & 1:
        raise ImageFormatError("a packet ends with an escape")
    return _ESCAPE.sub(lambda one: bytes([one[1][0] ^ 0x20]), raw)


def _spread(raw: bytes) -> bytes:
    """A payload, with what is repeated as often as it is."""
    out, at = bytearray(), 0
    while (star := raw.find(b"*", at)) >= 0:
        out += raw[at:star]
        count = raw[star + 1] - _REPEAT if star + 1 < len(raw) else 0
        if not out or not 3 <= count <= 126 - _REPEAT:
            raise ImageFormatError(f"a packet repeats wrongly: {shown(raw[max(star - 4, 0) : star + 2])}")
        out += out[-1:] * count
        if len(out) > LONGEST:
            raise ImageFormatError(f"a packet says more than {LONGEST} bytes: {shown(bytes(out[:8]))}...")
        at = star + 2
    return bytes(out + raw[at:])


def _sum(data: bytes) -> int:
    """The bytes' sum, modulo 256. NumPy takes a fifth of the time, where it is loaded anyway."""
    numpy = sys.modules.get("numpy") if len(data) > _FEW else None
    return sum(data) & 0xFF if numpy is None else int(numpy.frombuffer(data, numpy.uint8).sum(dtype=numpy.uint8))
