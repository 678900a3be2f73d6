"""``folio_walk``: one address to the entry that maps it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.doors import integer
from pagewalk.errors import WalkError
from pagewalk.formats import Flag, Kind
from pagewalk.walk.locking import check_mm_lock
from pagewalk.walk.ops import ENTRY_CALLBACKS, PGWALK_RDLOCK

if TYPE_CHECKING:
    from pagewalk.formats import Level
    from pagewalk.space import Vma
    from pagewalk.tables import Entry

__all__ = ["FolioWalk", "folio_walk"]

_NEVER_MIGRATING: Final = "pud_entry"
"""The level whose migration entries FW_MIGRATION leaves out, by the contract's name."""


class FolioWalk(NamedTuple):
    """What maps an address.

    Attributes:
        entry: The leaf entry.
        level: Its level: PUD, PMD or PTE.
        frame: Physical address of the 4096-byte page at the address, None if it is not known.
    """

    entry: Entry
    level: Level
    frame: int | None

    def __repr__(self) -> str:
        frame = "unknown" if self.frame is None else f"{self.frame:#x}"
        return f"<FolioWalk of a {self.level.name} entry: frame {frame}, {self.entry!r}>"


def folio_walk(vma: Vma, addr: int, *, zeropage: bool = False, migration: bool = False) -> FolioWalk | None:
    """Find the leaf entry that maps an address.

    Args:
        vma: The VMA that holds the address; its ``mmap_lock`` must be held.
        addr: The virtual address in bytes.
        zeropage: Accept a shared zero page (FW_ZEROPAGE).
        migration: Accept a page that is being migrated (FW_MIGRATION); not where it is PUD-sized.

    Returns:
        What maps it; None where nothing does, or only what was not asked for.

    Raises:
        WalkError: EINVAL: the address is outside the VMA, or the lock is not held.
        ReservedBits, Malformed: An entry on the way is not one.
    Source: ``folio_walk_start``, Linux 6.18.
    """
    mm, addr = vma.mm, integer(addr, "addr")
    if mm is None or not vma.start <= addr < vma.end:
        raise WalkError(errno.EINVAL, f"{addr:#x} is outside the VMA [{vma.start:#x}, {vma.end:#x})")
    check_mm_lock(mm, PGWALK_RDLOCK)
    *_, entry = mm.tables.steps(addr)
    kind, target, level = entry.kind, entry.target, entry.level
    if kind in (Kind.PRESENT, Kind.PROT_NONE):
        special = Flag.SPECIAL in entry.flags
        zero = target in mm.zero_frames or (special and target is None)  # a capture names no other special page
        wanted = zeropage if zero else not special
    else:
        wanted = migration and kind is Kind.MIGRATION and ENTRY_CALLBACKS[level.depth] != _NEVER_MIGRATING
    if not wanted:
        return None
    offset = addr & (level.span - 1) & ~(mm.tables.format.page_size - 1)
    return FolioWalk(entry, level, None if target is None else target + offset)
