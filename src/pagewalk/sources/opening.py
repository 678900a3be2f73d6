"""Where page tables come from: one function that opens whatever ``SOURCE`` names."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer
from pagewalk.errors import ImageFormatError, UnsupportedError
from pagewalk.memory import MappedFiles, PiecewiseMemory, RawImage
from pagewalk.sources.detect import RAW, detect
from pagewalk.sources.detect import source_type as type_named
from pagewalk.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pagewalk.formats import PagingFormat
    from pagewalk.sources.detect import SourceType
    from pagewalk.tables import PageTables

__all__ = ["open", "refuse_remote", "source"]

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_REMOTE: Final = {
    "qmp:": "a running QEMU cannot be opened yet; the path of a raw memory image can",
    "gdb:": "a gdb stub cannot be opened yet; the path of a raw memory image can",
    "pid:": "a process has no tables that can be opened; pagewalk.capture(pid) makes some",
}


def source(
    source: str | PathLike[str] | Source | Sequence[str | PathLike[str]],
    *,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    source_type: str | None = None,
    writable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Open a memory: what it is, is found out from its content.

    Args:
        source: Its path; a list of paths, of a split dump, or of a Firecracker snapshot and the differential ones over
            it. A ``Source`` is given back as it is.
        base: Physical address of a raw image's first byte; of a Firecracker snapshot's.
        segments: Where a file's parts lie, as ``(paddr, offset, size)`` in bytes, whatever it is.
        source_type: What it is, where its content misleads: ``docs/sources.md``. Of a compressed file, what is inside.
        writable: Let what is written to the memory reach the file.
        progress: Told how many bytes of a compressed file have been unpacked, and how many of them are on the disk.

    Raises:
        OSError: It cannot be opened; it is compressed, and there is no room to unpack it (``TMPDIR``).
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
    asked = None if source_type is None else type_named(source_type)
    if not isinstance(source, str | PathLike):
        return _several([Path(path) for path in source], asked, base, parts, writable)
    refuse_remote(source)
    path, name = Path(source), str(source)
    packed = RAW if asked is RAW else detect(path)
    if not packed.packing:
        return _opened(path, name, asked or packed, base, parts, writable)
    if writable:
        raise UnsupportedError(f"{path}: {packed.what} is not written: unpack it first")
    from pagewalk.memory.unpacked import unpacked  # its decoders take their time

    with unpacked(path, packed.packing, progress=progress) as inside, _named(inside, f"{path} unpacked"):
        if (found := detect(inside)).packing:
            raise UnsupportedError(f"{path}: {packed.what} with {found.what} in it: unpack it first")
        opened = _opened(inside, name, asked or found, base, parts, writable=False)
    if isinstance(opened.memory, RawImage | PiecewiseMemory | MappedFiles):
        opened.memory.path = path  # for messages: the path that it was opened by means nothing any more
    return replace(opened, packing=packed.packing)


def open(  # noqa: A001 - pw.open is the face; this module needs no other
    source: str | PathLike[str] | Source | Sequence[str | PathLike[str]],
    *,
    format: str | PagingFormat | None = None,  # noqa: A002 - the name users know from --format
    root: int | None = None,
    registers: Mapping[str, Any] | str | None = None,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    os: str | None = None,
    encryption_bit: int | None = None,
    writable: bool = False,
    source_type: str | None = None,
    pid: int | None = None,
    notes: list[str] | None = None,
) -> PageTables:
    """Open page tables in a memory image or dump: by the top table's address, the CPU's registers, or a process.

    Args:
        source: The image's path, or paths, or a ``Source``.
        format: A paging format or its name. None: what the registers say, else x86-64. A format of your own beside
            registers says what entries are; the registers then say which windows there are, no more.
        root: Physical address of the top table, in bytes (x86: CR3 without its low 12 bits): one for all addresses.
        registers: Those that say where the tables are, by name, as QEMU and gdb print them, in any case: ``cr3`` (and
            ``cr0``, ``cr4``, ``efer``); ``ttbr0_el1``, ``ttbr1_el1`` or both, and ``tcr_el1``; ``satp``. Others may be
            given that say what becomes of rights, or what memory types are: ``pkru``, ``pkrs``, ``pat``; ``sctlr_el1``,
            ``pstate``, ``cpsr``, ``pan``, ``mair_el1``, ``tcr2_el1``; ``sstatus``, ``menvcfg``. A mapping, or text:
            ``name=value,...``. Format and windows follow from them. Beside the registers of a dump they say more, or
            other things: each counts instead of the dump's own.
        base: Physical address of the image's first byte.
        segments: Where the image's parts lie, as ``(paddr, offset, size)`` in bytes; None: all of it, from ``base`` on.
        os: The operating system whose entries stand beside the hardware's: ``linux`` (the newest), ``linux-6.12``,
            ``linux-7.3,device_private=no``, ``windows``, ``none``: ``docs/images.md``.
        encryption_bit: Of x86-64, the bit of addresses that marks encrypted memory (SEV's C-bit, TDX's shared bit), 32
            to 51: it is taken off the root and off what entries name. New tables and pages have it set, as SEV's
            private memory has it. The image must hold the memory in the clear. None: there is no such bit.
        writable: Let what is written to the memory reach the file.
        source_type: What the source is, where its content misleads.
        pid: A process of the Linux in the memory: its tables and the kernel's, which says format and system. 0: those.
        notes: Told what else to know of them.

    Raises:
        OSError: The file cannot be opened.
        ProcessError: There is no such process, or it has no page tables.
        ImageFormatError: It is empty, or ends before a segment does.
        BadRoot: A root is misaligned, too wide, or outside the memory. That of one register of two as well: what the
            other one translates is opened without the first.
        UnsupportedError: No format or system of that name; the source opens as nothing, or has no Linux to read;
            registers that are not known, contradict each other or the format, or are of a CPU that translates nothing;
            an encryption bit of a format that has none.
        ValueError: More than one of root, registers and pid; a base beside segments; a register that is no number of 64
            bits; an encryption bit that is none of 32 to 51.
        TypeError: Neither a root, nor registers, nor a pid, and the source has none; an address is no integer.
    """
    opened = _source(source, base=base, segments=segments, source_type=source_type, writable=writable)
    try:
        where: Any = {"root": root, "registers": registers, "pid": pid, "notes": notes}
        return opened.tables(format=format, os=os, encryption_bit=encryption_bit, **where)
    except BaseException:
        if opened is not source:
            opened.close()
        raise


_source: Final = source


def _several(paths: list[Path], asked: SourceType | None, base: int, parts: object, writable: bool) -> Source:
    """One source in several files.

    Raises:
        ValueError: No files, or segments of several.
        UnsupportedError: Its type has one file each.
        OSError, ImageFormatError: As ``source``.
    """
    if not paths or parts is not None:
        raise ValueError(f"segments are of one file, not of {len(paths)}" if paths else "a source of no files")
    type_ = asked or detect(paths[0])
    if not type_.several:
        raise UnsupportedError(f"{paths[0]}: {type_.what} has one file: open each by itself")
    return _opened(paths, ", ".join(map(str, paths)), type_, base, None, writable)


def _opened(
    path: Path | list[Path],
    name: str,
    type_: SourceType,
    base: int,
    parts: Iterable[tuple[int, int, int]] | None,
    writable: bool,
) -> Source:
    """What is in files of a type that is known; segments make it a raw image, whatever it is."""
    if type_ is RAW or parts is not None:
        return Source(name, RAW.name, RAW.open(path, base=base, segments=parts, writable=writable))
    if base and not type_.based:
        raise ValueError(f"{name}: {type_.what} says itself where its memory lies: a base of {base:#x} contradicts it")
    if writable and type_.fixed:
        raise UnsupportedError(f"{name}: {type_.what} is not written: write to a raw image or an ELF core")
    options = ({"writable": True} if writable else {}) | ({"base": base} if base else {})
    memory: Any = type_.open(path, **options)
    said = {name: getattr(memory, name) for name in ("cpus", "vmcoreinfo", "missing") if hasattr(memory, name)}
    return Source(name, type_.name, memory, **said)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Have messages say where the user finds a file whose own path means nothing."""
    try:
        yield
    except (ImageFormatError, UnsupportedError) as error:
        raise type(error)(str(error).replace(str(path), name)) from None


def refuse_remote(source: str | PathLike[str]) -> None:
    """Refuse a source that is no file.

    Raises:
        UnsupportedError: It is something else.
    """
    match = _URL.match(source) if isinstance(source, str) else None
    if match is not None and match.group() in _REMOTE:
        raise UnsupportedError(f"{source}: {_REMOTE[match.group()]}")
