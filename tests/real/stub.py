"""QEMU's gdb stub: registers by their names, physical memory, and a forgotten translation.

The protocol: "Debugging with GDB", appendix E (remote serial protocol) and G (target descriptions).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from tests.real.monitor import connected

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Stub"]

CHUNK = 1024  # bytes asked for at once


class Stub:
    """A connection to the stub. To connect stops the machine, and to close lets it go on.

    Args:
        path: Its socket.
        seconds: How long an answer may take.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._socket = connected(path, seconds)
        self._buffer = b""
        self.ask("qSupported:xmlRegisters=i386,aarch64,riscv")

    def close(self) -> None:
        self._socket.close()

    def ask(self, question: str) -> str:
        """The stub's answer. A machine that the monitor stops is reported unasked: that is passed over.

        Raises:
            EOFError: QEMU has ended.
        """
        self._socket.sendall(b"$%b#%02x" % (question.encode("latin1"), sum(question.encode("latin1")) & 0xFF))
        while re.match(r"[TS][0-9a-f]{2}", answer := self._packet()):
            pass
        return answer

    def _packet(self) -> str:
        """The next packet, its escapes undone."""
        while not (found := re.match(rb"\+*\$([^#]*)#..", self._buffer, re.DOTALL)):
            if not (more := self._socket.recv(1 << 16)):
                raise EOFError("QEMU has ended before its gdb stub answered")
            self._buffer += more
        self._buffer = self._buffer[found.end() :]
        self._socket.sendall(b"+")
        plain = re.sub(rb"}(.)", lambda one: bytes([one[1][0] ^ 0x20]), found[1], flags=re.DOTALL)
        return plain.decode("latin1")

    def _document(self, name: str) -> str:
        """An XML document."""
        text, more = "", "m"
        while more == "m":
            answer = self.ask(f"qXfer:features:read:{name}:{len(text):x},{CHUNK:x}")
            more, text = answer[:1], text + answer[1:]
        return text

    @cached_property
    def numbers(self) -> dict[str, tuple[int, int]]:
        """Each register's number and size in bytes, by its name in lower case."""
        found: dict[str, tuple[int, int]] = {}
        number = 0
        for name in re.findall(r'<xi:include href="([^"]+)"', self._document("target.xml")):
            text = re.sub(r"<!--.*?-->", "", self._document(name), flags=re.DOTALL)
            for register in re.findall(r"<reg\s[^>]*>", text):
                said = dict(re.findall(r'(\w+)="([^"]*)"', register))
                number = int(said.get("regnum", number))
                found.setdefault(said["name"].lower(), (number, int(said["bitsize"]) // 8))
                number += 1
        return found

    def register(self, name: str) -> int:
        """A register's value."""
        return int.from_bytes(bytes.fromhex(self._checked(f"p{self.numbers[name][0]:x}")), "little")

    def set_register(self, name: str, value: int) -> None:
        """Give a register a value."""
        number, size = self.numbers[name]
        self._checked(f"P{number:x}={value.to_bytes(size, 'little').hex()}")

    def read(self, paddr: int, size: int) -> bytes:
        """Physical memory."""
        self._checked("Qqemu.PhyMemMode:1")
        parts = [
            bytes.fromhex(self._checked(f"m{paddr + at:x},{min(CHUNK, size - at):x}")) for at in range(0, size, CHUNK)
        ]
        self._checked("Qqemu.PhyMemMode:0")
        return b"".join(parts)

    def forget(self, vaddr: int) -> None:
        """Have the CPU forget what it knows of an address: a watch point that comes or goes flushes its TLB."""
        self._checked(f"Z2,{vaddr:x},1")
        self._checked(f"z2,{vaddr:x},1")

    def _checked(self, question: str) -> str:
        """The answer to a question that must not fail."""
        answer = self.ask(question)
        if re.fullmatch(r"E[0-9a-f]{2}|", answer):
            raise RuntimeError(f"the gdb stub answers {question[:40]!r} with {answer!r}")
        return answer
