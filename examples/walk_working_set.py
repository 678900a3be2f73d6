"""A page walker of one's own: which pages does a program really use?

The working set is estimated as the kernel's idle-page tracking does it: clear every accessed bit, let the program run
for an interval, walk again and see which bits the hardware has set meanwhile. A page that stays idle for several
intervals could be reclaimed.

    ./dev run python examples/walk_working_set.py
"""

import random

import pagewalk as pw

MIB = 1 << 20
PAGE, HUGE = 4096, 2 * MIB
START = 0x7F00_0000_0000
IDLE_ENOUGH = 4


class WorkingSet:
    """Finds out, interval by interval, which pages of an address space were used.

    Attributes:
        idle: For each page, how many intervals in a row it was not used.
        sizes: Bytes in each page.
    """

    def __init__(self, space):
        self.space = space
        self.idle = {}
        self.sizes = {}
        self.ops = pw.WalkOps(pmd_entry=self.pmd_entry, pte_entry=self.pte_entry)

    def sample(self):
        """End an interval; the bytes that were used in it."""
        for vma in self.space.vmas:
            pw.walk_page_vma(vma, self.ops)
        return sum(size for addr, size in self.sizes.items() if not self.idle[addr])

    def pmd_entry(self, entry, addr, next_, walk):
        """A huge page is looked at here; a table's entry says nothing of its pages."""
        if entry.is_leaf:
            self.look(entry, addr, next_ - addr)
            # There is a pte_entry, so the walk would split the huge page to get at its parts. Ours has one bit for all.
            walk.action = pw.Action.CONTINUE

    def pte_entry(self, entry, addr, next_, walk):
        """A small page. Empty slots come here too."""
        if entry.is_present:
            self.look(entry, addr, next_ - addr)

    def look(self, entry, addr, size):
        """Note whether a page was used, and clear its accessed bit for the next interval."""
        used = pw.Flag.ACCESSED in entry.flags
        self.idle[addr] = 0 if used else self.idle.get(addr, 0) + 1
        self.sizes[addr] = size
        if used:
            entry.value = entry.level.without_flags(entry.value, pw.Flag.ACCESSED)


def map_page(tables, vaddr, paddr, size):
    """Map one page, making the tables down to it."""
    *_, entry = tables.steps(vaddr)
    while entry.level.span > size:
        make_table = tables.split if entry.is_leaf else tables.grow
        make_table(entry, vaddr)
        *_, entry = tables.steps(vaddr)
    rights = pw.Flag.READ | pw.Flag.WRITE | pw.Flag.USER
    entry.value = tables.format.leaf_entry(paddr, int(rights), entry.level)


def use(tables, vaddr):
    """What the MMU does to the page tables when the program reads an address."""
    *_, entry = tables.steps(vaddr)
    flags = int(entry.flags | pw.Flag.ACCESSED)
    entry.value = tables.format.leaf_entry(entry.target, flags, entry.level)


def program(tables, pages, chance):
    """One interval of a program: an eighth of its pages is always in use, the rest now and then, half of it never."""
    for at, vaddr in enumerate(pages):
        if at < len(pages) // 8 or (at < len(pages) // 2 and chance.random() < 0.1):
            use(tables, vaddr)


def main():
    ram = pw.Ram(1 * MIB)
    tables = pw.PageTables(ram, 0, "x86-64", allocator=pw.RangeAllocator((PAGE, 1 * MIB)))
    small = [START + at * PAGE for at in range(4096)]
    huge = [START + 32 * MIB + at * HUGE for at in range(8)]
    for at, vaddr in enumerate(small):
        map_page(tables, vaddr, 1024 * MIB + at * PAGE, PAGE)
    for at, vaddr in enumerate(huge):
        map_page(tables, vaddr, 2048 * MIB + at * HUGE, HUGE)
    space = pw.AddressSpace(tables, [pw.Vma(START, START + 48 * MIB)])

    working_set, chance = WorkingSet(space), random.Random(1)
    for interval in range(1, 9):
        program(tables, small, chance)
        program(tables, huge, chance)
        used = working_set.sample()
        print(f"interval {interval}: {used / MIB:5.1f} of {sum(working_set.sizes.values()) / MIB:.0f} MiB used")
    idle = sum(size for addr, size in working_set.sizes.items() if working_set.idle[addr] >= IDLE_ENOUGH)
    print(f"idle for {IDLE_ENOUGH} intervals or more: {idle / MIB:.1f} MiB could be reclaimed")
    # The huge pages were looked at, not split.
    assert {working_set.sizes[vaddr] for vaddr in huge} == {HUGE}


if __name__ == "__main__":
    main()
