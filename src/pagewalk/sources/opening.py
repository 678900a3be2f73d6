"""Where page tables come from: one function that opens whatever ``SOURCE`` names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pagewalk.doors import integer
from pagewalk.errors import UnsupportedError
from pagewalk.sources.detect import RAW, detect, source_type
from pagewalk.sources.source import Source

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from pagewalk.formats import PagingFormat
    from pagewalk.tables import PageTables

__all__ = ["open", "refuse_remote", "source"]

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_REMOTE: Final = {
    "qmp:": "a running QEMU cannot be opened yet; the path of a raw memory image can",
    "gdb:": "a gdb stub cannot be opened yet; the path of a raw memory image can",
    "pid:": "a process has no tables that can be opened; pagewalk.capture(pid) makes some",
}


def source(
    source: str | os.PathLike[str] | Source,
    *,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    source_type: str | None = None,
    writable: bool = False,
) -> Source:
    """Open a memory: what it is, is found out from its content.

    Args:
        source: Its path. A ``Source`` is given back as it is.
        base: Physical address of a raw image's first byte.
        segments: Where a file's parts lie, as ``(paddr, offset, size)`` in bytes, whatever it is.
        source_type: What it is, where its content misleads: ``docs/sources.md``.
        writable: Let what is written to the memory reach the file.

    Raises:
        OSError: It cannot be opened.
        ImageFormatError: It is not what it claims to be: truncated, contradictory, hostile.
        UnsupportedError: pagewalk knows what it is by name only; no such type.
        ValueError: Both a base and segments; a base of what says itself where its memory lies.
        TypeError: An address is no integer.
    """
    if isinstance(source, Source):
        return source
    base, parts = integer(base, "base"), None if segments is None else tuple(segments)
    if parts is not None and base:
        raise ValueError(f"segments say where the image lies: a base of {base:#x} contradicts them")
    refuse_remote(source)
    path = Path(source)
    type_ = RAW if parts is not None else _type(path, source_type)
    if type_ is RAW:
        return Source(str(source), RAW.name, RAW.open(path, base=base, segments=parts, writable=writable))
    if base:
        raise ValueError(f"{path}: {type_.what} says itself where its memory lies: a base of {base:#x} contradicts it")
    memory: Any = type_.open(path, writable=True) if writable else type_.open(path)
    said = {name: getattr(memory, name) for name in ("cpus", "vmcoreinfo", "missing") if hasattr(memory, name)}
    return Source(str(source), type_.name, memory, **said)


def open(  # noqa: A001 - pw.open is the face; this module needs no other
    source: str | os.PathLike[str] | Source,
    *,
    format: str | PagingFormat | None = None,  # noqa: A002 - the name users know from --format
    root: int | Literal["auto"] | None = None,
    registers: Mapping[str, Any] | str | None = None,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    os: str | None = None,
    encryption_bit: int | None = None,
    writable: bool = False,
    source_type: str | None = None,
) -> PageTables:
    """Open page tables in a memory image or dump: by the address of the top table, or by the CPU's registers.

    Args:
        source: The image's path, or a ``Source``.
        format: A paging format or its name. None: what the registers say, else x86-64. A format of your own beside
            registers says what entries are; the registers then say which windows there are, no more.
        root: Physical address of the top table, in bytes (x86: CR3 without its low 12 bits): one for all addresses.
            ``"auto"``: the one that is found in the memory, where it is clear which is meant: the kernel's of the only
            kernel, with the only process, if there is just one.
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
        source_type: What the source is, where its content misleads.

    Raises:
        OSError: The file cannot be opened.
        ImageFormatError: It is empty, or ends before a segment does.
        BadRoot: A root is misaligned, too wide, or outside the memory. That of one register of two as well: what the
            other one translates is opened without the first.
        UnsupportedError: No format or system of that name; the source is no raw image; registers that are not known,
            contradict each other or the format, or are of a CPU that translates nothing; an encryption bit of a format
            that has none; a root that is not clear: the message names those that were found.
        ValueError: Both a root and registers, or a base and segments; a register that is no number of 64 bits; an
            encryption bit that is none of 32 to 51.
        TypeError: Neither a root nor registers; an address is no integer.
    """
    opened = _source(source, base=base, segments=segments, source_type=source_type, writable=writable)
    try:
        return opened.tables(format=format, root=root, registers=registers, os=os, encryption_bit=encryption_bit)
    except BaseException:
        if opened is not source:
            opened.close()
        raise


_source: Final = source


def _type(path: Path, name: str | None) -> Any:
    """The type of a file: what the user says, or what its content says."""
    return detect(path) if name is None else source_type(name)


def refuse_remote(source: str | os.PathLike[str]) -> None:
    """Refuse a source that is no file.

    Raises:
        UnsupportedError: It is something else.
    """
    match = _URL.match(source) if isinstance(source, str) else None
    if match is not None and match.group() in _REMOTE:
        raise UnsupportedError(f"{source}: {_REMOTE[match.group()]}")
