"""What the simulated machine asks of entries: how those of one level are read, made and changed.

Nothing else in ``mm/`` looks at a bit of an entry. Every method takes one raw value or an array of them, and answers in
kind.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.formats.software import Marker
from pagewalk.sweep.bits import FLAGS, KIND_SHIFT, codec_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from pagewalk.formats import Level, PagingFormat

    Words = npt.NDArray[np.uint64]

__all__ = ["NONE", "LevelEntries", "guard_marker", "has_protection_keys", "is_page", "most_swap_slots"]

EVERY: Final = (1 << 64) - 1
KEY: Final = "PKEY"
NONE: Final = 0
"""The empty entry."""


def is_page(kinds: Any) -> Any:
    """Which kinds are those of a page that is there, though nobody may touch it."""
    return (kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)


def most_swap_slots(form: PagingFormat) -> int:
    """How many slots of a swap device an entry can tell apart."""
    return form.software.swap_offset.mask


def guard_marker(form: PagingFormat) -> int:
    """The entry that stands for a guard."""
    return form.software.guard_entry


def has_protection_keys(form: PagingFormat) -> bool:
    """Whether an entry has room for a protection key."""
    return bool(form.field_bits(KEY, EVERY))


class LevelEntries:
    """The entries of one level of a format.

    Args:
        form: The format.
        level: The level.

    Attributes:
        depth, span: As the level's.
        per_table: Entries in a table.
        holds_pages: An entry here can map a page.
        none: The empty entry.
        dtype: Of an array over a table.
    """

    none: Final = NONE
    dtype: Final = np.dtype("<u8")

    def __init__(self, form: PagingFormat, level: Level) -> None:
        self.form = form
        self.level = level
        self.depth = level.depth
        self.span = level.span
        self.per_table = level.entries
        self.holds_pages = level.may_be_leaf
        self._with: dict[Flag, int] = {}
        self._without: dict[Flag, tuple[int, int]] = {}
        self._in_swap: dict[Flag, int] = {}

    def __repr__(self) -> str:
        return f"<LevelEntries of {self.level!r}>"

    # -- reading -----------------------------------------------------------------------------------------------------

    def index(self, vaddr: int) -> int:
        """The number of the entry for an address in its table."""
        return self.level.index(vaddr)

    def kind(self, entries: Any) -> Any:
        """Their ``Kind``, as numbers."""
        return self.form.kind(entries)

    def flags(self, entries: Any) -> Any:
        """Their flags: rights and state of pages, flags of swap entries."""
        return self.form.flags(entries)

    def page_flags(self, entries: Any) -> Any:
        """As ``flags``, where the entries are known to be pages that are not PROT_NONE, or the others do not matter."""
        return self.form.leaf_flags(entries)

    def frame(self, entries: Any) -> Any:
        """The physical address that each page has; anything for what is no page."""
        return self.form.leaf_paddr(entries, self.level)

    def table_paddr(self, entry: int) -> int:
        """The address of the table that an entry points to."""
        return self.form.table_paddr(entry)

    def is_none(self, entries: Any) -> Any:
        """Whether they are empty."""
        return self.form.is_none(entries)

    def is_table(self, entries: Any) -> Any:
        """Whether they point to tables."""
        return self.form.is_table(entries, self.level)

    def is_present(self, entries: Any) -> Any:
        """Whether a page or table is there: PROT_NONE counts."""
        return self.form.is_present(entries)

    def grants(self, entries: Any, flag: Flag) -> Any:
        """Whether they are pages that the hardware lets be accessed so."""
        return self.form.is_valid(entries) & (self.form.leaf_flags(entries) & int(flag) != 0)

    def all_none(self, entries: Words) -> bool:
        """Whether a whole table, or a part of it, is empty."""
        return not entries.any() if self.none == 0 else bool(self.is_none(entries).all())

    @cached_property
    def _codec(self) -> Any:
        return codec_of(self.form)

    def held(self, entries: Words) -> Any:
        """The numbers of those that are not empty."""
        return np.flatnonzero(entries & self._codec.held_bits)

    def states(self, entries: Words) -> tuple[Any, Any]:
        """Kinds and flags of many entries at once."""
        states = np.broadcast_to(np.asarray(self._codec.states(entries, self.level), np.uint32), entries.shape)
        return states >> KIND_SHIFT, states & FLAGS

    def swap_slot(self, entries: Any) -> tuple[Any, Any]:
        """The type and the offset that swap entries and markers hold."""
        return self.form.software.swap_slot(entries)

    # -- making ------------------------------------------------------------------------------------------------------

    def page(self, paddr: Any, flags: Any, *, key: int = 0) -> Any:
        """Entries that map pages, with a protection key if the format has any."""
        return self.form.leaf_entry(paddr, flags, self.level) | self.form.field_bits(KEY, key)

    def zero_page(self, paddr: int, entry: int) -> int:
        """An entry of this level for the zero page, with the rights and the key of a larger page's entry."""
        made = self.form.leaf_entry(paddr, self.form.flags(entry) | int(Flag.SPECIAL), self.level)
        made |= entry & self.form.field_bits(KEY, EVERY)
        return self.without_rights(made) if self.form.kind(entry) == Kind.PROT_NONE else made

    def table(self, paddr: int) -> int:
        """An entry that points to a table."""
        return self.form.table_entry(paddr)

    def swap(self, offset: int, flags: Flag) -> int:
        """An entry for a page in a slot of the swap device."""
        return int(self.form.software.swap_entry(0, offset)) | self._swap_bits(flags)

    @property
    def write_protected(self) -> int:
        """Userfaultfd's marker for a page that is not there."""
        return self.form.software.marker_entry(Marker.UFFD_WP)

    # -- changing ----------------------------------------------------------------------------------------------------

    def with_flags(self, pages: Any, flags: Flag) -> Any:
        """Entries of pages, with these flags of state as well."""
        bits = self._with.get(flags)
        if bits is None:
            bits = self._with[flags] = self.form.state_bits(int(flags))
        return pages | bits

    def without(self, pages: Any, flags: Flag) -> Any:
        """Entries of pages, without these rights or flags of state."""
        bits = self._without.get(flags)
        if bits is None:
            bits = self._without[flags] = self._bits_without(flags)
        kept, added = bits
        return pages & kept | added if added else pages & kept

    def without_rights(self, pages: Any) -> Any:
        """Entries of pages as they are stored when nobody may touch the page."""
        return self.form.without_rights(pages, self.level)

    def swapped_with(self, swapped: Any, flags: Flag) -> Any:
        """Swap entries, with these flags as well."""
        return swapped | self._swap_bits(flags)

    def swapped_without(self, swapped: Any, flags: Flag) -> Any:
        """Swap entries, without these flags."""
        return swapped & (EVERY ^ self._swap_bits(flags))

    def _bits_without(self, flags: Flag) -> tuple[int, int]:
        """The bits that are kept, and those that are set, when flags are taken away."""
        rows = self.form.rights + self.form.state + self.form.software.state
        gone = [row for row in rows if row.flag in flags]
        kept = EVERY ^ sum(1 << row.bit for row in gone if not row.clear)
        return kept, sum(1 << row.bit for row in gone if row.clear)

    def _swap_bits(self, flags: Flag) -> int:
        """The bits of a swap entry that hold flags."""
        bits = self._in_swap.get(flags)
        if bits is None:
            rows = self.form.software.swap_state
            bits = self._in_swap[flags] = sum(1 << row.bit for row in rows if row.flag in flags)
        return bits
