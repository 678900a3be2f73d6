"""fallocate and ftruncate: what becomes of a file's pages where they are mapped."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pagewalk.doors import integer, integers
from pagewalk.errors import SystemCallError
from pagewalk.mm.paging.file_folios import take_out
from pagewalk.mm.paging.zap import unmap_file
from pagewalk.mm.state.files import FILE_END, check_file
from pagewalk.mm.state.huge_files import HugeFile

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware
    from pagewalk.mm.state.files import File

__all__ = ["huge_file", "punch_hole", "truncate"]


def huge_file(
    machine: Hardware, name: str, size: int, page_size: int, contents: bytes, *, writable: bool, readable: bool
) -> HugeFile:
    """See ``Machine.file``."""
    page_size, size = integer(page_size, "huge_page_size"), integer(size, "size")
    if page_size not in machine.geometry.huge or size % page_size or contents:
        sizes = " or ".join(map(hex, sorted(machine.geometry.huge))) or "there are none"
        raise SystemCallError(
            errno.EINVAL, f"a file of huge pages is empty at first, and whole pages of {page_size:#x} bytes ({sizes})"
        )
    return HugeFile(machine, name, size, page_size, writable=writable, readable=readable)


def punch_hole(machine: Hardware, file: File, offset: int, length: int) -> None:
    """See ``Machine.punch_hole``."""
    check_file(machine, file)
    offset, length = integers(offset=offset, length=length)
    if not 0 <= offset < FILE_END or not 0 < length < FILE_END:
        raise SystemCallError(errno.EINVAL, f"no range: {length:#x} bytes from {offset:#x}")
    if not file.writable:
        raise SystemCallError(errno.EBADF, f"{file.name} is not open for writing")
    if offset + length >= FILE_END:
        raise SystemCallError(errno.EFBIG, f"{length:#x} bytes from {offset:#x} go beyond every file")
    file.refuse_sealed()
    machine.do(_punch_hole, file, offset, length)


def _punch_hole(file: File, offset: int, length: int) -> None:
    size = file.page_size
    first, last = -(-offset // size), (offset + length) // size
    # As in shmem_fallocate (6.18), whose end wraps when it is 0: all pages but the first.
    end = last * size or (0 if isinstance(file, HugeFile) else FILE_END)
    for vma in file.overlapping(first * size, end):
        unmap_file(vma, *vma.range_of(first * size, end))
    take_out(file, offset, offset + length)


def truncate(machine: Hardware, file: File, size: int) -> None:
    """See ``Machine.truncate``."""
    check_file(machine, file)
    size = integer(size, "size")
    if not 0 <= size < FILE_END or not file.writable:
        raise SystemCallError(errno.EINVAL, f"no file has {size:#x} bytes, or {file.name} is not open for writing")
    if isinstance(file, HugeFile) and size % file.page_size:
        raise SystemCallError(errno.EINVAL, f"{file.name} has pages of {file.page_size:#x} bytes, not {size:#x} bytes")
    file.refuse_sealed(size)
    machine.do(_truncate, file, size)


def _truncate(file: File, size: int) -> None:
    before, file.size = file.size, size
    end = -(-size // file.page_size) * file.page_size
    if size > before and not isinstance(file, HugeFile):
        return  # what a large folio has beyond the end stays
    if end < before or isinstance(file, HugeFile):
        for vma in file.overlapping(end, FILE_END):
            unmap_file(vma, *vma.range_of(end, FILE_END), private=True)
    take_out(file, size, FILE_END)
    file.cut(end // file.page_size)
