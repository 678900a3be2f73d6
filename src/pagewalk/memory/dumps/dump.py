"""Dumps that are mapped as they lie: a file whose headers say which of its bytes are which memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from pagewalk.doors import integer
from pagewalk.errors import ImageFormatError, MemoryReadError, PageNotInDump, UnsupportedError
from pagewalk.memory.exact import BadAnswer
from pagewalk.memory.files.image import RawImage
from pagewalk.memory.files.layout import laid_out

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from pagewalk.memory.files.layout import Claim, Layout

__all__ = ["MappedDump", "missing_of", "why_not"]


class MappedDump(RawImage, ABC):
    """A dump that is mapped with ``mmap``, and read in place. A type of dump says where its runs of memory are.

    Args:
        path: The file.
        writable: Map it shared and writable: what is written is in the file at once.

    Raises:
        OSError: The file cannot be opened or mapped.
        ImageFormatError: It is not what it claims to be, or there is no memory in it.
        UnsupportedError: It is of a kind that is not read, or no file that has bytes to map.

    Attributes:
        cpus: The registers of each CPU that say where tables are, by name, if it has them.
        vmcoreinfo: The kernel's own words, by key, if it has them.
        missing: What it does not have, in a sentence each.

    Memory that it leaves out is told apart from memory that there never was (``PageNotInDump``). If it leaves any out,
    the frames that page tables name need not be here (``holds_frames``).
    """

    cpus: tuple[dict[str, int], ...] = ()
    vmcoreinfo: dict[str, str] = {}  # noqa: RUF012 - each has its own, or none
    missing: tuple[str, ...] = ()

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None:
        super().__init__(path, writable=writable)
        self.holds_frames = not self._layout.left_out and not self._layout.cut_off

    @abstractmethod
    def _claims(self, data: memoryview) -> Sequence[Claim]:
        """What the headers say; what else they say is kept.

        Raises:
            ImageFormatError, UnsupportedError: As the constructor.
        """

    def _laid_out(self, data: memoryview, base: int) -> Iterable[tuple[int, int, int]]:
        try:
            claims = self._claims(data)
            self._layout = laid_out(claims, len(data))
        except (ImageFormatError, UnsupportedError) as error:
            raise type(error)(f"{self.path}: {error}") from None
        self.missing = (*self.missing, *missing_of(self._layout, len(data)))
        if not self._layout.parts:
            why = "; ".join(missing_of(self._layout, len(data))) or "its headers name none"
            raise ImageFormatError(f"{self.path}: there is no memory in it: {why}")
        return self._layout.parts

    def _again(self) -> dict[str, Any]:
        return {}

    def read(self, paddr: int, size: int) -> bytes:
        """See ``RawImage``.

        Raises:
            PageNotInDump: The machine had that memory, and the dump has not.
            MemoryReadError: Not all of it is here.
        """
        try:
            return super().read(paddr, size)
        except BadAnswer:
            raise
        except MemoryReadError as error:
            why = why_not(self._layout, integer(paddr, "paddr"), integer(size, "size"))
            raise PageNotInDump(error.paddr, error.size, why) if why else error from None


def why_not(layout: Layout, paddr: int, size: int) -> str:
    """Why a dump does not have some bytes that the machine had; empty: it had none."""
    if size <= 0:
        return ""
    if layout.cut_off.touches(paddr, paddr + size):
        return "the dump is cut off before them"
    if layout.left_out.touches(paddr, paddr + size):
        return "the dump leaves them out"
    return ""


def missing_of(layout: Layout, length: int) -> tuple[str, ...]:
    """What a dump does not have of its memory, a sentence each."""
    told = []
    if layout.cut_off:
        (start, _), *_ = layout.cut_off.ranges
        told.append(
            f"the file is cut off: of the memory from {start:#x} on {layout.cut_off.size:#x} bytes are beyond its "
            f"{length:#x} bytes"
        )
    if layout.left_out:
        (start, _), *_ = layout.left_out.ranges
        told.append(f"{layout.left_out.size:#x} bytes of memory are left out of it, the first at {start:#x}")
    if layout.doubled:
        (start, _), *_ = layout.doubled.ranges
        told.append(
            f"{layout.doubled.size:#x} bytes from {start:#x} on are in it more than once: those of the first header "
            "count"
        )
    return tuple(told)
