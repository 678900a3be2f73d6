"""Page tables: a format, a memory and a root. Raw entries; nothing here knows of VMAs.

Three small things carry everything above:

* ``Table``: one table, its slots usable like a list of raw values. In a flat memory the slots *are* the memory.
* ``Entry``: a reference to one slot, as a ``pte_t *`` is. It reads, writes and decodes the raw value.
* ``PageTables``: goes from the root to an address, and grows or splits where it may.
"""

from __future__ import annotations

import errno
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from pagewalk.doors import integer, not_negative, shortened
from pagewalk.errors import (
    BadRoot,
    Malformed,
    MemoryReadError,
    MemoryWriteError,
    NonCanonical,
    NotPresent,
    OutOfFrames,
    ReservedBits,
    UnsupportedError,
    WalkError,
)
from pagewalk.formats import NO_PADDR, Flag, Kind, Level, PagingFormat, find_format
from pagewalk.memory import BadAnswer, Closable, Flat, RemoteSlots, read_exactly, write_to, writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.frames import FrameAllocator
    from pagewalk.memory import Memory

__all__ = ["Entry", "PageTables", "Slots", "Table", "Translation"]

WORD_MASK = (1 << 64) - 1
LAST_DEPTH = 4


class Slots(Protocol):
    """The raw values of a table."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class Table:
    """One table of a level.

    Attributes:
        tables: The page tables it belongs to.
        paddr: Physical address of its first slot, in bytes.
        level: Its level.
        slots: Its raw values: ``slots[i]`` reads now, ``slots[i] = value`` writes now. A walk *keeps* the tables of a
            remote memory while it is in them.
    """

    __slots__ = ("level", "paddr", "slots", "tables")

    def __init__(self, tables: PageTables, paddr: int, level: Level, slots: Slots) -> None:
        self.tables = tables
        self.paddr = paddr
        self.level = level
        self.slots = slots

    def __repr__(self) -> str:
        return f"<{self.level.name} table at {self.paddr:#x}>"

    def keep(self) -> None:
        """Read all slots of a remote table at once, not each at each use, until ``let_go``."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.keep()

    def let_go(self) -> None:
        """Read each slot at each use."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.let_go()

    def afresh(self, index: int) -> None:
        """Read one slot of a table that is kept again: somebody may have changed it behind us."""
        if isinstance(self.slots, RemoteSlots):
            self.slots.afresh(index)

    def __reduce__(self) -> tuple[Any, ...]:
        """Found again in the page tables, which are pickled with it."""
        return _table_at, (self.tables, self.paddr, self.level)


def _table_at(tables: PageTables, paddr: int, level: Level) -> Table:
    """A table that was pickled."""
    return tables._table(paddr, level, 0, 0)


class Entry:
    """A reference to one slot of a table.

    ``value`` is read from and written to the memory at each use; everything else decodes what is there now.
    """

    __slots__ = ("index", "table")

    def __init__(self, table: Table, index: int) -> None:
        self.table = table
        self.index = index

    def __repr__(self) -> str:
        return f"<{self.level.name} entry {self.index} at {self.paddr:#x}: {self.value:#018x} {self.kind.label}>"

    @property
    def value(self) -> int:
        """The raw value."""
        return self.table.slots[self.index]

    @value.setter
    def value(self, value: int) -> None:
        value = integer(value, "an entry")
        if value >> 64:
            raise ValueError(f"{value:#x} does not fit an entry of 64 bits")
        try:
            self.table.slots[self.index] = value
        except TypeError:
            raise MemoryWriteError(self.paddr, 8, "opened read-only: open it with writable=True") from None

    @property
    def paddr(self) -> int:
        """Physical address of the slot itself."""
        return self.table.paddr + 8 * self.index

    @property
    def level(self) -> Level:
        """The level it is looked at as."""
        return self.table.level

    @property
    def format(self) -> PagingFormat:
        """The paging format that decodes it."""
        return self.table.tables.format

    @property
    def is_none(self) -> bool:
        """Whether it is empty (``pte_none``)."""
        return bool(self.format.is_none(self.value))

    @property
    def is_present(self) -> bool:
        """Whether a page or a table is there (``pte_present``): PROT_NONE counts."""
        return bool(self.format.is_present(self.value))

    @property
    def is_table(self) -> bool:
        """Whether it points to a table."""
        return bool(self.format.is_table(self.value, self.level))

    @property
    def is_leaf(self) -> bool:
        """Whether it maps a page, of any size."""
        value = self.value
        level = self.level
        return level.may_be_leaf and bool(self.format.is_present(value)) and not self.format.is_table(value, level)

    @property
    def kind(self) -> Kind:
        """What occupies it."""
        value = self.value
        if value >> self.format.valid & 1:
            return Kind.PRESENT
        return Kind(self.format.kind(value, self.level)) if value else Kind.NONE

    @property
    def flags(self) -> Flag:
        """Its own rights and state; a table's entry has the rights it passes on."""
        value = self.value
        table = self.format.is_table(value, self.level)
        return Flag(self.format.table_flags(value) if table else self.format.flags(value, self.level))

    @property
    def target(self) -> int | None:
        """Physical address of the table or frame it names, None if it names none."""
        value = self.value
        if self.format.is_table(value, self.level):
            return self.format.table_paddr(value)
        frame = self.format.frame(value, self.level)
        return None if frame == NO_PADDR else frame


