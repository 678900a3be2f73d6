"""The headers of an ELF core: where its memory and its notes lie. No header is believed.

How it works: everything is read by ``read(offset, size)``, which gives what there is, so that a mapped file, a live
``/proc/kcore`` and a file that was cut off are read alike. Python numbers do not wrap: what a header promises is
compared with what the file has, and only then used.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from pagewalk.abi.elf import ET_CORE, LAYOUTS, MACHINES, PN_XNUM, PT_LOAD, PT_NOTE
from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory.dumps.elf_notes import Notes, notes_of
from pagewalk.memory.files.layout import MOST, Claim, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.abi.elf import Layout, Machine

    Read = Callable[[int, int], bytes | memoryview]

__all__ = ["Core", "core_of"]

_MAGIC: Final = b"\x7fELF"
_IDENT: Final = 16
_XEN: Final = b".xen_p"
"""How the names of the sections begin that say which page is where."""
_STRINGS: Final = 1 << 16
_ORDERS: Final = {1: "<", 2: ">"}
_NOTES: Final = 16 << 20
"""Bytes of notes at most: those of ten thousand CPUs."""
_REACH: Final = 1 << 46
"""How far a direct map can reach: what lies further from its beginning is another part of the address space."""


class Core(NamedTuple):
    """What an ELF core says.

    Attributes:
        machine: The name of its machine.
        claims: Its memory.
        notes: Its notes.
        missing: What it does not have, a sentence each.
    """

    machine: str
    claims: list[Claim]
    notes: Notes
    missing: tuple[str, ...]


class _Load(NamedTuple):
    """A program header: of its fields those that matter, in the order of ``Layout.fields``."""

    kind: int
    offset: int
    vaddr: int
    paddr: int
    stored: int
    size: int


def core_of(read: Read) -> Core:
    """Read the headers of an ELF core.

    Args:
        read: Gives the bytes of a file at an offset, fewer where it ends.

    Raises:
        ImageFormatError: It is none, or its headers are not all there.
        UnsupportedError: It is an ELF file of another kind, or of a machine whose tables are not read.
    """
    ident = bytes(read(0, _IDENT))
    if len(ident) < _IDENT or ident[:4] != _MAGIC:
        raise ImageFormatError("no ELF file: the first bytes are others")
    layout, order = LAYOUTS.get(ident[4]), _ORDERS.get(ident[5])
    if layout is None or order is None:
        raise ImageFormatError(
            f"an ELF file of class {ident[4]} and byte order {ident[5]}: there are 1 and 2 of either"
        )
    head = struct.Struct(order + layout.head)
    raw = read(_IDENT, head.size)
    if len(raw) < head.size:
        raise ImageFormatError("an ELF header that is cut off")
    kind, number, _, _, start, sections, _, _, each, count, _, _, names = head.unpack(raw)
    machine = MACHINES.get(number)
    name = machine.name if machine else f"machine {number}"
    if kind != ET_CORE:
        raise UnsupportedError(f"an ELF file of type {kind} is no core (type {ET_CORE}): it holds no memory to open")
    if order == ">":
        raise UnsupportedError(f"a big-endian core ({name}): page tables of such machines are not read")
    if not count:
        _refuse_without(read, layout, order, sections, names)
    missing: list[str] = []
    headers = _program_headers(read, layout, order, start, _count(read, layout, order, sections, count), each, missing)
    notes = _notes(read, [one for one in headers if one.kind == PT_NOTE], order, machine, missing)
    claims = _claims([one for one in headers if one.kind == PT_LOAD], layout, machine, missing)
    if notes.cpus:
        begin = max(one.offset + one.stored for one in headers if one.kind == PT_NOTE)
        claims += _unnamed(claims, begin, missing)
    return Core(name, claims, notes, (*missing, *_unsaid(notes, machine)))


def _section(read: Read, layout: Layout, order: str, sections: int, number: int) -> tuple[int, int, int] | None:
    """``sh_offset``, ``sh_size`` and ``sh_info`` of a section; None: it is not in the file."""
    form = struct.Struct(order + layout.section)
    raw = read(sections + number * form.size, form.size)
    if not sections or len(raw) < form.size:
        return None
    words = form.unpack(raw)
    offset, size, info = (words[at] for at in layout.place)
    return offset, size, info


def _count(read: Read, layout: Layout, order: str, sections: int, count: int) -> int:
    """How many program headers there are."""
    if count != PN_XNUM:
        return count
    first = _section(read, layout, order, sections, 0)
    if first is None:
        raise ImageFormatError(
            f"the number of its program headers is in a section header at {sections:#x}, which is not in the file"
        )
    return first[2]


def _refuse_without(read: Read, layout: Layout, order: str, sections: int, names: int) -> NoReturn:
    """Refuse a core without program headers: Xen's have sections instead.

    Source: Xen, ``docs/misc/dump-core-format.txt``.
    """
    found = _section(read, layout, order, sections, names)
    if found is not None and _XEN in bytes(read(found[0], min(found[1], _STRINGS))):
        raise UnsupportedError("a Xen core: its memory is in sections, which are not read: take a kdump in the guest")
    raise ImageFormatError("an ELF core without program headers: they would say where its memory lies")


def _program_headers(
    read: Read, layout: Layout, order: str, start: int, count: int, each: int, missing: list[str]
) -> list[_Load]:
    """Those that are in the file."""
    form = struct.Struct(order + layout.program)
    if each != form.size:
        raise ImageFormatError(f"program headers of {each} bytes: in this class they have {form.size}")
    if count > MOST:
        raise ImageFormatError(f"{count:,} program headers: more than {MOST:,} are not looked at")
    raw = read(start, count * each)
    here = len(raw) // each
    if not here:
        raise ImageFormatError(f"its {count} program headers at {start:#x} are not in the file")
    if here < count:
        missing.append(f"of {count:,} program headers {here:,} are in the file: it is cut off")
    return [_Load(*[words[at] for at in layout.fields]) for words in form.iter_unpack(raw[: here * each])]


def _notes(read: Read, headers: list[_Load], order: str, machine: Machine | None, missing: list[str]) -> Notes:
    """What all notes say."""
    parts, left, promised = [], _NOTES, sum(header.stored for header in headers)
    for header in headers:
        if header.stored and left:
            parts.append(bytes(read(header.offset, min(header.stored, left))))
            left -= len(parts[-1])
    notes = notes_of(b"".join(parts), order, machine)
    if left == 0 and promised > _NOTES:
        missing.append(f"of {promised:#x} bytes of notes the first {_NOTES:#x} are read")
    elif (here := _NOTES - left) < promised:
        missing.append(f"of {promised:#x} bytes of notes {here:#x} are in the file")
    elif notes.cut:
        missing.append(f"its notes are read in part: {notes.cut}")
    return notes


def _claims(loads: list[_Load], layout: Layout, machine: Machine | None, missing: list[str]) -> list[Claim]:
    """Memory at physical addresses."""
    unknown = (1 << layout.bits) - 1
    told = [one for one in loads if one.paddr != unknown and (one.size or one.stored)]
    if len(told) > 1 and len({one.vaddr for one in told}) > 1 and not any(one.paddr for one in told):
        told = _from_virtual(told, layout, machine, missing)
    return [Claim(one.paddr, one.offset, one.stored, one.size) for one in told]


def _from_virtual(loads: list[_Load], layout: Layout, machine: Machine | None, missing: list[str]) -> list[_Load]:
    """Headers that name no physical address, as old kernels' do, by where the direct map has them.

    The direct map is the lowest part of the kernel's half, and the machine's first memory is in its first bytes.

    Raises:
        ImageFormatError: Where it begins is not known.
        UnsupportedError: There is no kernel's half: it is the core of a program.
    """
    half = 1 << layout.bits - 1
    upper = [one for one in loads if one.vaddr >= half]
    if not upper:
        raise UnsupportedError("the core of a program: its headers name no physical memory")
    if machine is None or not machine.physical:
        raise ImageFormatError(
            "its headers name no physical addresses: say where its memory lies (--segment PADDR:OFFSET:SIZE)"
        )
    base = min(one.vaddr for one in upper) // machine.physical * machine.physical
    found = [one._replace(paddr=one.vaddr - base) for one in upper if one.vaddr - base < min(_REACH, half // 2)]
    missing.append(
        f"its headers name no physical addresses: they were taken from virtual ones, less the direct map's {base:#x}"
    )
    return found


def _unnamed(claims: list[Claim], begin: int, missing: list[str]) -> list[Claim]:
    """Memory in QEMU's dump that no header names, though its bytes are there.

    Asked to dump by page tables (``paging``), QEMU makes the headers from what the tables of each CPU map, which under
    page-table isolation is little, and still writes each block of RAM as a whole, one after the other. So what lies
    between two named runs of one block, at the same distance in the file as in memory, is memory too; and what lies
    before the first, if that makes the block begin at physical 0.

    Source: QEMU, ``dump/dump.c`` (``get_offset_range``, ``dump_iterate``).

    Args:
        claims: What headers name.
        begin: Where the notes end and the blocks begin.
        missing: Told if any is found.
    """
    blocks: dict[int, tuple[int, int]] = {}
    for paddr, offset, stored, _ in claims:
        if stored:
            low, high = blocks.get(offset - paddr, (paddr, paddr))
            blocks[offset - paddr] = min(low, paddr), max(high, paddr + stored)
    spans = sorted((low, high, shift) for shift, (low, high) in blocks.items())
    if any(low[1] > high[0] for low, high in pairwise(spans)):
        return []
    if spans and spans[0][2] == begin:
        spans[0] = (0, *spans[0][1:])
    named = sum(end - start for start, end in joined((one.paddr, one.paddr + one.stored) for one in claims))
    if unnamed := sum(high - low for low, high, _ in spans) - named:
        missing.append(f"its headers name part of its memory: {unnamed:#x} bytes were found between what they name")
    return [Claim(low, low + shift, high - low, high - low) for low, high, shift in spans]


def _unsaid(notes: Notes, machine: Machine | None) -> tuple[str, ...]:
    """What the notes do not have."""
    told = []
    if not notes.cpus:
        general = f" (general ones of {notes.states} CPUs)" if notes.states else ""
        told.append(f"its notes have no registers that say where its tables are{general}: give --root or --registers")
    elif machine is not None and machine.unsaid:
        told.append(machine.unsaid)
    if not notes.vmcoreinfo:
        told.append("its notes have no VMCOREINFO")
    return tuple(told)
