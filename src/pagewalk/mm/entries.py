"""What the simulated machine asks of entries: how those of one level are read, made and changed.

Nothing else in ``mm/`` looks at a bit of an entry. Every method takes one raw value or an array of them, and answers in
kind.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level

    Words = npt.NDArray[np.uint64]

__all__ = ["LevelEntries", "is_page"]

EVERY: Final = (1 << 64) - 1


def is_page(kinds: Any) -> Any:
    """Which kinds are those of a page that is there, though nobody may touch it."""
    return (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)


class LevelEntries:
    """The entries of one level of a format.

    Args:
        level: The level.

    Attributes:
        depth, span: As the level's.
        per_table: Entries in a table.
        holds_pages: An entry here can map a page.
        none: The empty entry.
        dtype: Of an array over a table.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self.depth = level.depth
        self.span = level.span
        self.per_table = level.entries
        self.holds_pages = level.may_be_leaf
        self.none = level.none
        self.dtype = np.dtype(level.word.dtype)
        self._pages: dict[tuple[int, int], int] = {}
        self._switches: dict[Flag, tuple[int, int] | None] = {}

    def __repr__(self) -> str:
        return f"<LevelEntries of {self.level!r}>"

    # -- reading -----------------------------------------------------------------------------------------------------

    def index(self, vaddr: int) -> int:
        """The number of the entry for an address in its table."""
        return self.level.index(vaddr)

    def kind(self, entries: Any) -> Any:
        """Their ``Kind``, as numbers."""
        return self.level.kind(entries)

    def flags(self, entries: Any) -> Any:
        """Their flags: rights and state of pages, flags of swap entries."""
        return self.level.flags(entries)

    def frame(self, entries: Any) -> Any:
        """The physical address of each page or table that is there."""
        return self.level.frame(entries)

    def is_none(self, entries: Any) -> Any:
        """Whether they are empty."""
        return self.level.is_none(entries)

    def is_table(self, entries: Any) -> Any:
        """Whether they point to tables."""
        return self.level.is_table(entries)

    def is_page(self, entries: Any) -> Any:
        """Whether a page is there: PROT_NONE counts."""
        return is_page(self.level.kind(entries))

    def grants(self, entries: Any, flag: Flag) -> Any:
        """Whether they are pages that the hardware lets be accessed so."""
        return (self.level.kind(entries) == Kind.PRESENT) & (self.level.flags(entries) & int(flag) != 0)

    def all_none(self, entries: Words) -> bool:
        """Whether a whole table, or a part of it, is empty."""
        return not entries.any() if self.none == 0 else bool(self.is_none(entries).all())

    def held(self, entries: Words) -> Any:
        """The numbers of those that are not empty."""
        return self.level.arrays.places(entries)

    def swap_slot(self, entries: Any) -> tuple[Any, Any]:
        """The type and the offset that swap entries and markers hold."""
        return self.level.swap_slot(entries)

    @property
    def most_swap_slots(self) -> int:
        """How many slots of a swap device an entry can tell apart."""
        return self.level.swap_slots

    @property
    def has_keys(self) -> bool:
        """Whether a page's entry has room for a protection key."""
        return self.level.has_keys

    @property
    def has_soft_dirty(self) -> bool:
        """Whether a page's entry has room for being soft-dirty."""
        page = self.page(0, int(Flag.READ | Flag.USER))
        return bool(self.flags(self.level.with_flags(page, Flag.SOFT_DIRTY)) & int(Flag.SOFT_DIRTY))

    # -- making ------------------------------------------------------------------------------------------------------

    def page(self, paddr: Any, flags: Any, *, key: int = 0) -> Any:
        """Entries that map pages, with a protection key if the format has any."""
        if not isinstance(flags, int):
            return self.level.page(paddr, flags, key=key)
        first = self._pages.get((flags, key))
        if first is None:
            first = self._pages[flags, key] = self.level.page(0, flags, key=key)
        return first ^ self.level.frame_bits(paddr)

    def zero_page(self, paddr: int, larger: LevelEntries, entry: int) -> int:
        """An entry of this level for the zero page, with the rights and the key of a larger page's entry."""
        key, flags = larger.level.decode(entry).key, larger.flags(entry)
        made = self.page(paddr, int(flags & ~Flag.GROUPED | Flag.SPECIAL), key=key)
        return int(self.without_rights(made) if larger.kind(entry) == Kind.PROT_NONE else made)

    def table(self, paddr: int) -> int:
        """An entry that points to a table."""
        return int(self.level.table(paddr))

    def swap(self, offset: int, flags: Flag) -> int:
        """An entry for a page in a slot of the swap device."""
        return int(self.level.swap(0, offset, int(flags)))

    @cached_property
    def guard(self) -> int:
        """The entry that stands for a guard."""
        return self.level.marked(Kind.GUARD.label)

    @cached_property
    def write_protected(self) -> int:
        """Userfaultfd's marker for a page that is not there."""
        return self.level.marked(Kind.UFFD_WP.label)

    @property
    def can_be_poisoned(self) -> bool:
        """Whether an entry can say that a page is broken: whether the kernel knows of memory errors."""
        return self.level.codec.row(Kind.HWPOISON.label) is not None

    def poisoned(self, paddr: int) -> int:
        """The entry that stands for a broken page."""
        return self.level.poisoned(paddr)

    def moved(self, pages: Any, source: int, target: int) -> Any:
        """Entries of the page at ``source``, of the one at ``target`` now."""
        return pages ^ (self.level.frame_bits(source) ^ self.level.frame_bits(target))

    # -- changing ----------------------------------------------------------------------------------------------------

    def with_flags(self, pages: Any, flags: Flag) -> Any:
        """Entries of pages, with these flags of state as well."""
        switch = self._switch(flags)
        if switch is None:
            return self.level.with_flags(pages, flags)
        mask, on = switch
        return pages & (EVERY ^ mask) | on if mask ^ on else pages | on

    def without(self, pages: Any, flags: Flag) -> Any:
        """Entries of pages, without these rights or flags of state."""
        switch = self._switch(flags)
        if switch is None:
            return self.level.without_flags(pages, flags)
        mask, on = switch
        return pages & (EVERY ^ mask) | mask ^ on if mask ^ on else pages & (EVERY ^ mask)

    def _switch(self, flags: Flag) -> tuple[int, int] | None:
        """The bits of a page's entry that say these flags alone, if any, and how they stand where they are set."""
        if flags not in self._switches:
            self._switches[flags] = self.level.codec.switch(flags)
        return self._switches[flags]

    def without_rights(self, pages: Any) -> Any:
        """Entries of pages as they are stored when nobody may touch the page."""
        return self.level.without_rights(pages)

    def swapped_with(self, swapped: Any, flags: Flag) -> Any:
        """Swap entries, with these flags as well."""
        return self.level.with_flags(swapped, flags)

    def swapped_without(self, swapped: Any, flags: Flag) -> Any:
        """Swap entries, without these flags."""
        return self.level.without_flags(swapped, flags)