class Translation(NamedTuple):
    """Where a virtual address leads.

    Attributes:
        paddr: Physical address in bytes, None if the page is there and its frame is not known.
        page_size: Bytes in the page.
        flags: Effective rights, and the page's state.
        kind: PRESENT or PROT_NONE.
        entry: The entry that maps it.
    """

    vaddr: int
    paddr: int | None
    page_size: int
    flags: Flag
    kind: Kind
    entry: Entry

    def __repr__(self) -> str:
        where = "an unknown frame" if self.paddr is None else f"{self.paddr:#x}"
        return f"<Translation of {self.vaddr:#x}: {where}, {self.kind.label} page of {self.page_size:#x} bytes>"


class PageTables:
    """A format, a memory, a root, and a frame allocator if the tables may grow.

    Args:
        memory: Where the tables are.
        root: Physical address of the top table (x86: CR3 without its low flag bits).
        format: A paging format or its name.
        allocator: Where new tables come from; None: they do not grow.

    Raises:
        BadRoot: The root is misaligned or too wide for the format.
        UnsupportedError: No format of that name.
        TypeError: The root is no integer.
    """

    def __init__(
        self,
        memory: Memory,
        root: int,
        format: str | PagingFormat = "x86-64",  # noqa: A002 - the name users know from --format
        *,
        allocator: FrameAllocator | None = None,
    ) -> None:
        self.format = find_format(format)
        self.memory = memory
        self.root = root = integer(root, "root")
        self.allocator = allocator
        self._flat = memory if isinstance(memory, Flat) and sys.byteorder == "little" else None
        self._can_go = hasattr(memory, "check_extent")
        size = self.format.table_bytes(self.format.levels[0])
        if root < 0 or root % size or root >> self.format.physical_bits:
            raise BadRoot(root, f"is not a {size}-byte aligned physical address; mask the register's flag bits off")

    def __repr__(self) -> str:
        return f"<PageTables {self.format.name} root={self.root:#x} in {shortened(repr(self.memory), 64)}>"

    def close(self) -> None:
        """Close the memory, if it can be closed: what these tables are asked for afterwards raises MemoryReadError."""
        if isinstance(self.memory, Closable):
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def root_table(self) -> Table:
        """The top table.

        Raises:
            BadRoot: It is outside the memory.
            MemoryReadError: The file that is the memory was cut off.
        """
        self.check_memory()
        return self._table(self.root, self.format.levels[0], 0, self.root)

    def check_memory(self) -> None:
        """Check that a memory that can go, such as a file that somebody cuts off, is still there.

        Raises:
            MemoryReadError: It is not.
        """
        if self._can_go:
            self.memory.check_extent()  # type: ignore[attr-defined]

    def _table(self, paddr: int, level: Level, vaddr: int, entry: int) -> Table:
        """The table at ``paddr``, known to be inside the memory."""
        size = self.format.table_bytes(level)
        if self._flat is not None and (view := self._flat.view(paddr, size)) is not None:
            if view.nbytes != size:
                raise BadAnswer(paddr, size, f"{type(self.memory).__name__}.view showed {view.nbytes} bytes")
            return Table(self, paddr, level, view.cast("Q"))
        seen = writes()
        try:
            data = read_exactly(self.memory, paddr, size)
        except BadAnswer:
            raise
        except MemoryReadError as error:
            if level.depth == 0:
                raise BadRoot(paddr, f"is not in memory ({error})") from None
            why = f"the {level.name} table at {paddr:#x} is not in memory ({error})"
            raise Malformed(vaddr, self.format.real_depths[max(level.depth - 1, 0)], entry, why) from None
        return Table(self, paddr, level, RemoteSlots(self.memory, paddr, size, (seen, data)))

    def child(self, entry: Entry, vaddr: int) -> Table:
        """The table one level below an entry that points to one; for a folded level, the entry once more.

        Args:
            entry: An entry above the last level.
            vaddr: The address on the way, for messages.

        Raises:
            Malformed: The table is outside the memory.
        """
        level = self.format.levels[entry.level.depth + 1]
        if level.folded:
            slots: Any = entry.table.slots
            alone = slots[entry.index : entry.index + 1] if isinstance(slots, memoryview) else slots.alone(entry.index)
            return Table(self, entry.paddr, level, alone)
        value = entry.value
        return self._table(self.format.table_paddr(value), level, vaddr, value)

    def check(self, value: int, level: Level, vaddr: int) -> None:
        """Refuse a present entry that the hardware would refuse.

        Raises:
            ReservedBits: It sets bits that must be zero.
        """
        wrong = self.format.reserved(value, level) if self.format.is_valid(value) else 0
        if wrong:
            depth = self.format.real_depths[level.depth]
            why = f"{self.format.levels[depth].name} entry {value:#x} sets reserved bits {wrong:#x}"
            raise ReservedBits(vaddr, depth, value, why)

    def steps(self, vaddr: int) -> Iterator[Entry]:
        """The entries that the hardware reads for an address, root first; the last one ends it.

        Raises:
            NonCanonical: Not an address of this format.
            ReservedBits: An entry sets bits that must be zero. It has been yielded.
            Malformed: A table lies outside the memory. The entry naming it has been yielded.
        """
        vaddr = integer(vaddr, "vaddr")
        if not 0 <= vaddr < 1 << 64 or not self.format.is_canonical(vaddr):
            (_, low), (high, _) = self.format.halves
            why = f"not canonical: {self.format.name} has addresses below {low:#x} and from {high:#x} on"
            raise NonCanonical(vaddr, -1, 0, why)
        table = self.root_table
        while True:
            entry = Entry(table, table.level.index(vaddr))
            table.keep()
            try:
                if not self.format.folds_into_next(entry.level):
                    yield entry
                    self.check(entry.value, entry.level, vaddr)
                    if not entry.is_table:
                        return
                below = self.child(entry, vaddr)
            finally:
                table.let_go()
            table = below

    def translate(self, vaddr: int, *, hardware: bool = False) -> Translation:
        """Translate one virtual address.

        Args:
            vaddr: The address in bytes.
            hardware: Answer as the MMU would: a PROT_NONE page is not there.

        Raises:
            NotPresent: Nothing is mapped (carries vaddr, depth, entry).
            NonCanonical, ReservedBits, Malformed: As ``steps``.
        Source: Intel SDM vol. 3A, 5.5.4.
        """
        vaddr, flags = integer(vaddr, "vaddr"), Flag.rights()
        for entry in self.steps(vaddr):
            if entry.is_table:
                flags &= entry.flags
        value, level, kind = entry.value, entry.level, entry.kind
        mapped = kind is Kind.PRESENT or (kind is Kind.PROT_NONE and not hardware)
        if not (mapped and level.may_be_leaf):
            what = "empty" if kind is Kind.NONE else f"{kind.label} ({value:#x})"
            depth = self.format.real_depths[level.depth]
            raise NotPresent(vaddr, depth, value, f"not mapped: the {self.format.levels[depth].name} entry is {what}")
        flags = (flags | ~Flag.rights()) & entry.flags
        frame = entry.target
        paddr = None if frame is None else frame | vaddr & (level.span - 1)
        return Translation(vaddr, paddr, level.span, flags, kind, entry)

    def read(self, vaddr: int, size: int) -> bytes:
        """Read ``size`` bytes at a virtual address, across pages.

        Raises:
            NotPresent: A page is not there, or its frame is not known.
            MemoryReadError: A page's frame is outside the memory.
            NonCanonical, ReservedBits, Malformed: As ``steps``.
            ValueError: The size is negative.
        """
        vaddr, size = integer(vaddr, "vaddr"), not_negative(size, "size")
        parts, end = [], vaddr + size
        while vaddr < end:
            page = self.translate(vaddr)
            if page.paddr is None:
                raise NotPresent(vaddr, page.entry.level.depth, page.entry.value, "the page's frame is not known")
            step = min(end - vaddr, page.page_size - vaddr % page.page_size)
            parts.append(read_exactly(self.memory, page.paddr, step))
            vaddr += step
        return b"".join(parts)

    # -- changing ----------------------------------------------------------------------------------------------------

    def grow(self, entry: Entry, vaddr: int) -> None:
        """Link a new, zeroed table under an empty entry. Changes the memory.

        Args:
            entry: An empty entry above the last level.
            vaddr: The address the table is for.

        Raises:
            WalkError: EINVAL: the entry is not empty, is of the last level, or lies in another memory.
            OutOfFrames: No frame (carries vaddr and depth); nothing has changed.
            UnsupportedError: These tables have no allocator.
            MemoryWriteError: The frame cannot be written; it has been given back.
        """
        self._check_ours(entry, vaddr)
        if entry.level.depth == LAST_DEPTH:
            raise _refused(entry, vaddr, "is of the last level: no table goes below it")
        if not entry.is_none:
            raise _refused(entry, vaddr, "is not empty: split a page, or empty the entry, before a table goes there")
        self._link(entry, vaddr, bytes(self.format.page_size))

    def split(self, entry: Entry, vaddr: int) -> None:
        """Replace a huge page by a full table of the next smaller size. Changes the memory.

        Frames, rights, accessed, dirty, memory type and the software's bits stay as they were.

        Args:
            entry: A page above the last level: present, PROT_NONE, or a migration entry.
            vaddr: The address that asked for it.

        Raises:
            WalkError: EINVAL: the entry is no such page, or lies in another memory.
            OutOfFrames, UnsupportedError, MemoryWriteError: As ``grow``.
        """
        self.check_split(entry, vaddr)
        self._link(entry, vaddr, self.split_contents(entry))

    def check_split(self, entry: Entry, vaddr: int) -> None:
        """Refuse to split what is no page above the last level, nor one on its way elsewhere.

        Raises:
            WalkError: EINVAL.
        """
        self._check_ours(entry, vaddr)
        may_be = entry.level.may_be_leaf and entry.level.depth < LAST_DEPTH
        if not may_be or not (entry.is_leaf or entry.kind is Kind.MIGRATION):
            raise _refused(entry, vaddr, "is no page that can be split")

    def _check_ours(self, entry: Entry, vaddr: int) -> None:
        """Refuse an entry of another memory: a table of ours cannot be linked there."""
        if entry.table.tables.memory is not self.memory:
            raise _refused(entry, vaddr, f"belongs to other tables, not to these with their root at {self.root:#x}")

    def split_contents(self, entry: Entry) -> bytes:
        """The table that says the same as a huge page's entry."""
        first, step = self.format.split(entry.value, entry.level)
        count = self.format.levels[entry.level.depth + 1].entries
        return struct.pack(f"<{count}Q", *((first + step * at) & WORD_MASK for at in range(count)))

    def _link(self, entry: Entry, vaddr: int, contents: bytes) -> None:
        """Fill a new table, then point ``entry`` at it: nobody sees it half-made."""
        if self.allocator is None:
            raise UnsupportedError(f"{vaddr:#x}: these page tables have no frame allocator, so they cannot grow")
        try:
            frame = self.allocator.allocate()
        except OutOfFrames as error:
            raise OutOfFrames(error.why, vaddr, self.format.real_depths[entry.level.depth]) from None
        try:
            write_to(self.memory, frame, contents)
            entry.value = self.format.table_entry(frame)
        except BaseException:
            self.allocator.free(frame)
            raise


def _refused(entry: Entry, vaddr: int, why: str) -> WalkError:
    """The error for an entry that is not for this change."""
    what = f"the {entry.level.name} entry {entry.value:#x} ({entry.kind.label}) at physical {entry.paddr:#x}"
    return WalkError(errno.EINVAL, f"{integer(vaddr, 'vaddr'):#x}: {what} {why}")
