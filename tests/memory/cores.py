"""ELF cores and LiME images, written header by header."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HIGH", "Load", "core", "lime", "note", "qemu_state", "vmcoreinfo"]

HIGH = 0xFFFF_8880_0000_0000
"""Where old kernels' direct map begins, more or less."""


class Load(NamedTuple):
    """A PT_LOAD header; None: what follows from the rest."""

    paddr: int
    data: bytes
    vaddr: int | None = None
    stored: int | None = None
    size: int | None = None
    offset: int | None = None


def note(name: bytes, kind: int, body: bytes) -> bytes:
    """A note."""
    name += b"\0"
    padded = name.ljust(len(name) + 3 & ~3, b"\0") + body.ljust(len(body) + 3 & ~3, b"\0")
    return struct.pack("<3I", len(name), len(body), kind) + padded


def qemu_state(*, cr0: int = 0x8005_0033, cr3: int, cr4: int, version: int = 1) -> bytes:
    """QEMU's note of a CPU: two words, 18 registers, 10 segments, CR0 to CR4, GS's kernel base."""
    registers = struct.pack("<18Q", *range(18)) + bytes(240) + struct.pack("<6Q", cr0, 0, 0xDEAD, cr3, cr4, 7)
    return note(b"QEMU", 0, struct.pack("<2I", version, 8 + len(registers)) + registers)


def vmcoreinfo(*lines: str) -> bytes:
    """The kernel's note."""
    return note(b"VMCOREINFO", 0, "\n".join(lines).encode() + b"\n")


def core(
    loads: Sequence[Load],
    notes: bytes = b"",
    *,
    bits: int = 64,
    machine: int = 62,
    kind: int = 4,
    order: str = "<",
    count: int | None = None,
    extended: bool = False,
    headers_last: bool = False,
) -> bytes:
    """An ELF core.

    Args:
        loads: Its memory.
        notes: Its notes.
        bits: Its class.
        machine, kind, order: ``e_machine``, ``e_type``, and the byte order.
        count: What it says of the number of its program headers.
        extended: Say that number in a section header.
        headers_last: Put the program headers behind all else.
    """
    wide = bits == 64
    head, program, section = (64, 56, 64) if wide else (52, 32, 40)
    number = len(loads) + 1
    sections = head if extended else 0
    first = head + section * extended
    body = first if headers_last else first + number * program
    parts, at = [notes], body + len(notes)
    headers = [_program(wide, order, 4, body, 0, 0, len(notes), len(notes))]
    for load in loads:
        offset = at if load.offset is None else load.offset
        stored = len(load.data) if load.stored is None else load.stored
        size = stored if load.size is None else load.size
        vaddr = load.paddr if load.vaddr is None else load.vaddr
        headers.append(_program(wide, order, 1, offset, vaddr, load.paddr, stored, size))
        parts.append(load.data)
        at += len(load.data)
    start = at if headers_last else first
    number = number if count is None else count
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    said = 0xFFFF if extended else number
    begin = ident + struct.pack(
        form, kind, machine, 1, 0, start, sections, 0, head, program, said, section, extended, 0
    )
    if extended:
        info = 44 if wide else 28
        begin += struct.pack(f"{order}{info}xI", number).ljust(section, b"\0")
    table = b"".join(headers)
    return begin + (b"" if headers_last else table) + b"".join(parts) + (table if headers_last else b"")


def _program(wide: bool, order: str, kind: int, offset: int, vaddr: int, paddr: int, stored: int, size: int) -> bytes:
    """A program header."""
    if wide:
        return struct.pack(order + "2I6Q", kind, 6, offset, vaddr, paddr, stored, size, 0)
    return struct.pack(order + "8I", kind, offset, vaddr, paddr, stored, size, 6, 0)


def lime(runs: Sequence[tuple[int, bytes]]) -> bytes:
    """A LiME image, as AVML writes it too without compression."""
    return b"".join(
        struct.pack("<IIQQQ", 0x4C69_4D45, 1, start, start + len(data) - 1, 0) + data for start, data in runs
    )
