"""The header of a swap area, which ``mkswap`` writes.

Source: ``include/linux/swap.h`` (``union swap_header``), Linux 6.18.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["HEADER_SIZE", "header"]

HEADER_SIZE: Final = 4096
"""A page; the header is the first one."""
MAGIC: Final = b"SWAPSPACE2"
"""At the page's end."""
INFO: Final = 1024
"""Where the rest begins: version, number of the last page, how many are bad."""


def header(size: int) -> bytes:
    """The first page of a swap area of ``size`` bytes."""
    page = bytearray(HEADER_SIZE)
    struct.pack_into("<III", page, INFO, 1, size // HEADER_SIZE - 1, 0)
    page[-len(MAGIC) :] = MAGIC
    return bytes(page)
