"""Transparent huge pages and the zero pages: which fault gets what, and what a split keeps."""

import pytest

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SCAN_WP_MATCHING, PageIs
from pagewalk.formats import Flag, Kind
from pagewalk.mm.hardware.frames import Usage
from tests.mm.sizes import BLOCK, PAGE

MIB = 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
START = 64 * BLOCK
STATE = Flag.rights() | Flag.ACCESSED | Flag.DIRTY


@pytest.fixture
def tank(new_tank):
    return new_tank(thp="always")


@pytest.fixture
def mm(tank):
    mm = tank.mm()
    mm.mmap(2 * BLOCK, RW, FIXED, addr=START)
    return mm


class TestBits:
    """Accessed and dirty as the hardware sets them: with the first access of their kind."""

    def test_small_pages(self, new_tank):
        mm = new_tank().mm()
        at = mm.mmap(PAGE, RW)
        mm.write(at, b"x")
        mm.madvise(at, PAGE, abi.MADV_COLD)
        assert mm.tables.translate(at).flags & (Flag.ACCESSED | Flag.DIRTY) == Flag.DIRTY
        mm.read(at, 1)
        assert Flag.ACCESSED in mm.tables.translate(at).flags
        mm.madvise(at, PAGE, abi.MADV_FREE)
        assert not mm.tables.translate(at).flags & (Flag.ACCESSED | Flag.DIRTY)
        mm.read(at, 1)
        assert mm.tables.translate(at).flags & (Flag.ACCESSED | Flag.DIRTY) == Flag.ACCESSED
        mm.write(at, b"y")
        assert Flag.ACCESSED | Flag.DIRTY in mm.tables.translate(at).flags

    def test_huge_pages_have_one_for_all(self, mm):
        mm.write(START, b"x")
        mm.madvise(START, BLOCK, abi.MADV_COLD)
        mm.read(START + BLOCK - 1, 1)
        assert Flag.ACCESSED in mm.tables.translate(START).flags

    def test_a_child_has_not_accessed_what_it_inherits(self, tank, mm):
        mm.write(START, b"x")
        child = tank.fork(mm)
        assert Flag.ACCESSED not in child.tables.translate(START).flags
        assert Flag.ACCESSED in mm.tables.translate(START).flags


def made_read_only(mm):
    mm.mprotect(START, BLOCK, abi.PROT_READ)
    mm.mprotect(START, BLOCK, RW)


def write_protected(mm):
    mm.register_wp(START, BLOCK)
    mm.writeprotect(START, BLOCK, protect=True)
    mm.writeprotect(START, BLOCK, protect=False)


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("change", [made_read_only, write_protected])
def test_a_kernel_that_loses_dirty_loses_what_was_written(tank, mm, change, keeps):
    """x86-64 since 6.6, without the mend of 7.3: what was free lazily, and was written again, goes all the same."""
    tank.machine.keeps_dirty = keeps
    mm.write(START, b"x")
    mm.madvise(START, BLOCK, abi.MADV_FREE)
    mm.write(START, b"y")
    change(mm)
    dirty = Flag.DIRTY in mm.tables.translate(START).flags
    mm.madvise(START, BLOCK, abi.MADV_PAGEOUT)
    assert (dirty, mm.read(START, 1)) == (keeps, b"y" if keeps else b"\0")


def test_a_scan_that_protects_keeps_dirty_always(tank, mm):
    tank.machine.keeps_dirty = False
    mm.uffdio_register(START, BLOCK, 2, 0x8000)
    mm.write(START, b"x")
    assert mm.pagemap_scan(START, START + BLOCK, PM_SCAN_WP_MATCHING, mask=PageIs.WRITTEN, returns=PageIs.WRITTEN)
    assert Flag.UFFD_WP | Flag.DIRTY in mm.tables.translate(START).flags


