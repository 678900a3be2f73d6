"""Page tables: a format, a memory and windows. Raw entries; nothing here knows of VMAs.

A *window* is a range of virtual addresses and the root that translates it: both halves of an address space may have one
root, or each its own. ``PageTables`` goes from the root of an address's window to the address, and grows or splits
where it may.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pagewalk.doors import integer, not_negative, shortened
from pagewalk.errors import (
    BadRoot,
    Malformed,
    MemoryReadError,
    NonCanonical,
    NotPresent,
    OutOfFrames,
    ReservedBits,
    UnsupportedError,
    WalkError,
)
from pagewalk.formats import DEFAULT, NO_PADDR, Flag, Kind, Level, PagingFormat, Rights, Window, find_format
from pagewalk.memory import BadAnswer, Closable, RemoteSlots, is_flat, read_exactly, write_to, writes
from pagewalk.tables.groups import standing_alone
from pagewalk.tables.table import Entry, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pagewalk.frames import FrameAllocator
    from pagewalk.memory import Memory

__all__ = ["PageTables", "Translation"]


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
    """A format, a memory, windows with their roots, and a frame allocator if the tables may grow.

    Args:
        memory: Where the tables are.
        root: Physical address of the top table, without a register's flag bits; one for all windows of the format.
            None where ``windows`` are given.
        format: A paging format or its name.
        windows: Which addresses are translated, by which roots; None: the format's own, by ``root``.
        allocator: Where new tables come from; None: they do not grow.

    Raises:
        BadRoot: A root is misaligned or too wide for the format.
        UnsupportedError: No format of that name.
        TypeError: The root is no integer; both a root and windows, or neither.
    """

    def __init__(
        self,
        memory: Memory,
        root: int | None = None,
        format: str | PagingFormat = DEFAULT,  # noqa: A002 - the name users know from --format
        *,
        windows: Iterable[Window] | None = None,
        allocator: FrameAllocator | None = None,
    ) -> None:
        self.format = find_format(format)
        self.memory = memory
        self.windows = self._rooted(root, windows)
        self.root = self.windows[0].root
        self.allocator = allocator
        self._flat = memory if is_flat(memory) and self.format.word.is_native else None
        self._can_go = hasattr(memory, "check_extent")
        for window in self.windows:
            self._check_root(window)

    def _rooted(self, root: int | None, windows: Iterable[Window] | None) -> tuple[Window, ...]:
        """The windows, each with its root, by address."""
        if windows is None:
            root = integer(root, "root")
            return tuple(window._replace(root=root) for window in self.format.windows)
        if root is not None or not (given := tuple(windows)):
            raise TypeError("page tables have a root, or windows that have one each: give one or the other")
        return tuple(sorted(given))

    def _check_root(self, window: Window) -> None:
        """Refuse a root that no register can hold."""
        root, size = window.root, self.format.levels_of(window)[0].table_bytes
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
        """The top table, of the first window.

        Raises:
            BadRoot, MemoryReadError: As ``top``.
        """
        return self.top(self.windows[0])

    def top(self, window: Window) -> Table:
        """The top table of a window.

        Raises:
            BadRoot: It is outside the memory.
            MemoryReadError: The file that is the memory was cut off.
        """
        self.check_memory()
        return self._table(window.root, self.format.levels_of(window)[0], window.start, window.root)

    def window_of(self, vaddr: int) -> Window:
        """The window that translates an address.

        Raises:
            NonCanonical: None does.
        """
        for window in self.windows:
            if window.holds(vaddr):
                return window
        raise NonCanonical(vaddr, -1, 0, f"not canonical: {self.format.name} has {told(self.windows)}")

    def table_at(self, paddr: int, level: Level) -> Table:
        """The table of a level at an address.

        Raises:
            BadRoot, Malformed: It is outside the memory.
        """
        return self._table(paddr, level, 0, 0)

    def check_memory(self) -> None:
        """Check that a memory that can go, such as a file that somebody cuts off, is still there.

        Raises:
            MemoryReadError: It is not.
        """
        if self._can_go:
            self.memory.check_extent()  # type: ignore[attr-defined]

    def _table(self, paddr: int, level: Level, vaddr: int, entry: int) -> Table:
        """The table at ``paddr``, known to be inside the memory."""
        size = level.table_bytes
        if self._flat is not None and (view := self._flat.view(paddr, size)) is not None:
            if view.nbytes != size:
                raise BadAnswer(paddr, size, f"{type(self.memory).__name__}.view showed {view.nbytes} bytes")
            return Table(self, paddr, level, view.cast(level.word.code))
        seen = writes()
        try:
            data = read_exactly(self.memory, paddr, size)
        except BadAnswer:
            raise
        except MemoryReadError as error:
            if level.depth == 0:
                raise BadRoot(paddr, f"is not in memory ({error})") from None
            why = f"the {level.name} table at {paddr:#x} is not in memory ({error})"
            raise Malformed(vaddr, level.above, entry, why) from None
        return Table(self, paddr, level, RemoteSlots(self.memory, paddr, size, level.word, (seen, data)))

    def child(self, entry: Entry, vaddr: int) -> Table:
        """The table one level below an entry that points to one; for a folded level, the entry once more.

        Args:
            entry: An entry above the last level.
            vaddr: The address on the way, for messages.

        Raises:
            Malformed: The table is outside the memory.
        """
        level = entry.level.below
        assert level is not None
        if level.folded:
            slots: Any = entry.table.slots
            alone = slots[entry.index : entry.index + 1] if isinstance(slots, memoryview) else slots.alone(entry.index)
            return Table(self, entry.paddr, level, alone)
        value = entry.value
        return self._table(int(entry.level.frame(value)), level, vaddr, value)

    def check(self, value: int, level: Level, vaddr: int) -> None:
        """Refuse a present entry that the hardware would refuse.

        Raises:
            ReservedBits: It sets bits that must be zero, or is an encoding that means nothing.
        """
        found = level.decode(value)
        wrong = level.wrong(value)
        if not wrong and found.kind is not Kind.RESERVED:
            return
        what = f"sets reserved bits {wrong:#x}" if wrong else "is a reserved encoding"
        raise ReservedBits(vaddr, level.real_depth, value, f"{level.real_name} entry {value:#x} {what}")

    def steps(self, vaddr: int) -> Iterator[Entry]:
        """The entries that the hardware reads for an address, root first; the last one ends it.

        Raises:
            NonCanonical: Not an address of this format.
            ReservedBits: An entry sets bits that must be zero. It has been yielded.
            Malformed: A table lies outside the memory. The entry naming it has been yielded.
        """
        vaddr = integer(vaddr, "vaddr")
        table = self.top(self.window_of(vaddr))
        while True:
            entry = Entry(table, table.level.index(vaddr))
            table.keep()
            try:
                if not entry.level.folds:
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
        vaddr, rights = integer(vaddr, "vaddr"), int(Rights.all())
        for entry in self.steps(vaddr):
            value, level = entry.value, entry.level
            found = level.decode(value)
            if found.kind is Kind.TABLE:
                rights &= found.rights
        kind = found.kind
        if not (kind is Kind.PRESENT or (kind is Kind.PROT_NONE and not hardware)):
            what = "empty" if kind is Kind.NONE else f"{kind.label} ({value:#x})"
            raise NotPresent(vaddr, level.real_depth, value, f"not mapped: the {level.real_name} entry is {what}")
        size = level.span << found.row.order
        frame = level.page_at(value, vaddr)
        paddr = None if frame == NO_PADDR else frame | vaddr & level.span - 1
        return Translation(vaddr, paddr, size, level.effective(value, rights), kind, entry)

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
        """Link a new table of empty entries under an empty entry. Changes the memory.

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
        below = entry.level.beneath
        if below is None:
            raise _refused(entry, vaddr, "is of the last level: no table goes below it")
        if not entry.is_none:
            raise _refused(entry, vaddr, "is not empty: split a page, or empty the entry, before a table goes there")
        self._link(entry, vaddr, below.word.pack([below.none]) * below.entries)

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
        if entry.level.is_last or not (entry.is_leaf or entry.kind is Kind.MIGRATION):
            raise _refused(entry, vaddr, "is no page that can be split")

    def _check_ours(self, entry: Entry, vaddr: int) -> None:
        """Refuse an entry of another memory: a table of ours cannot be linked there."""
        if entry.table.tables.memory is not self.memory:
            raise _refused(entry, vaddr, f"belongs to other tables, not to these with their root at {self.root:#x}")

    def split_contents(self, entry: Entry) -> bytes:
        """The table that says the same as a huge page's entry."""
        below = entry.level.beneath
        assert below is not None
        alone = standing_alone(entry.level, entry.table.slots, entry.index) if entry.level.has_groups else {}
        first, step = entry.level.split(alone.get(entry.index, entry.value))
        return below.word.pack([first + step * at & below.word.mask for at in range(below.entries)])

    def _link(self, entry: Entry, vaddr: int, contents: bytes) -> None:
        """Fill a new table, then point ``entry`` at it: nobody sees it half-made."""
        if self.allocator is None:
            raise UnsupportedError(f"{vaddr:#x}: these page tables have no frame allocator, so they cannot grow")
        try:
            frame = self.allocator.allocate()
        except OutOfFrames as error:
            raise OutOfFrames(error.why, vaddr, entry.level.real_depth) from None
        try:
            write_to(self.memory, frame, contents)
            entry.value = entry.level.table(frame)
        except BaseException:
            self.allocator.free(frame)
            raise


def _refused(entry: Entry, vaddr: int, why: str) -> WalkError:
    """The error for an entry that is not for this change."""
    what = f"the {entry.level.name} entry {entry.value:#x} ({entry.kind.label}) at physical {entry.paddr:#x}"
    return WalkError(errno.EINVAL, f"{integer(vaddr, 'vaddr'):#x}: {what} {why}")


def told(windows: Iterable[Window]) -> str:
    """Which addresses there are, for messages."""
    parts = []
    for start, end, *_ in windows:
        low = "below" if not start else f"from {start:#x} on" if end == 1 << 64 else f"from {start:#x} and below"
        parts.append(f"{low} {end:#x}" if end < 1 << 64 else low)
    return f"addresses {' and '.join(parts)}"
