"""Where page tables come from: one function that opens whatever ``SOURCE`` names."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal

from pagewalk.doors import integer
from pagewalk.errors import UnsupportedError
from pagewalk.sources.detect import MACHINES
from pagewalk.sources.files import file_source, files_source
from pagewalk.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pagewalk.formats import PagingFormat
    from pagewalk.sources.detect import SourceType
    from pagewalk.tables import PageTables

__all__ = ["open", "refuse_process", "source"]

_PROCESS: Final = "a process has no tables that can be opened; pagewalk.capture(pid) makes some"


def source(
    source: str | PathLike[str] | Source | Sequence[str | PathLike[str]],
    *,
    base: int = 0,
    segments: Iterable[tuple[int, int, int]] | None = None,
    source_type: str | None = None,
    writable: bool = False,
    stop: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Open a memory: what it is, is found out from its content.

    Args:
        source: Its path; a list of paths, of a split dump, or of a Firecracker snapshot and the differential ones over
            it; ``qmp:PATH``, ``gdb:PATH`` or ``gdb:HOST:PORT`` of a machine that QEMU runs:
            ``docs/running-machines.md``. A ``Source`` is given back as it is.
        base: Physical address of a raw image's first byte; of a Firecracker snapshot's.
        segments: Where a file's parts lie, as ``(paddr, offset, size)`` in bytes, whatever it is.
        source_type: What it is, where its content misleads: ``docs/sources.md``. Of a compressed file, what is inside.
        writable: Let what is written to the memory reach the file, or the machine.
        stop: Hold a running machine while it is open; it goes on in the end, if it ran before. Through its gdb stub it
            is held in any case.
        progress: Told how many bytes of a compressed file have been unpacked, and how many of them are on the disk.

    Raises:
        OSError: It cannot be opened; it is compressed, and there is no room to unpack it (``TMPDIR``).
        ImageFormatError: It is not what it claims to be: truncated, contradictory, hostile.
        UnsupportedError: pagewalk knows what it is by name only; no such type.
        ValueError: Both a base and segments; either of what says itself where its memory lies; a type of a machine; a
            file that is to be held, or an address that names nothing.
        TypeError: An address is no integer.
    """
    if isinstance(source, Source):
        return source
    base, parts = integer(base, "base"), None if segments is None else tuple(segments)
    if parts is not None and base:
        raise ValueError(f"segments say where the image lies: a base of {base:#x} contradicts them")
    if not isinstance(source, str | PathLike):
        files = list(source)
        for one in files:
            _refuse_in_parts(one)
        return files_source(files, base=base, parts=parts, source_type=source_type, writable=writable)
    refuse_process(source)
    if (machine := _machine(source)) is not None:
        _refuse_for_machine(str(source), base=base, segments=parts, source_type=source_type)
        memory = machine.open(str(source).partition(":")[2], writable=writable, stop=stop)
        return Source.of(str(source), machine.name, memory)
    if stop:
        raise ValueError(f"{source} is no running machine: there is nothing to stop")
    return file_source(source, base=base, parts=parts, source_type=source_type, writable=writable, progress=progress)


