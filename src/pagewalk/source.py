"""Where page tables come from: one function that opens whatever ``SOURCE`` names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagewalk.doors import integer
from pagewalk.errors import BadRoot, UnsupportedError
from pagewalk.formats import DEFAULT, PagingFormat, encryption_bits, encryption_mask, find_format, from_registers
from pagewalk.memory import RawImage
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from pagewalk.formats import Window

__all__ = ["open"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*:")
_REMOTE = {
    "qmp:": "a running QEMU cannot be opened yet; the path of a raw memory image can",
    "gdb:": "a gdb stub cannot be opened yet; the path of a raw memory image can",
    "pid:": "a process has no tables that can be opened; pagewalk.capture(pid) makes some",
}
_CONTAINERS = {
    b"\x7fELF": "an ELF core",
    b"KDUMP   ": "a kdump file",
    b"makedumpfile": "a flattened makedumpfile dump",
    b"EMiL": "a LiME image",
}
"""What a file that is no raw image begins with."""
_LONGEST = max(map(len, _CONTAINERS))


def open(  # noqa: A001 - pw.open is the face; this module needs no other
    source: str | os.PathLike[str],
    *,
    format: str | PagingFormat | None = None,  # noqa: A002 - the name users know from --format
    root: int | None = None,
    registers: Mapping[str, Any] | str | None = None,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    os: str | None = None,
    encryption_bit: int | None = None,
    writable: bool = False,
) -> PageTables:
    """Open page tables in a raw memory image: by the address of the top table, or by the CPU's registers.

    Args:
        source: The image's path.
        format: A paging format or its name. None: what the registers say, else x86-64. A format of your own beside
            registers says what entries are; the registers then say which windows there are, no more.
        root: Physical address of the top table, in bytes (x86: CR3 without its low 12 bits): one for all addresses.
        registers: Those that say where the tables are, by name, as QEMU and gdb print them, in any case: ``cr3`` (and
            ``cr0``, ``cr4``, ``efer``); ``ttbr0_el1``, ``ttbr1_el1`` or both, and ``tcr_el1``; ``satp``. Others may be
            given that say what becomes of rights, or what memory types are: ``pkru``, ``pkrs``, ``pat``; ``sctlr_el1``,
            ``pstate``, ``cpsr``, ``pan``, ``mair_el1``; ``sstatus``, ``menvcfg``. A mapping, or text:
            ``name=value,...``. Format and windows follow from them.
        base: Physical address of the image's first byte.
        segments: Where the image's parts lie, as ``(paddr, offset, size)`` in bytes; None: all of it, from ``base`` on.
        os: The operating system whose entries stand beside the hardware's: ``linux`` (the newest), ``linux-6.12``,
            ``linux-7.3,device_private=no``, ``windows``, ``none``: ``docs/images.md``.
        encryption_bit: Of x86-64, the bit of addresses that marks encrypted memory (SEV's C-bit, TDX's shared bit), 32
            to 51: it is taken off the root and off what entries name. New tables and pages have it set, as SEV's
            private memory has it. The image must hold the memory in the clear. None: there is no such bit.
        writable: Let what is written to the memory reach the file.

    Raises:
        OSError: The file cannot be opened.
        ImageFormatError: It is empty, or ends before a segment does.
        BadRoot: A root is misaligned, too wide, or outside the memory. That of one register of two as well: what the
            other one translates is opened without the first.
        UnsupportedError: No format or system of that name; the source is no raw image; registers that are not known,
            contradict each other or the format, or are of a CPU that translates nothing; an encryption bit of a format
            that has none.
        ValueError: Both a root and registers, or a base and segments; a register that is no number of 64 bits; an
            encryption bit that is none of 32 to 51.
        TypeError: Neither a root nor registers; an address is no integer.
    """
    form, windows, names = _found(format, root, registers, os, encryption_bit)
    base = integer(base, "base")
    path = _local(source)
    parts = None if segments is None else tuple(segments)
    if parts is not None and base:
        raise ValueError(f"segments say where the image lies: a base of {base:#x} contradicts them")
    memory = RawImage(path, base=base, segments=parts, writable=writable)
    if parts is None:
        _refuse_containers(path, bytes(memory.segments[0].data[:_LONGEST]))
    tables = PageTables(memory, None, form, windows=windows)
    _refuse_outside(memory, form, dict(zip(windows, names, strict=True)))
    return tables


def _found(
    format: str | PagingFormat | None,  # noqa: A002 - as in open
    root: int | None,
    registers: Mapping[str, Any] | str | None,
    os: str | None,
    encryption_bit: int | None,
) -> tuple[PagingFormat, tuple[Window, ...], tuple[str, ...]]:
    """The format, the windows, and what each root was given as."""
    if root is not None and registers is not None:
        raise ValueError("a root and registers contradict each other: give one or the other")
    if registers is None:
        if root is None:
            raise TypeError("where the tables are is not said: give a root, or registers")
        form = find_format(DEFAULT if format is None else format, os, encryption_bit=encryption_bit)
        root = integer(root, "root") & ~encryption_mask(encryption_bit)
        windows = tuple(window._replace(root=root) for window in form.windows)
        return form, windows, ("root",) * len(windows)
    given = None if format is None else find_format(format, os, encryption_bit=encryption_bit)
    own = isinstance(format, PagingFormat)
    found = from_registers(registers, None if own else os, encryption_bit=encryption_bit)
    if given is not None and given.name != found.format.name:
        raise UnsupportedError(
            f"the registers say {found.format.name}, and the format {given.name} contradicts them: give one alone"
        )
    return given if given is not None and own else found.format, found.windows, found.registers


def _refuse_outside(memory: RawImage, form: PagingFormat, windows: dict[Window, str]) -> None:
    """Refuse roots outside the memory.

    One of two as well, such as the user's root of a kernel thread: an address space of which half is missing without a
    word is worse than a line that says how to open the rest.

    Args:
        memory: The memory.
        form: The format.
        windows: The windows, and what the root of each was given as.

    Raises:
        BadRoot: One is.
    """
    outside = {
        name: window.root
        for window, name in windows.items()
        if memory.view(window.root, form.levels_of(window)[0].table_bytes) is None
    }
    for name, root in outside.items():
        where, what = ("", "the root") if name == "root" else (f"of {name} ", name)
        hint = _encryption(memory, form, root)
        why = f"{where}is outside the memory, which has {memory.extent}"
        rest = f"; without {name} the rest can be opened" if len(outside) < len(set(windows.values())) else ""
        raise BadRoot(root, f"{why}: {hint}the image is truncated, or its base (--base) or {what} is wrong{rest}")


def _encryption(memory: RawImage, form: PagingFormat, root: int) -> str:
    """What to say of a root that would be inside but for one bit: it marks encrypted memory."""
    for bit in encryption_bits(form):
        if root >> bit & 1 and memory.view(root & ~(1 << bit), form.word.size) is not None:
            return f"bit {bit} is an encryption bit (--encryption-bit {bit}), or "
    return ""


def _local(source: str | os.PathLike[str]) -> Path:
    """The path of a source that is a file here."""
    refuse_remote(source)
    return Path(source)


def _refuse_containers(path: Path, head: bytes) -> None:
    """Refuse a file in which physical memory does not lie as it is, by its first bytes."""
    for magic, what in _CONTAINERS.items():
        if head.startswith(magic):
            remedy = "say where its memory lies, as segments (--segment PADDR:OFFSET:SIZE)"
            raise UnsupportedError(f"{path}: {what} is not opened as a raw image: {remedy}")


def refuse_remote(source: str | os.PathLike[str]) -> None:
    """Refuse a source that is no file.

    Raises:
        UnsupportedError: It is something else.
    """
    match = _URL.match(source) if isinstance(source, str) else None
    if match is not None and match.group() in _REMOTE:
        raise UnsupportedError(f"{source}: {_REMOTE[match.group()]}")
