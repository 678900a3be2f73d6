"""userfaultfd write protection, as page tables show it: alone, beside guards, across fork and swap."""

import errno

import pytest

from pagewalk import abi
from pagewalk.errors import BusError, OutOfFrames, SegmentationFault, SystemCallError, UnsupportedError
from pagewalk.formats import Flag, Kind
from pagewalk.space import VmaFlags
from tests.mm.fuzz import failing
from tests.mm.sizes import BLOCK, PAGE

RW = abi.PROT_READ | abi.PROT_WRITE
MIB = 1 << 20


@pytest.fixture
def tank(new_tank):
    return new_tank(swap=MIB)


@pytest.fixture
def mm(tank):
    return tank.mm()


def entry(mm, at, page=0):
    return mm.tables.last_at(at + page * PAGE)


def kinds(mm, at, pages):
    return [entry(mm, at, page).kind for page in range(pages)]


def protected(mm, pages, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS, touched=range(4), **options):
    """A registered mapping, pages of it touched, all of it write-protected."""
    at = mm.mmap(pages * PAGE, RW, flags)
    for page in set(touched) & set(range(pages)):
        mm.write(at + page * PAGE, b"before")
    mm.register_wp(at, pages * PAGE)
    mm.writeprotect(at, pages * PAGE, protect=True, **options)
    return at


class TestMarker:
    def test_stays_where_no_page_is_to_be_had(self, tank, mm):
        """Beyond the end of a file a read is a SIGBUS, and what stood there stands there still."""
        file = tank.file(size=2 * PAGE)
        at = mm.mmap(2 * PAGE, RW, abi.MAP_SHARED, file=file)
        mm.register_wp(at, 2 * PAGE)
        mm.writeprotect(at, 2 * PAGE, protect=True)
        tank.machine.truncate(file, PAGE)
        with pytest.raises(BusError):
            mm.read(at + PAGE, 1)
        assert kinds(mm, at, 2) == [Kind.UFFD_WP] * 2

    def test_stays_where_memory_is_short(self, tank, mm):
        at = mm.mmap(PAGE, RW, abi.MAP_SHARED, file=tank.file(size=PAGE))
        mm.register_wp(at, PAGE)
        mm.writeprotect(at, PAGE, protect=True)
        with failing(tank.machine, lambda: True), pytest.raises(OutOfFrames):
            mm.read(at, 1)
        assert kinds(mm, at, 1) == [Kind.UFFD_WP]


