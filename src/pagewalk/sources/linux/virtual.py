"""A kernel's memory by its virtual addresses, through its own page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.errors import MemoryReadError, PagewalkError, TranslationError
from pagewalk.memory import BadAnswer, is_flat, read_exactly

if TYPE_CHECKING:
    from pagewalk.tables import PageTables

__all__ = ["ENDS", "Unreadable", "Virtual"]

_PAGE: Final = 4096
_KEPT: Final = 1 << 15
"""Pages that are kept: 128 MiB of those that had to be read."""
_TEXT: Final = 64
ENDS: Final = 1 << 64
"""Where addresses end."""


class Unreadable(PagewalkError):
    """A virtual address of a kernel that leads nowhere."""


class Virtual:
    """The bytes at a kernel's virtual addresses.

    Pages are kept once they were found: what changes meanwhile is not seen.

    Args:
        tables: The kernel's page tables.
    """

    def __init__(self, tables: PageTables) -> None:
        self.tables = tables
        self._memory = tables.memory
        self._flat = tables.memory if is_flat(tables.memory) else None
        self._pages: dict[int, memoryview | bytes] = {}
        self._runs: dict[int, dict[int, int]] = {}

    def paddr(self, vaddr: int) -> int:
        """The physical address.

        Raises:
            Unreadable: The page tables lead nowhere.
        """
        for size, runs in self._runs.items():
            if (start := runs.get(vaddr // size)) is not None:
                return start + vaddr % size
        try:
            found = self.tables.translate(vaddr)
        except BadAnswer:
            raise
        except (TranslationError, MemoryReadError) as error:
            raise Unreadable(str(error)) from None
        if found.paddr is None:
            raise Unreadable(f"{vaddr:#x}: the page's frame is not known")
        size = found.page_size
        self._runs.setdefault(size, {})[vaddr // size] = found.paddr - vaddr % size
        return found.paddr

    def read(self, vaddr: int, size: int) -> bytes:
        """Bytes at an address, across pages.

        Raises:
            Unreadable: Not all of them are there.
        """
        number, offset = divmod(vaddr, _PAGE)
        page = self._pages.get(number) or self._page(number)
        if offset + size <= _PAGE:
            return bytes(page[offset : offset + size])
        parts = [bytes(page[offset:])]
        size -= _PAGE - offset
        while size > 0:
            number += 1
            page = self._pages.get(number) or self._page(number)
            parts.append(bytes(page[:size]))
            size -= _PAGE
        return b"".join(parts)

    def word(self, vaddr: int) -> int:
        """The word of 64 bits at an address.

        Raises:
            Unreadable: It is not there, or the address is no multiple of 8.
        """
        if vaddr & 7:
            raise Unreadable(f"{vaddr:#x}: no pointer leads there, since it is no multiple of 8")
        return int.from_bytes(self.read(vaddr, 8), "little")

    def text(self, vaddr: int, most: int) -> bytes:
        """The bytes at an address up to the first that is 0.

        Raises:
            Unreadable: Not all of them are there, or none is 0 among so many.
        """
        found, at = b"", vaddr
        while len(found) <= most:
            part = self.read(at, min(_TEXT, _PAGE - at % _PAGE))
            head, zero, _ = part.partition(b"\0")
            found += head
            if zero:
                return found
            at += len(part)
        raise Unreadable(f"{vaddr:#x}: a text of more than {most} bytes")

    def _page(self, number: int) -> memoryview | bytes:
        """A page of 4096 bytes, by its number."""
        if not 0 <= number < ENDS // _PAGE:
            raise Unreadable(f"{number * _PAGE:#x} is no address")
        paddr = self.paddr(number * _PAGE)
        page: memoryview | bytes | None = None if self._flat is None else self._flat.view(paddr, _PAGE)
        if page is None:
            try:
                page = read_exactly(self._memory, paddr, _PAGE)
            except BadAnswer:
                raise
            except MemoryReadError as error:
                raise Unreadable(f"{number * _PAGE:#x}: {error}") from None
        if len(self._pages) >= _KEPT:
            self._pages.clear()
        self._pages[number] = page
        return page
