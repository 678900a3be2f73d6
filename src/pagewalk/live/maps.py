r"""What ``maps`` and ``smaps`` say: VMAs.

The kernel (6.18) escapes one character of a file's name there, the newline, as ``\012``: that alone is undone. So a
file whose name really holds ``\012`` is shown with a newline, and one whose name really ends in ``(deleted)`` looks as
if it were: which of the two it was cannot be told from this text. Bytes that are not UTF-8 are kept as ``os.fsdecode``
keeps them.

Source: ``Documentation/filesystems/proc.rst``, ``fs/proc/task_mmu.c``, Linux 6.18.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pagewalk.space import VM_FLAG_CODES, Mapping, Vma, VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["end_of_last", "parse_smaps", "parse_vmas"]

_LETTERS: Final = {
    "r": VmaFlags.READ,
    "w": VmaFlags.WRITE,
    "x": VmaFlags.EXEC,
    "s": VmaFlags.SHARED | VmaFlags.MAYSHARE,
}

_HEADER: Final = rb"(([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+) *([^\n]*))"
_PAGE_SIZE: Final = rb"(?:\nSize:[^\n]*)?\nKernelPageSize: +(\d+) kB"
_FLAGS: Final = rb"[^V]*(?:V(?!mFlags:)[^V]*)*VmFlags:([^\n]*)"
_VMA: Final = re.compile(rb"^" + _HEADER + rb"(?:" + _PAGE_SIZE + _FLAGS + rb")?$", re.MULTILINE)
"""A line of ``maps``, or the lines of a VMA in ``smaps``: whole header, start, end, rights, offset, device, inode,
name; KernelPageSize and VmFlags, which ``maps`` does not have."""
_UPPER_HALF: Final = 1 << 63
_BLANK: Final = Vma(0, 4096)


def parse_vmas(text: bytes | bytearray | memoryview) -> list[Vma]:
    """The VMAs of a ``maps`` or ``smaps`` text, ascending, without ``[vsyscall]``.

    That one is a gate in the kernel's half: it belongs to no process, and no process's page tables hold it.
    From ``maps`` alone, flags are the rights only and no VMA is known as hugetlb. The kernel lets the lock go between
    VMAs: where one grew meanwhile and overlaps the one before it, it begins where that ends.
    """
    return _vmas(_VMA.findall(text))


def parse_smaps(text: bytes | bytearray | memoryview) -> tuple[list[Vma], bytes]:
    """The VMAs of an ``smaps`` text, and the lines of it that ``maps`` has too."""
    found = _VMA.findall(text)
    return _vmas(found), b"".join([line[0] + b"\n" for line in found])


def end_of_last(text: bytearray, size: int) -> int:
    """Where the last VMA of a ``maps`` text ends, that of the kernel's half left out; 0 if there is none."""
    while size > 0:
        begin = text.rfind(b"\n", 0, size - 1) + 1
        start, end = text[begin : text.index(b" ", begin)].split(b"-")
        if int(start, 16) < _UPPER_HALF:
            return int(end, 16)
        size = begin
    return 0


def _vmas(found: Iterable[tuple[bytes, ...]]) -> list[Vma]:
    """The VMAs of matches of ``_VMA``."""
    vmas: list[Vma] = []
    mappings: dict[tuple[bytes, bytes], Mapping] = {}
    last = 0
    for _, low, high, rights, at, device, inode, path, page_kb, codes in found:
        start, end, offset = int(low, 16), int(high, 16), int(at, 16)
        if start >= _UPPER_HALF:
            break
        if start < last:
            offset, start = offset + last - start, last
        if start >= end:
            continue
        last = end
        name = _name(path) if path else ""
        mapping = None if inode == b"0" else mappings.setdefault((device, inode), Mapping(name))
        flags = _flags_of(codes) if codes else _rights_of(rights)
        huge = int(page_kb) << 10 if page_kb != b"4" and page_kb and flags & VmaFlags.HUGETLB else 0
        vma = object.__new__(Vma)  # the constructor checks what the kernel need not be asked, for thousands
        vma.__dict__.update(_BLANK.__dict__, start=start, end=end, flags=flags, offset=offset)
        vma.__dict__.update(mapping=mapping, name=name, huge_page_size=huge)
        vmas.append(vma)
    return vmas


@lru_cache(maxsize=1024)
def _name(path: bytes) -> str:
    """A file's name."""
    return os.fsdecode(path.replace(rb"\012", b"\n"))


@lru_cache(maxsize=64)
def _rights_of(letters: bytes) -> VmaFlags:
    """The flags of ``rw-p``."""
    flags = VmaFlags(0)
    for letter in letters.decode():
        flags |= _LETTERS.get(letter, VmaFlags(0))
    return flags


@lru_cache(maxsize=1024)
def _flags_of(codes: bytes) -> VmaFlags:
    """The flags of a ``VmFlags`` line, which are the kernel's own."""
    flags = VmaFlags(0)
    for code in codes.decode().split():
        flags |= VM_FLAG_CODES.get(code, VmaFlags(0))
    return flags