def open(  # noqa: A001 - pw.open is the face; this module needs no other
    source: str | PathLike[str] | Source | Sequence[str | PathLike[str]],
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
    pid: int | None = None,
    notes: list[str] | None = None,
    stop: bool = False,
) -> PageTables:
    """Open page tables in an image, a dump or a machine: by the top table's address, the CPU's registers, or a process.

    None of them given: by the registers of the first CPU that translates, if the source has them.

    Args:
        source: The image's path, or paths, the machine's address (``pagewalk.source`` has the forms), or a ``Source``.
        format: A paging format or its name. None: what the registers say, else x86-64. A format of your own beside
            registers says what entries are; the registers then say which windows there are, no more.
        root: Physical address of the top table, in bytes (x86: CR3 without its low 12 bits): one for all addresses.
            ``"auto"``: the one that is found in the memory, where it is clear which is meant: the kernel's of the only
            kernel, with the only process, if there is just one.
        registers: Those that say where the tables are, by name, as QEMU and gdb print them, in any case: ``cr3`` (and
            ``cr0``, ``cr4``, ``efer``); ``ttbr0_el1``, ``ttbr1_el1`` or both, and ``tcr_el1``; ``satp``; and others
            (``docs/images.md``). A mapping, or text: ``name=value,...``. Each counts instead of a dump's own.
        base, segments, writable, source_type, stop: As ``pagewalk.source``.
        os: The operating system whose entries stand beside the hardware's: ``linux`` (the newest), ``linux-6.12``,
            ``linux-7.3,device_private=no``, ``windows``, ``none``: ``docs/images.md``. None: what a dump says of its
            kernel in VMCOREINFO; else the newest Linux.
        encryption_bit: Of x86-64, the bit of addresses that marks encrypted memory (SEV's C-bit, TDX's shared bit), 32
            to 51: it is taken off the root and off what entries name. New tables and pages have it set, as SEV's
            private memory has it. The image must hold the memory in the clear. None: there is no such bit.
        pid: A process of the Linux in the memory: its tables and the kernel's, which says format and system. 0: those.
        notes: Told what else to know of them.

    Raises:
        OSError: The file cannot be opened, or nobody answers at the address.
        ProcessError: There is no such process, or it has no page tables.
        ImageFormatError: It is empty, or ends before a segment does; what answers speaks another protocol.
        BadRoot: A root is misaligned, too wide, or outside the memory: one of two as well; without it the rest opens.
        UnsupportedError: No format or system of that name; the source opens as nothing, or has no Linux to read;
            registers that are not known, contradict each other or the format, or are of a CPU that translates nothing;
            an encryption bit of a format that has none; a root that is not clear: the message names those found.
        ValueError: More than one of root, registers and pid; a base beside segments; a register that is no number of 64
            bits; an encryption bit that is none of 32 to 51.
        TypeError: Neither a root, nor registers, nor a pid, and the source has none; an address is no integer.
    """
    opened = _source(source, base=base, segments=segments, source_type=source_type, writable=writable, stop=stop)
    try:
        where: Any = {"root": root, "registers": registers, "pid": pid, "notes": notes}
        return opened.tables(format=format, os=os, encryption_bit=encryption_bit, **where)
    except BaseException:
        if opened is not source:
            opened.close()
        raise


_source: Final = source


def _machine(source: str | PathLike[str]) -> SourceType | None:
    """What kind of machine an address is of; None: it is a path.

    Raises:
        ValueError: It says where a machine is, and then nothing.
    """
    name, colon, place = source.partition(":") if isinstance(source, str) else ("", "", "")
    type_ = next((one for one in MACHINES if colon and one.name == name), None)
    if type_ is not None and not place:
        raise ValueError(f"{source} names no machine: write {name}:PATH, the path of QEMU's socket")
    return type_


def _refuse_in_parts(source: str | PathLike[str]) -> None:
    """Refuse what is no file.

    Raises:
        ValueError: It is a running machine.
        UnsupportedError: It is a process.
    """
    refuse_process(source)
    if _machine(source) is not None:
        raise ValueError(f"{source} is a running machine: other files are no part of it")


def _refuse_for_machine(source: str, **given: Any) -> None:
    """Refuse what is said of files.

    Raises:
        ValueError: It is said of a machine.
    """
    if named := [name for name, value in given.items() if value not in (0, None)]:
        raise ValueError(f"{source}: a running machine says itself what it is and where: {named[0]} contradicts it")


def refuse_process(source: str | PathLike[str]) -> None:
    """Refuse a process: it is captured.

    Raises:
        UnsupportedError: It is one.
    """
    if isinstance(source, str) and source.startswith("pid:"):
        raise UnsupportedError(f"{source}: {_PROCESS}")
