"""An allocator with a guard region on both sides of every allocation, and what that costs.

An overflow faults at the first byte beyond the guard's edge. The classic way separates allocations by PROT_NONE
mappings: each costs two VMAs. Guard regions are markers in the page tables: there stays one VMA, however many
allocations there are.

    ./dev run python examples/guard_allocator.py
"""

import pagewalk as pw

PAGE, MIB = 4096, 1 << 20
RW = pw.PROT_READ | pw.PROT_WRITE


class Allocator:
    """Allocations of whole pages, one after the other, a guard page between any two.

    An allocation ends where its guard begins, so that running over its end is what faults at once.
    """

    def __init__(self, mm, size):
        self.mm = mm
        self.next = mm.mmap(size, RW)
        self.end = self.next + size
        self.guard(self.next)

    def allocate(self, size):
        """An address with ``size`` bytes up to the next guard."""
        pages = -(-size // PAGE)
        guard = self.next + (1 + pages) * PAGE
        if guard + PAGE > self.end:
            raise MemoryError(f"no room for {size} bytes")
        self.guard(guard)
        self.next = guard
        return guard - size

    def guard(self, vaddr):
        """Make a page fault on any access."""
        self.mm.madvise(vaddr, PAGE, pw.MADV_GUARD_INSTALL)


class MprotectAllocator(Allocator):
    """The same with PROT_NONE pages."""

    def guard(self, vaddr):
        """Make a page fault on any access."""
        self.mm.mprotect(vaddr, PAGE, pw.PROT_NONE)


def cost(kind, count):
    """VMAs, and bytes of page tables, for a number of allocations of a page each, all in use."""
    machine = pw.Machine(ram=64 * MIB)
    mm = machine.mm()
    allocator = kind(mm, 16 * MIB)
    for _ in range(count):
        mm.write(allocator.allocate(PAGE), b"in use")
    return len(mm.maps().splitlines()), machine.usage()["table"]


def main():
    mm = pw.Machine(ram=MIB).mm()
    allocator = Allocator(mm, 32 * PAGE)
    name, other = allocator.allocate(100), allocator.allocate(3 * PAGE)
    mm.write(name, b"x" * 100)
    mm.write(other, b"o" * 3 * PAGE)
    try:
        mm.write(name, b"x" * 101)
    except pw.SegmentationFault as fault:
        print(f"caught an overflow of 1 byte: {fault}")
    try:
        mm.read(other - 1, 1)
    except pw.SegmentationFault as fault:
        print(f"caught an underflow: {fault}")
    assert mm.read(other, 1) == b"o"

    print(f"\n{'allocations':>11} {'':>10} {'VMAs':>6} {'page tables':>12}")
    for count in (10, 100, 1000):
        for label, kind in (("guards", Allocator), ("PROT_NONE", MprotectAllocator)):
            vmas, tables = cost(kind, count)
            print(f"{count:>11} {label:>10} {vmas:>6} {tables >> 10:>8} KiB")
            assert vmas == (1 if kind is Allocator else 2 * count + 2)
    print(
        "A process may have 65530 VMAs (vm.max_map_count), each of some 200 bytes in the kernel; guards have no limit."
    )


if __name__ == "__main__":
    main()
