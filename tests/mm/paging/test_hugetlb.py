"""hugetlb: pools, promises, private and shared pages, fork, and what is refused."""

import errno

import pytest

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SystemCallError
from tests.mm.fuzz import counted, failing
from tests.mm.sizes import PAGE

MIB, GIB = 1 << 20, 1 << 30
HUGE = 2 * MIB
RW = abi.PROT_READ | abi.PROT_WRITE
PRIVATE = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB
SHARED = abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB


@pytest.fixture
def tank(new_tank):
    return new_tank(hugetlb={HUGE: 4})


@pytest.fixture
def mm(tank):
    return tank.mm()


def pool(tank):
    """Pages in the pool, and how many of them are promised."""
    machine = tank.machine
    return len(machine.hugetlb[HUGE]), machine.promised(HUGE)


def refused(code, call, *args):
    with pytest.raises(SystemCallError) as caught:
        call(*args)
    assert caught.value.errno == code


class TestPool:
    def test_promised_with_the_mapping_taken_with_the_touch(self, tank, mm):
        at = mm.mmap(3 * HUGE, RW, PRIVATE)
        assert pool(tank) == (4, 3)
        mm.write(at, b"x")
        assert pool(tank) == (3, 2)
        mm.munmap(at, 3 * HUGE)
        assert pool(tank) == (4, 0)

    def test_more_than_there_is(self, tank, mm):
        refused(errno.ENOMEM, mm.mmap, 5 * HUGE, RW, PRIVATE)
        assert pool(tank) == (4, 0)
        assert not len(mm.vmas)

    def test_unpromised_memory_may_be_gone(self, tank, mm):
        at = mm.mmap(5 * HUGE, RW, PRIVATE | abi.MAP_NORESERVE)
        mm.touch(at, 4 * HUGE)
        with pytest.raises(BusError, match="pool"):
            mm.write(at + 4 * HUGE, b"x")

    def test_promises_are_kept(self, tank, mm):
        mm.mmap(3 * HUGE, RW, PRIVATE)
        other = tank.mm()
        at = other.mmap(2 * HUGE, RW, PRIVATE | abi.MAP_NORESERVE)
        other.write(at, b"x")
        with pytest.raises(BusError):
            other.write(at + HUGE, b"x")

    @pytest.mark.slow
    def test_one_gib(self, new_tank):
        tank = new_tank(2 * GIB, hugetlb={GIB: 1})
        mm = tank.mm()
        at = mm.mmap(GIB, RW, PRIVATE | abi.MAP_HUGE_1GB)
        mm.write(at + 700 * MIB, b"far in")
        assert at % GIB == 0
        assert mm.tables.translate(at).page_size == GIB
        assert mm.read(at + 700 * MIB, 6) == b"far in"
        assert tank.machine.usage()["table"] == 2 * PAGE  # PGD and PUD

    def test_no_such_size(self, mm):
        refused(errno.EINVAL, mm.mmap, HUGE, RW, PRIVATE | 16 << abi.MAP_HUGE_SHIFT)