class TestMove:
    """mremap takes pages away from whoever is told of them. Every line was seen on Linux 6.18 as well."""

    def test_neither_registration_nor_marks_go_along(self, mm):
        at = protected(mm, 8, unpopulated=True)
        there = mm.mremap(at, 4 * PAGE, 4 * PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, at + 64 * PAGE)
        assert [bool(vma.flags & VmaFlags.UFFD_WP) for vma in mm.vmas] == [True, False]
        assert all(Flag.UFFD_WP not in entry(mm, there, page).flags for page in range(4))
        assert kinds(mm, at, 8) == [Kind.NONE] * 4 + [Kind.UFFD_WP] * 4
        mm.write(there, b"told nobody")

    def test_markers_are_left_out_and_guards_are_not(self, mm):
        at = protected(mm, 4, touched=range(2), unpopulated=True)
        mm.madvise(at + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        there = mm.mremap(at, 4 * PAGE, 4 * PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, at + 64 * PAGE)
        assert kinds(mm, there, 4) == [Kind.PRESENT, Kind.GUARD, Kind.NONE, Kind.NONE]

    def test_what_is_left_behind_stays_registered(self, mm):
        at = protected(mm, 4)
        flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP
        mm.mremap(at, 4 * PAGE, 4 * PAGE, flags, at + 64 * PAGE)
        assert [bool(vma.flags & VmaFlags.UFFD_WP) for vma in mm.vmas] == [True, False]

    @pytest.mark.parametrize(("registered", "moved"), [(0, 0), (2, 1)])
    def test_moves_alone(self, mm, registered, moved):
        """Of several areas, those before it have moved."""
        at = mm.mmap(4 * PAGE, RW)
        mm.register_wp(at + registered * PAGE, 2 * PAGE)
        with pytest.raises(SystemCallError) as refused:
            mm.mremap(at, 4 * PAGE, 4 * PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, at + 64 * PAGE)
        assert refused.value.errno == errno.EFAULT
        assert sum(vma.start >= at + 64 * PAGE for vma in mm.vmas) == moved


class TestRegister:
    def test_splits_and_merges(self, mm):
        at = mm.mmap(6 * PAGE, RW)
        mm.register_wp(at + 2 * PAGE, 2 * PAGE)
        assert [bool(vma.flags & VmaFlags.UFFD_WP) for vma in mm.vmas] == [False, True, False]
        mm.register_wp(at, 6 * PAGE)
        assert len(mm.vmas) == 1

    @pytest.mark.parametrize(("start", "length"), [(1, PAGE), (0, 7), (0, 0), (-4 * PAGE, PAGE)])
    def test_not_a_range(self, mm, start, length):
        at = mm.mmap(PAGE, RW)
        with pytest.raises(SystemCallError) as caught:
            mm.register_wp(at + start, length)
        assert caught.value.errno == errno.EINVAL

    def test_never_writable(self, tank, mm):
        file = tank.file(size=PAGE, writable=False)
        at = mm.mmap(PAGE, abi.PROT_READ, abi.MAP_SHARED, file=file)
        with pytest.raises(SystemCallError) as caught:
            mm.register_wp(at, PAGE)
        assert caught.value.errno == errno.EPERM

    def test_hugetlb(self, new_tank):
        mm = new_tank(hugetlb={BLOCK: 1}).mm()
        at = mm.mmap(BLOCK, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB)
        with pytest.raises(UnsupportedError):
            mm.register_wp(at, BLOCK)

    def test_not_registered(self, mm):
        at = mm.mmap(2 * PAGE, RW)
        mm.register_wp(at, PAGE)
        with pytest.raises(SystemCallError) as caught:
            mm.writeprotect(at, 2 * PAGE, protect=True)
        assert caught.value.errno == errno.ENOENT


class TestWhatIsNotSimulated:
    """It is refused by its name, at the call that asks for it; EINVAL is what the kernel says EINVAL to."""

    @pytest.mark.parametrize("call", ["copy", "zeropage", "move", "continue", "poison"])
    def test_calls_of_a_handler(self, mm, call):
        at = mm.mmap(PAGE, RW)
        arguments = (at, at, PAGE) if call in {"copy", "move"} else (at, PAGE)
        with pytest.raises(UnsupportedError, match=f"^UFFDIO_{call.upper()}: "):
            getattr(mm, f"uffdio_{call}")(*arguments)

    @pytest.mark.parametrize(("mode", "features"), [(1, 0), (3, 0), (4, 0), (2, 1 << 14)])
    def test_modes_and_features(self, mm, mode, features):
        with pytest.raises(UnsupportedError, match="only write protection is simulated"):
            mm.uffdio_register(mm.mmap(PAGE, RW), PAGE, mode, features)

    @pytest.mark.parametrize("mode", [0, 8, 10])
    def test_no_modes(self, mm, mode):
        with pytest.raises(SystemCallError) as caught:
            mm.uffdio_register(mm.mmap(PAGE, RW), PAGE, mode)
        assert caught.value.errno == errno.EINVAL

    def test_write_protection_is(self, mm):
        at = mm.mmap(PAGE, RW)
        mm.uffdio_register(at, PAGE, 2, 1 << 13)
        assert VmaFlags.UFFD_WP in mm.area_at(at).flags
        mm.uffdio_unregister(at, PAGE)
        assert VmaFlags.UFFD_WP not in mm.area_at(at).flags


class TestEntries:
    def test_pages_lose_the_write_right(self, mm):
        at = protected(mm, 3)
        assert all(entry(mm, at, page).flags & (Flag.UFFD_WP | Flag.WRITE) == Flag.UFFD_WP for page in range(3))
        assert all(int(word) >> 57 & 1 for word in mm.pagemap(at, at + 3 * PAGE))
        assert mm.read(at, 6) == b"before"

    def test_empty_anonymous_entries_stay_empty(self, mm):
        at = protected(mm, 3, touched=[1])
        assert kinds(mm, at, 3) == [Kind.NONE, Kind.PRESENT, Kind.NONE]
        mm.write(at, b"not protected")

    def test_unless_unpopulated_ones_are_wanted(self, mm):
        at = protected(mm, 3, touched=[1], unpopulated=True)
        assert kinds(mm, at, 3) == [Kind.UFFD_WP, Kind.PRESENT, Kind.UFFD_WP]

    def test_shared_memory_gets_markers(self, mm):
        at = protected(mm, 3, abi.MAP_SHARED | abi.MAP_ANONYMOUS, touched=[1])
        assert kinds(mm, at, 3) == [Kind.UFFD_WP, Kind.PRESENT, Kind.UFFD_WP]

    def test_a_whole_huge_page_stays_whole(self, new_tank):
        mm = new_tank(thp="always").mm()
        at = mm.mmap(2 * BLOCK, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=BLOCK * 64)
        mm.touch(at, 2 * BLOCK)
        mm.register_wp(at, 2 * BLOCK)
        mm.writeprotect(at, BLOCK + PAGE, protect=True)
        assert mm.tables.translate(at).page_size == BLOCK
        assert mm.tables.translate(at).flags & (Flag.UFFD_WP | Flag.WRITE) == Flag.UFFD_WP
        second = [mm.tables.translate(at + BLOCK + page * PAGE) for page in range(2)]
        assert [page.page_size for page in second] == [PAGE, PAGE]
        assert [Flag.UFFD_WP in page.flags for page in second] == [True, False]

    def test_unprotect_takes_it_all_back(self, mm):
        at = protected(mm, 3, touched=[1], unpopulated=True)
        mm.writeprotect(at, 3 * PAGE, protect=False)
        assert kinds(mm, at, 3) == [Kind.NONE, Kind.PRESENT, Kind.NONE]
        assert Flag.UFFD_WP not in entry(mm, at, 1).flags
        mm.write(at, b"x" * 3 * PAGE)

    def test_no_frame_for_markers(self, new_tank):
        mm = new_tank(8 * PAGE).mm()
        at = mm.mmap(64 * MIB, RW)
        mm.register_wp(at, 64 * MIB)
        with pytest.raises(SystemCallError) as caught:
            mm.writeprotect(at, 64 * MIB, protect=True, unpopulated=True)
        assert caught.value.errno == errno.ENOMEM


class TestAccess:
    """Rule: UFFD_FEATURE_SIGBUS: "a SIGBUS is sent to the faulting process" instead of an event."""

    def test_a_write_is_refused_until_it_is_resolved(self, mm):
        at = protected(mm, 2)
        with pytest.raises(BusError, match="write-protected by userfaultfd"):
            mm.write(at, b"after")
        assert mm.read(at, 6) == b"before"
        mm.writeprotect(at, PAGE, protect=False)
        mm.write(at, b"after!")
        assert mm.read(at, 6) == b"after!"

    def test_on_a_huge_page(self, new_tank):
        mm = new_tank(thp="always").mm()
        at = mm.mmap(BLOCK, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=BLOCK * 64)
        mm.touch(at, BLOCK)
        mm.register_wp(at, BLOCK)
        mm.writeprotect(at, BLOCK, protect=True)
        with pytest.raises(BusError, match="write-protected by userfaultfd"):
            mm.write(at, b"x")

    @pytest.mark.parametrize("flags", [abi.MAP_SHARED | abi.MAP_ANONYMOUS, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS])
    def test_a_read_turns_a_marker_into_a_protected_page(self, mm, flags):
        at = protected(mm, 1, flags, touched=[], unpopulated=True)
        assert mm.read(at, 1) == b"\0"
        assert entry(mm, at).flags & (Flag.UFFD_WP | Flag.WRITE) == Flag.UFFD_WP
        with pytest.raises(BusError):
            mm.write(at, b"x")

    def test_a_write_to_a_marker_is_refused(self, mm):
        at = protected(mm, 1, touched=[], unpopulated=True)
        with pytest.raises(BusError):
            mm.write(at, b"x")

    def test_through_swap(self, mm):
        at = protected(mm, 1)
        mm.madvise(at, PAGE, abi.MADV_PAGEOUT)
        assert entry(mm, at).kind is Kind.SWAP
        assert Flag.UFFD_WP in entry(mm, at).flags
        assert mm.read(at, 6) == b"before"
        with pytest.raises(BusError):
            mm.write(at, b"x")


class TestBesideGuards:
    def test_a_guard_stays_a_guard(self, mm):
        at = mm.mmap(3 * PAGE, RW)
        mm.touch(at, 3 * PAGE)
        mm.madvise(at + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        mm.register_wp(at, 3 * PAGE)
        mm.writeprotect(at, 3 * PAGE, protect=True, unpopulated=True)
        assert kinds(mm, at, 3) == [Kind.PRESENT, Kind.GUARD, Kind.PRESENT]
        with pytest.raises(SegmentationFault):
            mm.write(at + PAGE, b"x")
        mm.writeprotect(at, 3 * PAGE, protect=False)
        assert kinds(mm, at, 3) == [Kind.PRESENT, Kind.GUARD, Kind.PRESENT]

    def test_installed_over_protected_pages_and_markers(self, mm):
        at = protected(mm, 3, touched=[0], unpopulated=True)
        mm.madvise(at, 2 * PAGE, abi.MADV_GUARD_INSTALL)
        assert kinds(mm, at, 3) == [Kind.GUARD, Kind.GUARD, Kind.UFFD_WP]
        mm.madvise(at, 3 * PAGE, abi.MADV_GUARD_REMOVE)
        assert kinds(mm, at, 3) == [Kind.NONE, Kind.NONE, Kind.UFFD_WP]


class TestFork:
    def test_the_child_has_none_of_it(self, tank, mm):
        at = protected(mm, 4, touched=[0, 1], unpopulated=True)
        mm.madvise(at + PAGE, PAGE, abi.MADV_PAGEOUT)
        mm.madvise(at + 3 * PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        child = tank.fork(mm)
        assert not any(vma.flags & VmaFlags.UFFD_WP for vma in child.vmas)
        assert kinds(child, at, 4) == [Kind.PRESENT, Kind.SWAP, Kind.NONE, Kind.GUARD]
        assert not any(Flag.UFFD_WP in entry(child, at, page).flags for page in range(4))
        child.write(at, b"x" * 3 * PAGE)

    def test_the_parent_keeps_it(self, tank, mm):
        at = protected(mm, 2, touched=[0], unpopulated=True)
        tank.fork(mm)
        assert kinds(mm, at, 2) == [Kind.PRESENT, Kind.UFFD_WP]
        with pytest.raises(BusError):
            mm.write(at, b"x")

    def test_huge_pages_too(self, new_tank):
        tank = new_tank(thp="always")
        mm = tank.mm()
        at = mm.mmap(BLOCK, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=BLOCK * 64)
        mm.touch(at, BLOCK)
        mm.register_wp(at, BLOCK)
        mm.writeprotect(at, BLOCK, protect=True)
        child = tank.fork(mm)
        assert Flag.UFFD_WP not in child.tables.translate(at).flags
        child.write(at, b"x")