class TestSplit:
    @pytest.mark.parametrize("prot", [abi.PROT_READ, RW, RW | abi.PROT_EXEC])
    def test_keeps_rights_bits_and_contents(self, mm, prot):
        mm.write(START + 5 * PAGE, b"five")
        mm.mprotect(START, BLOCK, prot)
        whole = mm.tables.translate(START + 5 * PAGE)
        mm.munmap(START, PAGE)
        part = mm.tables.translate(START + 5 * PAGE)
        assert (whole.page_size, part.page_size) == (BLOCK, PAGE)
        assert (part.paddr, part.flags & STATE) == (whole.paddr, whole.flags & STATE)
        assert mm.read(START + 5 * PAGE, 4) == b"five"

    def test_of_a_page_without_rights(self, mm):
        mm.write(START, b"kept")
        mm.mprotect(START, BLOCK, abi.PROT_NONE)
        mm.munmap(START + PAGE, PAGE)
        assert mm.tables.translate(START).kind is Kind.PROT_NONE
        mm.mprotect(START, PAGE, RW)
        assert mm.read(START, 4) == b"kept"

    def test_takes_the_table_that_was_set_aside(self, tank, mm):
        mm.write(START, b"x")
        before = tank.machine.usage()["table"]
        mm.munmap(START, PAGE)
        assert tank.machine.usage()["table"] == before

    def test_never_fails_for_want_of_memory(self, new_tank):
        tank = new_tank(4 * MIB, thp="always")
        mm = tank.mm()
        mm.mmap(BLOCK, RW, FIXED, addr=START)
        mm.write(START, b"x")
        others = tank.machine.frames.take_many(tank.machine.frames.free, Usage.ANON)
        mm.madvise(START + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        assert mm.tables.translate(START).page_size == PAGE
        tank.machine.frames.drop(others)


class TestHugeZeroPage:
    def test_a_read_gets_it_a_write_replaces_it(self, tank, mm):
        assert mm.read(START, 4) == bytes(4)
        assert tank.machine.usage()["anon"] == 0
        assert mm.tables.translate(START).paddr == tank.machine.huge_zero
        mm.write(START, b"x")
        assert tank.machine.usage()["anon"] == BLOCK
        assert tank.machine.huge_zero is None

    def test_one_for_all(self, tank, mm):
        mm.touch(START, 2 * BLOCK, "read")
        other = tank.mm()
        other.mmap(BLOCK, RW, FIXED, addr=START)
        other.read(START, 1)
        assert tank.machine.usage()["zero"] == BLOCK + PAGE
        assert other.tables.translate(START).paddr == mm.tables.translate(START).paddr

    @pytest.mark.parametrize("prot", [abi.PROT_READ, RW, RW | abi.PROT_EXEC, abi.PROT_NONE])
    def test_split_into_zero_pages_with_the_same_rights(self, tank, mm, prot):
        mm.read(START, 1)
        mm.mprotect(START, BLOCK, prot)
        whole = mm.tables.translate(START)
        mm.munmap(START + PAGE, PAGE)
        part = mm.tables.translate(START)
        assert part.paddr == tank.machine.zero
        assert (part.kind, part.flags & Flag.rights()) == (whole.kind, whole.flags & Flag.rights())
        assert Flag.SPECIAL in part.flags
        assert tank.machine.huge_zero is None


class TestCollapse:
    def test_keeps_contents(self, new_tank):
        tank = new_tank(thp="never")
        mm = tank.mm()
        mm.mmap(BLOCK, RW, FIXED, addr=START)
        for page in (0, 7, 511):
            mm.write(START + page * PAGE, bytes([page & 255]) * 3)
        mm.madvise(START, BLOCK, abi.MADV_COLLAPSE)
        assert mm.tables.translate(START).page_size == BLOCK
        assert [mm.read(START + page * PAGE, 3) for page in (0, 1, 7, 511)] == [
            bytes(3),
            bytes(3),
            b"\7\7\7",
            b"\xff\xff\xff",
        ]
        assert tank.machine.usage()["anon"] == BLOCK


class TestFiveLevels:
    """A machine with LA57: memory above 47 bits only for those who ask with an address."""

    @pytest.fixture
    def wide(self, new_tank):
        return new_tank(format="x86-64-la57")

    def test_not_unasked(self, wide):
        assert wide.mm().mmap(PAGE, RW) < 1 << 47

    def test_with_a_hint(self, wide):
        mm = wide.mm()
        hint = 1 << 52
        at = mm.mmap(PAGE, RW, addr=hint)
        assert at == hint
        mm.write(at, b"far up")
        assert mm.read(at, 6) == b"far up"
        assert len(list(mm.tables.steps(at))) == 5
        assert wide.machine.usage()["table"] == 5 * PAGE

    def test_guards_fork_and_unmap_up_there(self, wide):
        mm = wide.mm()
        at = mm.mmap(4 * PAGE, RW, addr=1 << 55)
        mm.madvise(at + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        mm.write(at, b"x")
        child = wide.fork(mm)
        assert [child.tables.last_at(at + page * PAGE).kind for page in range(3)] == [
            Kind.PRESENT,
            Kind.GUARD,
            Kind.NONE,
        ]
        child.munmap(at, 4 * PAGE)
        wide.exit(child)
        mm.munmap(at, 4 * PAGE)
        assert wide.machine.usage()["table"] == PAGE