class TestPages:
    def test_private_ones_are_copied_on_write(self, tank, mm):
        at = mm.mmap(HUGE, RW, PRIVATE)
        mm.write(at, b"parent")
        child = tank.fork(mm)
        child.write(at, b"CHILD")
        assert (mm.read(at, 6), child.read(at, 6)) == (b"parent", b"CHILDt")
        assert pool(tank)[0] == 2

    def test_the_last_owner_writes_in_place(self, tank, mm):
        at = mm.mmap(HUGE, RW, PRIVATE)
        mm.write(at, b"parent")
        tank.exit(tank.fork(mm))
        mm.write(at, b"x")
        assert pool(tank)[0] == 3

    def test_shared_ones_are_shared(self, tank, mm):
        at = mm.mmap(2 * HUGE, RW, SHARED)
        child = tank.fork(mm)
        child.write(at + HUGE, b"both")
        assert mm.read(at + HUGE, 4) == b"both"
        assert pool(tank) == (3, 1)

    def test_shared_ones_live_as_long_as_a_mapping(self, tank, mm):
        at = mm.mmap(2 * HUGE, RW, SHARED)
        mm.write(at, b"kept")
        mm.write(at + HUGE, b"kept")
        child = tank.fork(mm)
        mm.munmap(at, 2 * HUGE)
        assert child.read(at, 4) == b"kept"
        child.munmap(at, 2 * HUGE)
        assert pool(tank) == (4, 0)

    def test_dontneed(self, tank, mm):
        at = mm.mmap(2 * HUGE, RW, PRIVATE)
        mm.write(at, b"x" * (HUGE + 1))
        mm.madvise(at, HUGE, abi.MADV_DONTNEED)
        assert pool(tank) == (3, 1)
        assert mm.read(at, 1) + mm.read(at + HUGE, 1) == b"\0x"

    def test_dontneed_of_what_a_child_still_has(self, tank, mm):
        """The page does not come back to the pool, so the pool owes nobody one."""
        at = mm.mmap(4 * HUGE, RW, PRIVATE)
        mm.touch(at, 4 * HUGE)
        tank.fork(mm)
        mm.madvise(at, 4 * HUGE, abi.MADV_DONTNEED)
        assert pool(tank) == (0, 0)

    def test_zeroed_again(self, tank, mm):
        at = mm.mmap(4 * HUGE, RW, PRIVATE)
        mm.write(at, b"secret!!" * (HUGE // 2))
        mm.munmap(at, 4 * HUGE)
        again = mm.mmap(4 * HUGE, RW, PRIVATE)
        assert not any(mm.read(again, 4 * HUGE))


class TestRefused:
    @pytest.fixture
    def at(self, mm):
        at = mm.mmap(2 * HUGE, RW, PRIVATE)
        mm.touch(at, 2 * HUGE)
        return at

    def test_parts_of_a_page(self, mm, at):
        refused(errno.EINVAL, mm.munmap, at + PAGE, HUGE)
        refused(errno.EINVAL, mm.munmap, at, HUGE + PAGE)
        refused(errno.EINVAL, mm.mprotect, at, PAGE, abi.PROT_READ)
        refused(errno.EINVAL, mm.madvise, at + PAGE, HUGE, abi.MADV_DONTNEED)
        assert len(mm.vmas) == 1

    @pytest.mark.parametrize("advice", [abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE, abi.MADV_FREE, abi.MADV_PAGEOUT])
    def test_advice(self, mm, at, advice):
        refused(errno.EINVAL, mm.madvise, at, HUGE, advice)

    @pytest.mark.parametrize(("new", "to"), [(2 * HUGE, PAGE), (3 * HUGE, 0)])
    def test_moved_off_its_grid_or_grown(self, mm, at, new, to):
        """Source: ``align_hugetlb`` in mm/mremap.c."""
        flags = abi.MREMAP_MAYMOVE | (abi.MREMAP_FIXED if to else 0)
        refused(errno.EINVAL, mm.mremap, at, 2 * HUGE, new, flags, GIB + to if to else 0)


class TestMoved:
    @pytest.mark.parametrize("flags", [PRIVATE, SHARED])
    def test_pages_and_promises_go_along(self, tank, mm, flags):
        at = mm.mmap(2 * HUGE, RW, flags)
        mm.write(at, b"moved")
        new = mm.mremap(at, 2 * HUGE, 2 * HUGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, GIB)
        assert mm.read(new, 5) == b"moved"
        assert pool(tank) == (3, 1)
        mm.munmap(new, 2 * HUGE)
        assert pool(tank) == (4, 0)

    def test_one_gib(self, new_tank):
        mm = new_tank(2 * GIB, hugetlb={GIB: 1}).mm()
        at = mm.mmap(GIB, RW, PRIVATE | abi.MAP_HUGE_1GB)
        mm.write(at, b"moved")
        new = mm.mremap(at, GIB, GIB, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, 64 * GIB)
        assert mm.read(new, 5) == b"moved"


class TestPromises:
    def test_a_page_that_a_child_keeps_is_promised_when_it_comes_back(self, tank, mm):
        at = mm.mmap(2 * HUGE, RW, PRIVATE)
        mm.touch(at, 2 * HUGE)
        child = tank.fork(mm)
        mm.madvise(at, HUGE, abi.MADV_DONTNEED)
        assert pool(tank) == (2, 0)
        mm.write(at, b"x")
        assert pool(tank) == (1, -1)
        tank.exit(child)
        assert pool(tank) == (2, 0)

    def test_an_owner_takes_its_page_from_a_child(self, tank, mm):
        at = mm.mmap(4 * HUGE, RW, PRIVATE)
        mm.touch(at, 4 * HUGE)
        child = tank.fork(mm)
        mm.write(at, b"mine")
        with pytest.raises(BusError, match="taken away"):
            child.read(at, 1)
        assert child.read(at + HUGE, 1) == b"\0"

    def test_shared_over_itself_wants_its_pages_twice(self, tank, mm):
        at = mm.mmap(3 * HUGE, RW, SHARED | abi.MAP_FIXED, addr=GIB)
        mm.touch(at, 3 * HUGE)
        with pytest.raises(SystemCallError, match="ENOMEM"):
            mm.mmap(3 * HUGE, RW, SHARED | abi.MAP_FIXED, addr=GIB)
        assert pool(tank) == (4, 0)
        assert len(mm.vmas) == 0

    def test_rights_that_go_and_come_leave_pages_where_they_are(self, tank, mm):
        at = mm.mmap(3 * HUGE, RW, SHARED)
        mm.write(at, b"x")
        mm.mprotect(at, 3 * HUGE, abi.PROT_READ)
        mm.mprotect(at, 3 * HUGE, RW)
        mm.write(at, b"y")
        tank.exit(mm)
        assert pool(tank) == (4, 0)

    def test_a_part_moved_takes_only_its_own(self, tank, mm):
        """Linux 6.18 leaks the rest's promise: docs/kernel-bugs.md."""
        at = mm.mmap(2 * HUGE, RW, PRIVATE)
        mm.mremap(at, HUGE, HUGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, GIB)
        assert pool(tank) == (4, 2)
        mm.munmap(at + HUGE, HUGE)
        assert pool(tank) == (4, 1)
        mm.munmap(GIB, HUGE)
        assert pool(tank) == (4, 0)

    def test_counted_anew(self, tank, mm):
        at = mm.mmap(2 * HUGE, RW, PRIVATE)
        mm.mmap(2 * HUGE, RW, SHARED)
        mm.touch(at, 2 * HUGE)
        child = tank.fork(mm)
        mm.madvise(at, HUGE, abi.MADV_DONTNEED)
        before = pool(tank)
        tank.machine.do(tank.machine.recount)
        assert pool(tank) == before
        tank.exit(child)
        assert pool(tank) == (3, 3)


class TestFiles:
    def test_pages_are_the_files(self, tank, mm):
        file = tank.file("f", 2 * HUGE, huge_page_size=HUGE)
        at = mm.mmap(2 * HUGE, RW, abi.MAP_SHARED, file=file)
        mm.write(at + HUGE, b"kept")
        mm.munmap(at, 2 * HUGE)
        assert pool(tank) == (3, 1)  # a file is promised its pages as long as it lives
        assert file.read(HUGE - 1, 5) == b"\0kept"
        own = mm.mmap(HUGE, RW, abi.MAP_PRIVATE, file=file, offset=HUGE)
        mm.write(own, b"copy")
        assert (mm.read(own, 4), file.read(HUGE, 4)) == (b"copy", b"kept")

    def test_holes_and_ends(self, tank, mm):
        file = tank.file("f", 2 * HUGE, huge_page_size=HUGE)
        at = mm.mmap(2 * HUGE, RW, abi.MAP_PRIVATE, file=file)
        mm.write(at, b"x" * (HUGE + 1))
        tank.machine.punch_hole(file, 0, HUGE)  # private copies go too
        assert pool(tank) == (3, 1)
        tank.machine.truncate(file, 0)
        with pytest.raises(BusError, match="ends at"):
            mm.read(at + HUGE, 1)

    def test_grown_by_what_may_be_written(self, tank, mm):
        file = tank.file("f", huge_page_size=HUGE)
        mm.mmap(HUGE, abi.PROT_READ, abi.MAP_SHARED, file=file)
        assert file.size == 0
        mm.mmap(HUGE, RW, abi.MAP_SHARED, file=file, offset=HUGE)
        assert file.size == 2 * HUGE

    def test_refused(self, tank, mm):
        file = tank.file("f", HUGE, huge_page_size=HUGE)
        refused(errno.EINVAL, file.write, 0, b"x")
        refused(errno.EINVAL, tank.machine.truncate, file, PAGE)
        for size, huge, contents in ((PAGE, HUGE, b""), (HUGE, 16 * PAGE, b""), (HUGE, HUGE, b"x")):
            with pytest.raises(SystemCallError, match="whole pages"):
                tank.machine.file("g", size, contents, huge_page_size=huge)
        with pytest.raises(SystemCallError, match="inside a page"):
            mm.mmap(HUGE, RW, abi.MAP_SHARED, file=file, offset=PAGE)


def test_a_fork_without_a_frame_for_its_tables(tank, mm):
    at = mm.mmap(2 * HUGE, RW, PRIVATE)
    mm.touch(at, 2 * HUGE)
    for number in range(1, 4):
        with failing(tank.machine, counted([number])), pytest.raises(OutOfFrames):
            mm.fork()
        tank.check()
    mm.write(at, b"still ours")
