"""What a kdump-compressed file says in front: its blocks, its bitmaps, which pages it has, where its notes lie.

     offset                                what
     0                                     header (``disk_dump_header``)
     block                                 sub header (``kdump_sub_header``)
     (1 + sub_hdr_size) * block            first bitmap: the pages that the machine has
     + bitmap_blocks / 2 * block           second bitmap: those that are in the file
     + bitmap_blocks / 2 * block           a descriptor of 24 bytes for each of the second; then their bytes

The header's padding follows the machine that wrote it: of 64 or 32 bits, little or big end first.
"""

from __future__ import annotations

from itertools import product
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pagewalk.abi.kdump import BLOCKS, FRONT, sub_layout
from pagewalk.errors import ImageFormatError

if TYPE_CHECKING:
    from pagewalk.memory.dumps.flattened import FlattenedFile
    from pagewalk.memory.files.mapped import MappedFile

__all__ = ["Header", "read_header"]


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        version: Of the format.
        status: Flags: how pages are compressed, whether it is incomplete.
        block: Bytes of a block, which are a page's.
        level: What was left out: makedumpfile's ``-d``.
        pages: The pages that it is of, ``[first, end)``: of a split dump a part of them; None: all.
        bitmaps: The offsets of both.
        bitmap: Bytes of one.
        descriptors: The offset of the first.
        vmcoreinfo, notes: Offset and size of each; a size of 0 where there are none.
        machine: What ``uname -m`` said; empty in QEMU's dumps of some.
        order: ``<`` or ``>``.
    """

    version: int
    status: int
    block: int
    level: int
    pages: tuple[int, int] | None
    bitmaps: tuple[int, int]
    bitmap: int
    descriptors: int
    vmcoreinfo: tuple[int, int]
    notes: tuple[int, int]
    machine: str
    order: str


class _Front(NamedTuple):
    """The first header."""

    version: int
    machine: str
    status: int
    block: int
    sub_blocks: int
    bitmap_blocks: int
    pages: int


def read_header(file: MappedFile | FlattenedFile) -> Header:
    """A file's headers.

    Raises:
        ImageFormatError: They contradict themselves or the file, or it ends before its bitmaps do.
    """
    for order, bits in product("<>", (64, 32)):
        front = _front(file, order, bits)
        if front is not None:
            return _header(file, front, order, bits)
    raise ImageFormatError(f"{file.path}: a kdump file whose header makes no sense, or that ends within its bitmaps")


def _front(file: MappedFile | FlattenedFile, order: str, bits: int) -> _Front | None:
    """The first header as a machine of that kind writes it; None if it then makes no sense."""
    layout = Struct(order + FRONT[bits])
    data = file.read(0, layout.size)
    if len(data) < layout.size:
        return None
    _, version, machine, *counts = layout.unpack(data)
    front = _Front(version, machine.partition(b"\0")[0].decode("ascii", "replace"), *counts)
    if front.block not in BLOCKS or front.sub_blocks < 1 or front.bitmap_blocks < 1 or not 0 < version < 1 << 16:
        return None
    bitmaps = front.bitmap_blocks * front.block
    start = (1 + front.sub_blocks) * front.block
    if front.pages > 8 * bitmaps or bitmaps > file.stored or start + bitmaps > file.size:
        return None
    return front


def _header(file: MappedFile | FlattenedFile, front: _Front, order: str, bits: int) -> Header:
    """Both headers together."""
    layout = Struct(order + sub_layout(bits, front.machine))
    level, split, first, end, *places, first_64, end_64, pages = layout.unpack(file.read(front.block, layout.size))
    if front.version < 6:
        first_64, end_64, pages = first, end, front.pages
    if pages > 8 * front.bitmap_blocks * front.block or first_64 > end_64:
        raise ImageFormatError(
            f"{file.path}: {pages:#x} pages, from {first_64:#x} to {end_64:#x}, are not in its bitmaps"
        )
    start, size = (1 + front.sub_blocks) * front.block, front.bitmap_blocks * front.block
    two = pages <= 4 * size  # an old one has the second alone
    bitmap = size // 2 // 8 * 8 if two else size
    notes = (places[2], places[3]) if front.version >= 4 else (0, 0)
    return Header(
        front.version,
        front.status,
        front.block,
        level,
        (first_64, end_64) if split and front.version >= 2 else None,
        (start, start + bitmap if two else start),
        bitmap,
        start + size,
        _place(file, "VMCOREINFO", places[0], places[1]) if front.version >= 3 else (0, 0),
        _place(file, "the notes", *notes),
        front.machine,
        order,
    )


def _place(file: MappedFile | FlattenedFile, what: str, offset: int, size: int) -> tuple[int, int]:
    """Where something lies.

    Raises:
        ImageFormatError: Not in the file.
    """
    if size and (offset + size > file.size or size > file.stored):
        raise ImageFormatError(
            f"{file.path}: truncated: {what}, {size:#x} bytes at offset {offset:#x}, do not lie in {file.size:#x} bytes"
        )
    return offset, size
