"""An address space: page tables and the VMAs over them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer
from pagewalk.space.vma import VmaList

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from pagewalk.space.locks import MmapLock
    from pagewalk.space.vma import Vma
    from pagewalk.tables import Entry, PageTables, Table

__all__ = ["AddressSpace"]

_NO_LOCK: Final = nullcontext()


class AddressSpace:
    """Page tables + VMAs (the kernel's ``mm_struct``).

    Args:
        tables: The page tables.
        vmas: Its VMAs, in any order.
        mmap_lock: The lock that walks demand; None for a snapshot, which nobody else can change.
        zero_frames: Physical addresses of the shared zero pages, which ``folio_walk`` tells from folios.
    """

    synthetic = False
    """Whether the tables were made from what a kernel tells of pages: whose they are too, and of VM_PFNMAP nothing."""

    def __init__(
        self,
        tables: PageTables,
        vmas: Iterable[Vma] = (),
        *,
        mmap_lock: MmapLock | None = None,
        zero_frames: Iterable[int] = (),
    ) -> None:
        self.tables = tables
        self.vmas = VmaList()
        self.mmap_lock = mmap_lock
        self.zero_frames = frozenset(integer(frame, "a zero frame") for frame in zero_frames)
        for vma in vmas:
            self.add_vma(vma)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.vmas)} VMAs over {self.tables.format.name} tables>"

    def __getstate__(self) -> dict[str, Any]:
        """A copy is a snapshot: it has no lock."""
        return self.__dict__ | {"mmap_lock": None}

    def add_vma(self, vma: Vma) -> None:
        """Put a VMA in, and note it in its file's mapping.

        Raises:
            ValueError: It overlaps another.
        """
        self.vmas.add(vma)
        vma.mm = self
        if vma.mapping is not None:
            vma.mapping.add(vma)

    def remove_vma(self, vma: Vma) -> None:
        """Take a VMA out. The page tables stay as they are."""
        self.vmas.remove(vma)
        vma.mm = None
        if vma.mapping is not None:
            vma.mapping.remove(vma)

    def table_lock(self, table: Table) -> AbstractContextManager[object]:
        """The lock of one table, held while its entries are walked or it is filled in. A snapshot needs none."""
        return _NO_LOCK

    def update_mmu_cache(self, vma: Vma, addr: int, entry: Entry) -> None:
        """Called after an entry was installed where none was (the architecture's hook of that name).

        Only an implementation that caches empty entries has work here (RISC-V may); a model overrides it to watch.
        """
