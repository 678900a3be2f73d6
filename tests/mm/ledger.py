"""The whole machine's books, kept a second time: who names a frame is counted from the page tables, not believed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.mm import File, Machine, Mm

HUGETLB = [usage for usage in Usage if usage.name.startswith("HUGETLB")]

__all__ = ["Ledger", "balance"]


class Ledger:
    """What the tables of some address spaces name.

    Attributes:
        references: For each frame, how many entries map it.
        tables: For each frame, how many entries link it as a table.
        slots: For each swap slot, how many entries name it.
        huge: PMD entries that map a transparent huge page, the huge zero page among them, but not a file's.
        huge_zero: Those that map the huge zero page.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.page_size = machine.geometry.page_size
        self.references = np.zeros(len(machine.frames), np.int64)
        self.tables = np.zeros(len(machine.frames), np.int64)
        self.slots: Counter[int] = Counter()
        self.huge = self.huge_zero = 0

    def count(self, mm: Mm) -> None:
        """Read one address space's tables, from the root, by the bytes in RAM."""
        self._table(mm, mm.tables.root, 0, 0)

    def _table(self, mm: Mm, paddr: int, depth: int, vaddr: int) -> None:
        form = mm.format
        self.tables[paddr // self.page_size] += 1
        level = form.real_levels[depth]
        entries = self.machine.frames.words[paddr // self.page_size][: level.entries]
        kinds = level.kind(entries)
        is_table = level.is_table(entries)
        for at in np.flatnonzero(kinds == Kind.SWAP).tolist():
            self.slots[int(level.swap_slot(int(entries[at]))[1])] += 1
        for at in np.flatnonzero(is_table).tolist():
            self._table(mm, level.frame(int(entries[at])), depth + 1, vaddr + at * level.span)
        pages = ((kinds == Kind.PRESENT) | (kinds == Kind.PROT_NONE)) & ~is_table
        special = form.flags(entries) & int(Flag.SPECIAL) != 0
        for at in np.flatnonzero(pages & ~special).tolist():
            self._page(mm, level.frame(int(entries[at])), level.span, vaddr + at * level.span)

    def _page(self, mm: Mm, paddr: int, size: int, vaddr: int) -> None:
        area = mm.area_at(vaddr)
        assert area is not None, f"a page outside every area, at {vaddr:#x}"
        if size > self.page_size and area.mapping is None:
            self.huge += 1
        if paddr == self.machine.huge_zero:
            self.huge_zero += 1
        else:
            self.references[paddr // self.page_size : (paddr + size) // self.page_size] += 1


def balance(machine: Machine, mms: Iterable[Mm], files: Iterable[File] = ()) -> None:
    """Check every frame and every swap slot of a machine against what names it.

    A frame's references are the entries that map it, and one more for the page cache or the hugetlb pool, and if it is
    poisoned. No frame is both free and named. Every table is linked once, or set aside for one huge page.
    """
    mms, page = list(mms), machine.geometry.page_size
    ledger = Ledger(machine)
    for mm in mms:
        ledger.count(mm)
    expected = ledger.references + ledger.tables
    files = list(files)
    for file in files:
        for frame in file.pages.values():
            expected[frame // page : (frame + file.page_size) // page] += 1
    for frame in machine.swap.cached.values():
        expected[frame // page] += 1
    _add_machine_frames(machine, mms, files, expected)
    frames = machine.frames
    wrong = np.flatnonzero(frames.references != expected)
    told = [
        (hex(n * page), Usage(frames.usage[n]).name, int(frames.references[n]), int(expected[n])) for n in wrong[:5]
    ]
    assert not told, f"(frame, use, references, expected): {told}"
    _check_free(machine, expected)
    assert (ledger.tables <= 1).all(), "a table is linked twice"
    assert set(np.flatnonzero(ledger.tables)) <= set(np.flatnonzero(frames.usage == Usage.TABLE))
    assert sum(len(mm.tables.deposits) for mm in mms) == ledger.huge, "one table is set aside for each huge page"
    assert ledger.huge_zero == machine._huge_zero_users
    mapped = [vma.mapping for mm in mms for vma in mm.vmas if vma.mapping]
    for slots in {id(one): getattr(one, "swapped", {}) for one in (*files, *mapped)}.values():
        ledger.slots.update(slots.values())
    assert +ledger.slots == +Counter(machine.swap._users), "users of swap slots"
    in_cache = machine.frames.usage == Usage.SWAP_CACHE
    assert set(np.flatnonzero(in_cache) * page) == set(machine.swap.cached.values()), "the swap cache"
    held = {slot for slot, users in machine.swap._users.items() if users} | set(machine.swap.cached)
    assert held == set(machine.swap._pages), "slots in use"


def _add_machine_frames(machine: Machine, mms: list[Mm], files: list[File], expected: np.ndarray) -> None:
    """Add what is named elsewhere than in tables and files."""
    page, block = machine.geometry.page_size, machine.geometry.block_size
    expected[machine.zero // page] += 1
    expected += machine.frames.poisoned_at
    if machine.huge_zero is not None:
        expected[machine.huge_zero // page : (machine.huge_zero + block) // page] += 1
    for mm in mms:
        for table in mm.tables.deposits:
            expected[table // page] += 1
    expected[np.isin(machine.frames.usage, HUGETLB)] += 1
    shared: dict[int, Any] = {id(vma.mapping): vma.mapping for mm in mms for vma in mm.vmas if vma.mapping}
    for mapping in (mapping for number, mapping in shared.items() if number not in set(map(id, files))):
        if mapping.page_size > page:
            for frame in mapping.pages.values():
                expected[frame // page : (frame + mapping.page_size) // page] += 1
        elif mapping.name == "/dev/zero (deleted)":
            for frame in mapping.pages.values():
                expected[frame // page] += 1


def _check_free(machine: Machine, expected: np.ndarray) -> None:
    """The free lists hold the free frames, each once."""
    frames, pages = machine.frames, machine.geometry.block_pages
    singles = frames._stack[: frames._top] // np.uint64(1)
    blocks = np.array(frames._blocks, np.uint64)[:, None] * np.uint64(pages) + np.arange(pages, dtype=np.uint64)
    free = np.concatenate([singles, blocks.ravel()])
    assert len(free) == len(np.unique(free)), "a frame is free twice"
    assert set(free.tolist()) == set(np.flatnonzero(frames.usage == Usage.FREE).tolist())
    assert not expected[free].any(), "a frame is free and named"
    assert (frames.references >= 0).all()
