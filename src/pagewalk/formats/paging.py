"""A paging format: what the hardware says about an entry, as frozen data.

How it works. A ``PagingFormat`` is a tuple of ``Level`` records and a few bit positions; the methods only read them.
Every method that takes ``entry`` takes one raw value (an ``int``) or a ``uint64`` array of them, and answers in kind:
the same line of code serves one entry and a million, because it uses nothing but ``& | ^ << >> == !=`` with non-
negative constants (so no ``~mask``, no ``where``).

The kernel always counts five levels. Where the hardware has fewer, a level is *folded*: it has no index bits of its
own and shows the entry of the level above it once more.

To add an architecture, in one new file beside ``x86.py``:

1. Its ``Level`` tuple, top to bottom, with five rows: fold what the hardware lacks (``index_bits=0``, the shift of the
   level above). Cite the manual's section beside each row.
2. ``address``: where the frame number sits, as fields; ``rights`` and ``state``: one row a bit.
3. ``table_test``: the bits that tell a table from a page above the last level.
4. The Linux side as a ``SoftwareLayer`` in the same file: PROT_NONE, swap entries, markers.
5. Put the format into ``FORMATS`` in ``formats/__init__.py``, and write its tests in ``tests/formats``, as
   ``test_x86.py`` does: no suite runs on a new format by itself yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pagewalk.doors import integer, shown
from pagewalk.formats.flags import Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats.bits import AddressField, BitTest, FlagBit
    from pagewalk.formats.software import SoftwareLayer

    Word = TypeVar("Word", int, npt.NDArray[np.uint64])

__all__ = ["NO_PADDR", "Level", "PagingFormat"]

LAST_DEPTH = 4
NO_PADDR = (1 << 64) - 1
"""In place of a physical address: there is no frame, or nobody said which."""

_NO_FRAME_BIT = Flag.NO_FRAME.bit_length() - 1
_STATE = sum(Flag) - int(Flag.rights() | Flag.GLOBAL)


@dataclass(frozen=True, slots=True, repr=False)
class Level:
    """One of the kernel's five levels.

    Attributes:
        name: The kernel's name: PGD, P4D, PUD, PMD, PTE.
        manual: The manual's name for the table.
        depth: 0 PGD .. 4 PTE.
        shift: log2 of the bytes one entry covers.
        index_bits: log2 of the entries in a table; 0 for a folded level.
        may_be_leaf: An entry here can map a page.
        reserved_leaf, reserved_table: Bits that must be zero in a present entry that maps a page, or points to a table.
        leaf_value: What an entry that maps a page adds to its frame and flags here (x86: PS above the last level).
        movable: The bit that changes place with the level, as a position (x86: PAT), None if there is none.
    """

    name: str
    manual: str
    depth: int
    shift: int
    index_bits: int
    may_be_leaf: bool = False
    reserved_leaf: int = 0
    reserved_table: int = 0
    leaf_value: int = 0
    movable: int | None = None

    def __repr__(self) -> str:
        return f"<Level {self.name}: {self.span:#x} bytes an entry>"

    @property
    def span(self) -> int:
        """Bytes that one entry covers."""
        return 1 << self.shift

    @property
    def entries(self) -> int:
        """Entries in one table."""
        return 1 << self.index_bits

    @property
    def folded(self) -> bool:
        """Whether this level only repeats the one above it."""
        return self.index_bits == 0

    def index(self, vaddr: int) -> int:
        """The slot of ``vaddr`` in a table of this level."""
        return (vaddr >> self.shift) & (self.entries - 1)

    def end(self, vaddr: int, end: int) -> int:
        """Where the entry that covers ``vaddr`` ends, ``end`` at most (the kernel's ``pXd_addr_end``)."""
        return min((vaddr >> self.shift) + 1 << self.shift, end)


@dataclass(frozen=True, repr=False)
class PagingFormat:
    """What the hardware says, and the operating system's own layer on it.

    Attributes:
        name: As ``--format`` spells it.
        levels: Five, PGD to PTE.
        valid: Position of the bit that makes an entry present.
        address: Where the frame's address sits in an entry.
        table_test: Above the last level, true for an entry that points to a table.
        table_value: The bits that an entry pointing to a table gets.
        rights: Flags that must be granted at every level; ``table_rights`` are the rows of a table's entry.
        state: Flags that only the entry mapping the page holds.
        physical_bits: Width of a physical address.
        sign_extended: The upper half's addresses repeat the top index bit.
        fields: Multi-bit fields worth showing: name, first bit, bits.
        software: The operating system's layer.
    """

    name: str
    levels: tuple[Level, ...]
    valid: int
    address: tuple[AddressField, ...]
    table_test: BitTest
    table_value: int
    rights: tuple[FlagBit, ...]
    table_rights: tuple[FlagBit, ...]
    state: tuple[FlagBit, ...]
    physical_bits: int
    fields: tuple[tuple[str, int, int], ...]
    software: SoftwareLayer

    def __repr__(self) -> str:
        return f"<PagingFormat {self.name}: {len(self.real_levels)} levels, {self.physical_bits} physical bits>"

    # -- addresses ---------------------------------------------------------------------------------------------------

    @cached_property
    def page_size(self) -> int:
        """Bytes in the smallest page."""
        return self.levels[LAST_DEPTH].span

    @cached_property
    def page_sizes(self) -> tuple[int, ...]:
        """Every size a page can have, ascending."""
        return tuple(sorted(level.span for level in self.levels if level.may_be_leaf and not level.folded))

    @cached_property
    def vaddr_bits(self) -> int:
        """Bits of a virtual address that the tables translate."""
        return self.levels[0].shift + self.levels[0].index_bits

    @cached_property
    def halves(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The canonical ranges, half-open: the lower half and the upper half."""
        half = 1 << (self.vaddr_bits - 1)
        return (0, half), ((1 << 64) - half, 1 << 64)

    @cached_property
    def real_levels(self) -> tuple[Level, ...]:
        """The levels that the hardware has, root first."""
        return tuple(level for level in self.levels if not level.folded)

    @cached_property
    def real_depths(self) -> tuple[int, ...]:
        """For each depth, the depth of the level that the hardware has there (the kernel's ``real_depth``)."""
        depths: list[int] = []
        for level in self.levels:
            depths.append(depths[-1] if level.folded else level.depth)
        return tuple(depths)

    def folds_into_next(self, level: Level) -> bool:
        """Whether the level below shows the same entries, so that emptiness is for it to find."""
        return level.depth < LAST_DEPTH and self.levels[level.depth + 1].folded

    def is_canonical(self, vaddr: Word) -> Any:
        """Whether an address can be translated: a bool, or an array of them."""
        value: Any = vaddr
        top = value >> (self.vaddr_bits - 1)
        return (top == 0) | (top == (1 << (65 - self.vaddr_bits)) - 1)

    def table_bytes(self, level: Level) -> int:
        """Bytes in a table of this level."""
        return 8 << level.index_bits

    # -- looking at an entry -----------------------------------------------------------------------------------------

    def is_valid(self, entry: Word) -> Any:
        """Whether the hardware takes the entry as present."""
        value: Any = entry
        return (value >> self.valid) & 1 == 1

    def is_none(self, entry: Word) -> Any:
        """Whether the entry is empty, as the kernel's ``pte_none``."""
        value: Any = entry
        return value | self.software.none_ignores == self.software.none_ignores

    def is_present(self, entry: Word) -> Any:
        """Whether a page or table is there for the kernel (``pte_present``): PROT_NONE counts."""
        return self.is_valid(entry) | self.software.prot_none(entry)

    def is_table(self, entry: Word, level: Level) -> Any:
        """Whether a *present* entry of this level points to a table."""
        if level.depth == LAST_DEPTH:
            return self.is_valid(entry) & False
        if not level.may_be_leaf:
            return self.is_valid(entry)
        return self.is_valid(entry) & self.table_test(entry)

    def reserved(self, entry: Word, level: Level) -> Word:
        """The reserved bits that a *valid* entry sets: 0 when it is in order."""
        value: Any = entry
        if not level.may_be_leaf:
            return value & level.reserved_table
        one = value >> self.valid & 1
        table = one * self.is_table(entry, level)
        return value & (level.reserved_table * table + level.reserved_leaf * (one - table))

    def table_paddr(self, entry: Word) -> Word:
        """The address of the table that an entry points to, in bytes."""
        return _decode(self.address, entry)

    def leaf_paddr(self, entry: Word, level: Level) -> Word:
        """The address of the page that a present entry maps, in bytes; PROT_NONE's stored form undone."""
        value: Any = entry
        stored: Any = _decode(self.address, entry)
        if self.software.inverts_frames:
            absent = (value >> self.valid & 1) ^ 1
            stored = stored ^ absent * self._address_span
        return stored & self._whole_frames(level)

    @cached_property
    def _address_span(self) -> int:
        """Every address bit that an entry can hold."""
        return _decode(self.address, (1 << 64) - 1)

    @cached_property
    def _address_bits(self) -> int:
        """The bits of an entry that hold its address."""
        return _any(field.mask for field in self.address)

    def leaf_flags(self, entry: Word) -> Word:
        """``Flag`` bits of an entry that maps a page: its own rights and state, the software's among them."""
        return _granted(self.rights + self.state + self.software.state, entry)

    def table_flags(self, entry: Word) -> Word:
        """The rights that an entry pointing to a table passes on."""
        return _granted(self.table_rights, entry)

    def flags(self, entry: Word, level: Level | None = None) -> Word:
        """``Flag`` bits of whatever the entry holds: a page's, a swap entry's, and none of a marker's.

        A PROT_NONE page keeps its state and has no rights.

        Args:
            entry: A raw value, or an array of them.
            level: Its level, as ``kind``.
        """
        kind: Any = self.kind(entry, level)
        one = kind & 0 | 1
        leaf: Any = self.leaf_flags(entry)
        swapped = (kind == Kind.SWAP.value) | (kind == Kind.MIGRATION.value)
        return (
            leaf * (one * (kind == Kind.PRESENT.value))
            + (leaf & _STATE) * (one * (kind == Kind.PROT_NONE.value))
            + self.software.swap_flags(entry) * (one * swapped)
        )

    def frame(self, entry: Word, level: Level) -> Word:
        """The address of the frame that an entry names, page or not; ``NO_PADDR`` where it names none."""
        kind: Any = self.kind(entry, level)
        one = kind & 0 | 1
        page = one * ((kind == Kind.PRESENT.value) | (kind == Kind.PROT_NONE.value))
        moved = one * self.software.names_frame(entry, kind)
        offset = self.software.swap_frame(entry) * self.page_size
        leaf: Any = self.leaf_flags(entry)
        unknown = (one - page) * (one - moved) | page * (leaf >> _NO_FRAME_BIT & 1)
        return self.leaf_paddr(entry, level) * page + offset * moved | unknown * NO_PADDR

    def kind(self, entry: Word, level: Level | None = None) -> Word:
        """The ``Kind`` of an entry, as an integer or an array of them.

        Args:
            entry: A raw value, or an array of them.
            level: Its level; the last one by default. Where there are no pages, nothing can stand in a page's place:
                what is not valid and not empty there is OTHER.
        """
        value: Any = entry
        one = value & 0 | 1
        valid = value >> self.valid & 1
        if level is not None and not level.may_be_leaf:
            return valid + (one - valid) * (one - self.is_none(entry)) * Kind.OTHER.value
        return valid + (one - valid) * self.software.kind_of_absent(entry, self.is_none(entry))

    # -- making an entry ---------------------------------------------------------------------------------------------

    def table_entry(self, paddr: Word) -> Word:
        """An entry that points to the table at ``paddr``, granting every right (the pages below decide)."""
        value: Any = _encode(self.address, _word(paddr, "paddr"))
        return value | self.table_value

    def leaf_entry(self, paddr: Word, flags: Word, level: Level | None = None) -> Word:
        """An entry that maps the page at ``paddr`` with ``flags``.

        Args:
            paddr: The page's address in bytes, aligned to the level's span.
            flags: ``Flag`` bits; a flag without a bit in this format is left out.
            level: Where it goes; the last level by default.

        Raises:
            ValueError: The level holds no page, or the address is misaligned or too wide.
        """
        level = level or self.levels[LAST_DEPTH]
        if not level.may_be_leaf:
            raise ValueError(f"{self.name}: a {level.name} entry cannot map a page")
        value, flags = _word(paddr, "paddr"), _word(flags, "flags")
        if _some(value & (self._address_span & level.span - 1 ^ (1 << 64) - 1 ^ self._address_span)):
            raise ValueError(f"{self.name}: not a frame address for a page of {level.span:#x} bytes: {shown(value)}")
        bits = _settings(self.rights + self.state + self.software.state, flags)
        return _encode(self.address, value) | level.leaf_value | 1 << self.valid | bits

    def field_bits(self, name: str, number: int) -> int:
        """The bits that hold a number in one of ``fields``; 0 where this format has no such field."""
        return sum((number & (1 << bits) - 1) << first for field, first, bits in self.fields if field == name)

    def state_bits(self, flags: int) -> int:
        """The bits that hold these flags of state (``Flag.ACCESSED``, ...) in a page's entry."""
        return _settings(self.state + self.software.state, flags)

    def without_rights(self, entry: Word, level: Level) -> Word:
        """A page's entry as the operating system stores it when nobody may touch the page (PROT_NONE)."""
        value: Any = entry
        mask, stored = self.software.prot_none
        kept = value & ((1 << 64) - 1 ^ mask) | stored
        frame_bits = _encode(self.address, self._whole_frames(level))
        return kept ^ frame_bits if self.software.inverts_frames else kept

    def _whole_frames(self, level: Level) -> int:
        """The address bits that tell pages of a level apart."""
        return self._address_span ^ self._address_span & level.span - 1

    def split(self, entry: int, level: Level) -> tuple[int, int]:
        """The first entry of the table that replaces a huge page, and the step from one entry to the next.

        Everything but the size stays: frames, rights, accessed, dirty, memory type, and the software's bits.

        Args:
            entry: A page of this level: present, PROT_NONE, or a migration entry.
            level: Its level; the entries are for the next one down.
        """
        below = self.levels[level.depth + 1]
        if not self.is_present(entry):
            return entry, self.software.swap_step * (below.span // self.page_size)
        kept = entry & ((1 << 64) - 1 ^ self._address_bits ^ level.leaf_value)
        if level.movable is not None and below.movable is not None and entry >> level.movable & 1:
            kept |= 1 << below.movable
        inverted = self.software.inverts_frames and not self.is_valid(entry)
        frame = self.leaf_paddr(entry, level)
        step = _encode(self.address, below.span)
        stored = _encode(self.address, (frame ^ self._address_span) & self._whole_frames(below) if inverted else frame)
        return kept | below.leaf_value | stored, -step if inverted else step


def _word(value: Any, what: str) -> Any:
    """A plain int, or an array as it is: NumPy's own scalars are as narrow as they are, and signed or not."""
    is_array: Any = getattr(value, "ndim", 0)
    return value if type(value) is int or is_array else integer(value, what)


def _decode(fields: tuple[AddressField, ...], entry: Any) -> Any:
    """Gather an address from its fields."""
    return _any((entry & mask) << up >> down for mask, up, down in fields)


def _encode(fields: tuple[AddressField, ...], paddr: Any) -> Any:
    """Scatter an address into its fields."""
    return _any((paddr << down >> up) & mask for mask, up, down in fields)


def _any(words: Iterable[Any]) -> Any:
    """The bitwise or of one word or more."""
    result, *rest = words
    for word in rest:
        result = result | word
    return result


def _granted(rows: tuple[FlagBit, ...], entry: Any) -> Any:
    """The flags whose bits an entry holds."""
    return _any(((entry >> row.bit & 1) ^ row.clear.real) << (row.flag.bit_length() - 1) for row in rows)


def _settings(rows: tuple[FlagBit, ...], flags: Any) -> Any:
    """The bits that hold these flags."""
    return _any(((flags >> (row.flag.bit_length() - 1) & 1) ^ row.clear.real) << row.bit for row in rows)


def _some(bits: Any) -> bool:
    """Whether any word is not zero."""
    return bool(bits if isinstance(bits, int) else bits.any())
