"""LiME images, and what AVML writes without compression: a header before each run of memory."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pagewalk.errors import ImageFormatError
from pagewalk.memory.dumps.dump import MappedDump
from pagewalk.memory.files.layout import MOST, Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LimeImage"]

_HEADER: Final = struct.Struct("<IIQQ8x")
"""The magic, the version, the first address and the last, which belongs to the run.

Source: LiME, ``src/lime.h`` (``lime_mem_range_header``) and ``doc/README``.
"""
_MAGIC: Final = 0x4C694D45
_VERSION: Final = 1


class LimeImage(MappedDump):
    """A LiME image of its "lime" format: the runs of memory that its headers name, used in place.

    LiME's other formats have no headers, and are raw images: "padded" as it is, "raw" with ``segments``, since it
    leaves out the holes. See ``MappedDump`` for the arguments, errors and attributes.
    """

    def _claims(self, data: memoryview) -> Sequence[Claim]:
        claims: list[Claim] = []
        missing = ["it has no registers: give --root or --registers", "it has no VMCOREINFO of its own"]
        at = 0
        while at + _HEADER.size <= len(data):
            magic, version, first, last = _HEADER.unpack_from(data, at)
            if magic != _MAGIC:
                if not claims:
                    raise ImageFormatError("no LiME image: it does not begin with a header")
                missing.append(f"what follows from {at:#x} of the file on is no LiME header: it is not read")
                break
            if version != _VERSION:
                raise ImageFormatError(f"a LiME header of version {version} at {at:#x} of the file: only 1 is known")
            if last < first:
                raise ImageFormatError(f"a LiME header at {at:#x} of the file has memory from {first:#x} to {last:#x}")
            if len(claims) == MOST:
                raise ImageFormatError(f"more than {MOST:,} LiME headers: they are not looked at")
            size = last + 1 - first
            claims.append(Claim(first, at + _HEADER.size, size, size))
            at += _HEADER.size + size
        self.missing = tuple(missing)
        return claims
