"""kdump-compressed files: the layout of their headers and what their numbers mean.

Source: makedumpfile 1.7, ``IMPLEMENTATION``, ``diskdump_mod.h`` (headers, flags), ``makedumpfile.h`` (flattened files)
and makedumpfile(8) (``-d``); libkdumpfile 0.5, ``diskdump.c``, for what machines of 32 bits write.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BLOCKS", "DESCRIPTOR", "FLATTENED", "FLATTENED_FIRST", "FRONT", "INCOMPLETE", "LEVELS", "MACHINES", "PACKED",
    "SIGNATURE", "sub_layout",
]  # fmt: skip

SIGNATURE: Final = b"KDUMP   "
BLOCKS: Final = tuple(1 << bits for bits in range(12, 19))
"""Sizes of a block, in bytes: a page's."""
_NAMES: Final = "8s i 260x 65s 65x"
"""Signature, version, and of utsname's six texts of 65 bytes the fifth, the machine."""
_COUNTS: Final = "I i i I I"
"""Status, block size, sub header's blocks, bitmaps' blocks, pages."""
FRONT: Final[Mapping[int, str]] = MappingProxyType({64: f"{_NAMES} 6x 16x {_COUNTS}", 32: f"{_NAMES} 2x 8x {_COUNTS}"})
"""The first header by the bits of a word, for ``struct`` with a byte order: alignment and a time stand between."""
_SUB: Final = MappingProxyType(
    {
        "64": "8x i i Q Q Q Q Q Q 16x Q Q Q",
        "32": "4x i i I I Q I Q I 12x Q Q Q",
        "32 padded": "4x i i I I 4x Q I 4x Q I 4x 16x Q Q Q",
    }
)
"""Level, split, first and end page, VMCOREINFO, notes (offset and size each), first and end page, pages."""
DESCRIPTOR: Final = "QII8x"
"""A page's: offset, size, flags; its flags in the kernel are not looked at."""
PACKED: Final[Mapping[int, str]] = MappingProxyType({1: "zlib", 2: "lzo", 4: "snappy", 0x20: "zstd"})
"""Flags of a descriptor, and of the header's status."""
INCOMPLETE: Final = 8
"""Of the status: the disk was full before all was written."""
LEVELS: Final[Mapping[int, str]] = MappingProxyType(
    {1: "zeros", 2: "page cache", 4: "private page cache", 8: "user pages", 16: "free pages"}
)
"""Bits of the level: what is left out."""
MACHINES: Final[Mapping[str, int]] = MappingProxyType(
    {"x86_64": 62, "i386": 3, "i486": 3, "i586": 3, "i686": 3, "aarch64": 183, "riscv64": 243}
)
"""ELF's number of a machine by its name in utsname."""
FLATTENED: Final = b"makedumpfile\0\0\0\0"
FLATTENED_FIRST: Final = 4096
"""Where the first block of a flattened file lies."""


def sub_layout(bits: int, machine: str) -> str:
    """The sub header's layout: 32-bit x86 does not align what is 64 bits wide, others do."""
    return _SUB["64" if bits == 64 else "32" if MACHINES.get(machine) == 3 else "32 padded"]
