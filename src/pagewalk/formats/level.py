"""Levels and windows: where a table stands on the way down, and which addresses it translates.

A format's levels are those that the hardware has. The kernel always counts five: where a window has fewer, the others
are *folded*, have no index bits of their own and show the entry of the level above once more. So a level is *placed*:
the first of a window is the kernel's PGD, the last its PTE, whatever the hardware calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import integer, shown
from pagewalk.formats.access import NO_RULES, AccessRules
from pagewalk.formats.bits import NO_PADDR, joined, scattered
from pagewalk.formats.codec import FLAGS, Codec, Decoded
from pagewalk.formats.fields import KEY, MEMORY, RIGHTS, SWAP_TYPE
from pagewalk.formats.flags import Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.formats.arrays import Arrays
    from pagewalk.formats.fields import Field
    from pagewalk.formats.rows import Row
    from pagewalk.formats.word import Word

__all__ = ["LAST_DEPTH", "Level"]

NAMES: Final = ("PGD", "P4D", "PUD", "PMD", "PTE")
LAST_DEPTH: Final = len(NAMES) - 1


@dataclass(frozen=True, repr=False)
class Level:
    """One level of tables.

    Attributes:
        manual: The manual's name for the table.
        shift: log2 of the bytes one entry covers.
        index_bits: log2 of the entries in a table; 0 for a folded level.
        rows: What its entries are.
        word: An entry as it lies in memory.
        access: What control registers make of rights.
        depth: 0 PGD .. 4 PTE, as the kernel counts.
        real_depth: The depth of the level that the hardware has here (the kernel's ``real_depth``).
        above: The ``real_depth`` of the level above; of the first, its own.
        real_index_bits: log2 of the entries of the table that the hardware has here.
        below: The next level down; None for the last.
    """

    manual: str
    shift: int
    index_bits: int
    rows: tuple[Row, ...]
    word: Word
    access: AccessRules = NO_RULES
    depth: int = LAST_DEPTH
    real_depth: int = LAST_DEPTH
    above: int = 0
    real_index_bits: int = 0
    below: Level | None = field(default=None, compare=False)
    codec: Codec = field(default=None, compare=False)  # type: ignore[assignment]  # made below
    decode: Callable[[int], Decoded] = field(init=False, compare=False)
    """What an entry says: the codec's own method, one call nearer."""
    none: int = field(init=False, compare=False)
    """The empty entry; others may count as empty too: ``is_none``."""
    is_none: Callable[[Any], Any] = field(init=False, compare=False)
    """Whether an entry is empty, as the kernel's ``pte_none``; of an array, an array of bool."""
    _shared: list[Arrays] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        """Make what reads the entries; placed once more, a level shares it. One of other rows is given no codec."""
        if self.codec is None:
            object.__setattr__(self, "_shared", [])
            object.__setattr__(self, "codec", Codec(self.rows, self.shift, self.access))
        object.__setattr__(self, "decode", self.codec.decode)
        object.__setattr__(self, "none", self.codec.empty)
        object.__setattr__(self, "is_none", self.codec.is_none)

    def __repr__(self) -> str:
        return f"<Level {self.name}: {self.span:#x} bytes an entry>"

    def __hash__(self) -> int:
        return hash((self.manual, self.shift, self.depth))

    @cached_property
    def arrays(self) -> Arrays:
        """What entries say, for arrays of them; made when it is first asked for, since it needs NumPy."""
        from pagewalk.formats.arrays import Arrays

        if not self._shared:
            self._shared.append(Arrays(self.codec))
        return self._shared[0]

    # -- addresses ---------------------------------------------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The kernel's name: PGD, P4D, PUD, PMD, PTE."""
        return NAMES[self.depth]

    @cached_property
    def real_name(self) -> str:
        """The name of the level that the hardware has here."""
        return NAMES[self.real_depth]

    @cached_property
    def is_last(self) -> bool:
        """Whether no table is below."""
        return self.below is None

    @cached_property
    def beneath(self) -> Level | None:
        """The level of the tables that entries here point to: the next one that the hardware has; None for the last."""
        below = self.below
        while below is not None and below.folded:
            below = below.below
        return below

    @cached_property
    def folds(self) -> bool:
        """Whether the level below shows the same entries, so that emptiness is for it to find."""
        return self.below is not None and self.below.folded

    @cached_property
    def span(self) -> int:
        """Bytes that one entry covers."""
        return 1 << self.shift

    @cached_property
    def entries(self) -> int:
        """Entries in one table."""
        return 1 << self.index_bits

    @cached_property
    def table_bytes(self) -> int:
        """Bytes in one table."""
        return self.word.size << self.index_bits

    @property
    def folded(self) -> bool:
        """Whether this level only repeats the one above it."""
        return self.index_bits == 0

    @cached_property
    def may_be_leaf(self) -> bool:
        """Whether an entry here can map a page."""
        return any(row.kind is Kind.PRESENT for row in self.rows)

    @cached_property
    def page_sizes(self) -> tuple[int, ...]:
        """Bytes in a page that an entry here can map, groups included, ascending."""
        return tuple(sorted({self.span << row.order for row in self.rows if row.kind is Kind.PRESENT}))

    @cached_property
    def has_groups(self) -> bool:
        """Whether entries here can be one page together (contiguous, NAPOT)."""
        return any(row.order for row in self.rows)

    def index(self, vaddr: int) -> int:
        """The slot of ``vaddr`` in a table of this level."""
        return (vaddr >> self.shift) & (self.entries - 1)

    def slot(self, paddr: int) -> int:
        """The number of the slot at a physical address in the table that holds it, a folded level's too."""
        return paddr // self.word.size & (1 << self.real_index_bits) - 1

    def end(self, vaddr: int, end: int) -> int:
        """Where the entry that covers ``vaddr`` ends, ``end`` at most (the kernel's ``pXd_addr_end``)."""
        return min((vaddr >> self.shift) + 1 << self.shift, end)

    # -- looking at an entry, or at an array of them -----------------------------------------------------------------

    def kind(self, entry: Any) -> Any:
        """The ``Kind`` of an entry; of an array, numbers: shape (n,), uint8."""
        if type(entry) is int:
            return self.decode(entry).kind
        return self.decode(int(entry)).kind if _is_one(entry) else self.arrays.kinds(entry)

    def flags(self, entry: Any) -> Any:
        """``Flag`` bits of whatever an entry holds: a page's, a swap entry's, of a table the rights that it passes on.

        Of an array: shape (n,), uint32. A PROT_NONE page keeps its state and has no rights.
        """
        if _is_one(entry):
            return self.decode(int(entry)).flags
        return self.arrays.flags(entry)

    def is_table(self, entry: Any) -> Any:
        """Whether an entry points to a table."""
        return self.kind(entry) == Kind.TABLE

    def is_page(self, entry: Any) -> Any:
        """Whether a page is there for the kernel: PROT_NONE counts."""
        kind = self.kind(entry)
        return (kind == Kind.PRESENT) | (kind == Kind.PROT_NONE)

    @cached_property
    def is_valid(self) -> Callable[[Any], Any]:
        """Whether the hardware takes an entry as present, rightly encoded or not."""
        visible = self.codec.visible
        return self._is_seen if visible is None else visible.__call__

    def _is_seen(self, entry: Any) -> Any:
        """The same by its kind, where no one pattern tells."""
        kind = self.kind(entry)
        return (kind == Kind.PRESENT) | (kind == Kind.TABLE) | (kind == Kind.RESERVED)

    def wrong(self, entry: int) -> int:
        """The bits that a present entry must not have so: 0 when it is in order."""
        return self.codec.wrong(entry)

    def frame(self, entry: Any) -> Any:
        """The physical address of the page, table or frame that an entry names; ``NO_PADDR`` where it names none."""
        if not _is_one(entry):
            return self.arrays.frames(entry)
        entry = int(entry)
        parts = self.decode(entry).address
        return joined(parts, entry) if parts else NO_PADDR

    def page_at(self, entry: int, vaddr: int) -> int:
        """The address of the page that translates ``vaddr``, by its entry; ``NO_PADDR`` where it is not known.

        As ``frame``, but that a page of a group takes from the virtual address what the group leaves open.
        """
        frame = int(self.frame(entry))
        if frame == NO_PADDR:
            return NO_PADDR
        return frame | vaddr & self.codec.left_open(self.codec.decode(entry).shape)

    def effective(self, entry: int, granted: int) -> Flag:
        """The flags of an entry below levels that grant some rights."""
        return Flag(self.codec.state(entry, granted) & FLAGS)

    def swap_slot(self, entry: Any) -> tuple[Any, Any]:
        """The type and the offset of an entry that is stored as swap is: swap, a migration entry, a marker."""
        row, type_ = self._swap
        page = joined(row.address, entry)
        return (entry & type_.mask) >> type_.lowest, page >> self._page_shift(row)

    @cached_property
    def swaps(self) -> bool:
        """Whether an entry here can say where in a swap device a page is."""
        return any(row.kind is Kind.SWAP for row in self.rows)

    def stored_as_swap(self, entry: int) -> bool:
        """Whether an entry has a type and an offset, whatever that means: ``swap_slot``."""
        return self.swaps and self._swap[0].matches(entry) and not self.is_none(entry)

    @cached_property
    def _swap(self) -> tuple[Row, Field]:
        """The row of swap, and its field of the type.

        Raises:
            ValueError: This level has none.
        """
        row = self._needed(next((row.name for row in self.rows if row.kind is Kind.SWAP), Kind.SWAP.label))
        field = row.field(SWAP_TYPE)
        assert field is not None
        return row, field

    @property
    def swap_slots(self) -> int:
        """How many slots of a swap device an entry can tell apart."""
        row, _ = self._swap
        return (row.reach >> self._page_shift(row)) + 1

    @cached_property
    def has_keys(self) -> bool:
        """Whether a page's entry has a protection key."""
        return any(row.kind is Kind.PRESENT and row.field(KEY) is not None for row in self.rows)

    def _page_shift(self, row: Row) -> int:
        """log2 of the bytes that a step of a swap offset stands for."""
        (part,) = row.address
        return (part.reach & -part.reach).bit_length() - 1

    # -- making an entry, or an array of them ------------------------------------------------------------------------

    def _needed(self, name: str) -> Row:
        """The row of a name.

        Raises:
            ValueError: This level has none.
        """
        row = self.codec.row(name)
        if row is None:
            raise ValueError(f"no {self.name} entry is {name} in this format")
        return row

    def table(self, paddr: Any) -> Any:
        """An entry that points to the table at ``paddr``, granting every right (the pages below decide).

        Raises:
            ValueError: The address is misaligned or too wide.
        """
        row, said = self._open_table
        value = _word(paddr, "paddr")
        if _some(value & (NO_PADDR ^ row.reach)):
            where = hex(value) if isinstance(value, int) else shown(paddr)
            raise ValueError(f"{where} is no address of a table that {self.real_name} entries can name")
        return self.codec.make(row, value, said)

    @cached_property
    def _open_table(self) -> tuple[Row, int]:
        """The row of tables, and the bits of its fields that grant every right."""
        row = self._needed(Kind.TABLE.label)
        return row, self.said(row, int(Flag.rights()))

    def page(self, paddr: Any, flags: Any, *, memory: Any = 0, key: Any = 0) -> Any:
        """An entry that maps the page at ``paddr``.

        Args:
            paddr: The page's address in bytes, aligned to the level's span.
            flags: ``Flag`` bits; a flag without a bit in this format is left out.
            memory, key: The numbers of its memory type and protection key, where the format has them.

        Raises:
            ValueError: The level holds no page, or the address is misaligned or too wide.
        """
        row = self.codec.row(Kind.PRESENT.label)
        if row is None:
            raise ValueError(f"a {self.name} entry cannot map a page in this format")
        value, flags = _word(paddr, "paddr"), _word(flags, "flags")
        if _some(value & (NO_PADDR ^ row.reach)):
            raise ValueError(f"not a frame address for a {self.name} page of {self.span:#x} bytes: {shown(paddr)}")
        said = self.said(row, flags)
        for name, number in ((MEMORY, memory), (KEY, key)):
            part = row.field(name)
            said = said if part is None else said | part.put(number)
        return self.codec.make(row, value, said)

    def said(self, row: Row, flags: Any) -> Any:
        """The bits of a row's fields that say these flags, as far as it can; for numbers there are none."""
        if not _is_one(flags):
            return self.arrays.said(row, flags)
        return sum(part.said(int(flags)) for part in row.fields if not part.derived)

    def swap(self, type_: Any, offset: Any, flags: Any = 0) -> Any:
        """The entry of a page in a swap device, or of one of Linux's special types."""
        row, part = self._swap
        return self.codec.make(row, offset << self._page_shift(row), part.put(type_) | self.said(row, flags))

    def marked(self, name: str) -> int:
        """The entry of a row that names nothing, such as ``guard`` or ``uffd_wp``: swap, but for its own bits."""
        mask, value = self._needed(name).when[0]
        return int(self.swap(0, 0)) & (NO_PADDR ^ mask) | value

    def poisoned(self, paddr: int) -> int:
        """The entry of a page at ``paddr`` that is broken.

        Raises:
            ValueError: This level has none: the kernel was built without.
        """
        row = self._needed(Kind.HWPOISON.label)
        parts = [part._replace(flip=False) for part in row.address]
        return int(self.marked(Kind.HWPOISON.label) ^ scattered(parts, paddr))

    # -- changing entries --------------------------------------------------------------------------------------------

    def with_flags(self, entry: Any, flags: Flag) -> Any:
        """Entries with flags set, rights or state; one that cannot have them stays as it is."""
        return self._changed(entry, flags, Flag(0))

    def without_flags(self, entry: Any, flags: Flag) -> Any:
        """Entries with flags taken away, rights or state."""
        return self._changed(entry, Flag(0), flags)

    def _changed(self, entry: Any, more: Flag, less: Flag) -> Any:
        if not _is_one(entry):
            return self.arrays.changed(entry, lambda one: self._change(one, more, less))
        clear, put = self._change(int(entry), more, less)
        return int(entry) & (NO_PADDR ^ clear) | put

    def _change(self, entry: int, more: Flag, less: Flag) -> tuple[int, int]:
        """The bits of an entry to clear, and those to set then."""
        found, clear, put = self.codec.decode(entry), 0, 0
        wanted = int((found.flags | more) & ~less)
        for part in found.row.fields:
            rights = part.name == RIGHTS and (more | less) & Flag.rights() and found.kind in (Kind.PRESENT, Kind.TABLE)
            if part.derived or not (rights or part.flags & (more | less)):
                continue
            clear, put = clear | part.mask, put | part.said(wanted)
        return clear, put

    def frame_bits(self, paddr: Any) -> Any:
        """What takes the entry of the page at 0 to that of the page at ``paddr``, x-ored, with rights or without."""
        parts = [part._replace(flip=False) for part in self._needed(Kind.PRESENT.label).address]
        return scattered(parts, paddr)

    def without_rights(self, entry: Any) -> Any:
        """A page's entry as the operating system stores it when nobody may touch the page (PROT_NONE)."""
        to = self._needed(Kind.PROT_NONE.label)
        row = self._needed(Kind.PRESENT.label)
        if _is_one(entry):
            row = self.codec.decode(int(entry)).row
        return self.codec.converted(entry, row, to, joined(row.address, entry))

    def split(self, entry: int) -> tuple[int, int]:
        """The first entry of the table that replaces a page, and the step from one entry to the next.

        Everything but the size stays: frames, rights, accessed, dirty, memory type, and the software's bits.

        Args:
            entry: A page above the last level: present, PROT_NONE, or a migration entry.

        Raises:
            ValueError: Pages below cannot say what this one says.
        """
        below = self.beneath
        assert below is not None
        row = self.codec.decode(entry).row
        to = below.codec.row(row.name) or below.codec.row(row.kind.label)
        if to is None:
            raise ValueError(f"no {below.name} entry is {row.name} in this format: {entry:#x} cannot be split")
        frame = joined(row.address, entry)
        if frame & ~to.reach:
            raise ValueError(f"its frame at {frame:#x} is none that {below.name} entries can name")
        first = below.codec.converted(entry, row, to, frame)
        part = to.address[0]
        step = below.span << part.down >> part.up
        return first, -step if part.flip else step

    def alone(self, entry: int, vaddr: int) -> int:
        """A page of a group as a page that stands alone (the kernel unfolds a group before it changes one of it).

        Args:
            entry: The page.
            vaddr: The address that it translates.
        """
        row = self.codec.decode(entry).row
        to = self._needed(row.name)
        left = self.codec.left_open(self.codec.shape_of(row))
        return int(self.codec.converted(entry, row, to, joined(row.address, entry) | vaddr & left))


# -- one entry, or many ------------------------------------------------------------------------------------------------


def _is_one(entry: Any) -> bool:
    """Whether it is one entry, not an array of them."""
    return type(entry) is int or not getattr(entry, "ndim", 0)


def _word(value: Any, what: str) -> Any:
    """A plain int, or an array as it is: NumPy's own scalars are as narrow as they are, and signed or not."""
    return integer(value, what) if _is_one(value) else value


def _some(bits: Any) -> bool:
    """Whether any word is not zero."""
    return bool(bits if isinstance(bits, int) else bits.any())
