"""Soft-dirty pages, and what else ``/proc/PID/clear_refs`` does, on one machine. Kernels are asked elsewhere."""

import errno

import numpy as np
import pytest

import pagewalk as pw
from pagewalk import abi
from pagewalk.abi.pagemap import PM_SOFT_DIRTY, PageIs

PAGE, HUGE = 4096, 2 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
AT = 64 * HUGE


@pytest.fixture
def mm(new_tank):
    return new_tank(soft_dirty=True, swap=1 << 20, hugetlb={HUGE: 2}).mm()


def soft(mm, pages=4, at=AT):
    """Which pages are soft-dirty, by pagemap, and alike by PAGEMAP_SCAN."""
    end = at + pages * PAGE
    words = mm.pagemap(at, end) & np.uint64(PM_SOFT_DIRTY) != 0
    found = np.zeros(pages, bool)
    for start, stop, categories in mm.scan(at, end).tolist():
        found[(start - at) // PAGE : (stop - at) // PAGE] = bool(categories & PageIs.SOFT_DIRTY)
    assert (words == found).all()
    return np.flatnonzero(words).tolist()


def is_soft(mm, at=AT):
    return {row.start: "sd" in row.flags for row in mm.smaps_by_vma()}[at]


def test_what_was_written_since(mm):
    mm.mmap(4 * PAGE, RW, FIXED, addr=AT)
    mm.write(AT, b"x")
    assert (soft(mm), is_soft(mm)) == ([0, 1, 2, 3], True)  # from birth, touched or not
    mm.clear_refs(4)
    assert (soft(mm), is_soft(mm)) == ([], False)
    mm.read(AT, 2 * PAGE)
    assert soft(mm) == []
    mm.write(AT, b"y")
    mm.touch(AT + 2 * PAGE, PAGE)
    assert (soft(mm), is_soft(mm)) == ([0, 2], False)
    mm.madvise(AT, PAGE, abi.MADV_DONTNEED)
    assert soft(mm) == [2]  # nobody can tell any more


def test_new_memory_makes_its_neighbour_soft_dirty(mm):
    mm.mmap(2 * PAGE, RW, FIXED, addr=AT)
    mm.clear_refs(4)
    mm.mmap(2 * PAGE, RW, FIXED, addr=AT + 2 * PAGE)
    assert len(mm.vmas) == 1
    assert soft(mm) == [0, 1, 2, 3]


def test_swap_remembers(mm):
    mm.mmap(4 * PAGE, RW, FIXED, addr=AT)
    mm.write(AT, b"\1" * (4 * PAGE))
    mm.clear_refs(4)
    mm.write(AT + PAGE, b"again")
    mm.madvise(AT, 4 * PAGE, abi.MADV_PAGEOUT)
    assert mm.smaps()["Swap"] == 4 * PAGE
    assert soft(mm) == [1]
    mm.read(AT, 2 * PAGE)
    assert soft(mm) == [1]
    mm.madvise(AT, 4 * PAGE, abi.MADV_PAGEOUT)
    mm.clear_refs(4)
    assert soft(mm) == []
    mm.write(AT + 2 * PAGE, b"x")
    assert soft(mm) == [2]


def test_the_hardware_alone_is_not_enough(mm):
    """A page that is cleared loses its write right: the next write faults, once."""
    mm.mmap(PAGE, RW, FIXED, addr=AT)
    mm.write(AT, b"x")
    mm.clear_refs(4)
    assert pw.Flag.WRITE not in mm.tables.translate(AT).flags
    before = len(mm.events)
    mm.write(AT, b"y")
    assert len(mm.events) == before + 1
    mm.write(AT, b"z")
    assert len(mm.events) == before + 1


def test_a_move_is_told(mm):
    mm.mmap(2 * PAGE, RW, FIXED, addr=AT)
    mm.touch(AT, PAGE)
    mm.madvise(AT + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
    mm.clear_refs(4)
    assert soft(mm, 2) == []
    mm.mremap(AT, 2 * PAGE, 2 * PAGE, abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED, AT + HUGE)
    assert soft(mm, 2, AT + HUGE) == [0, 1]  # guards too
    with pytest.raises(pw.SegmentationFault):
        mm.read(AT + HUGE + PAGE, 1)


def test_hugetlb_pages_are_not_tracked(mm):
    flags = FIXED | abi.MAP_HUGETLB
    mm.mmap(HUGE, RW, flags, addr=AT)
    mm.touch(AT, PAGE)
    mm.clear_refs(4)
    assert not mm.pagemap(AT, AT + PAGE)[0] & np.uint64(PM_SOFT_DIRTY)
    assert int(mm.scan(AT, AT + PAGE)[0]["categories"]) & PageIs.SOFT_DIRTY  # the entry still says so, to who asks it


@pytest.mark.parametrize("soft_dirty", [False, True])
def test_other_numbers(new_tank, soft_dirty):
    tank = new_tank(soft_dirty=soft_dirty)
    mm = tank.mm()
    mm.mmap(PAGE, RW, FIXED, addr=AT)
    mm.mmap(PAGE, RW, abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=AT + HUGE)

    def accessed():
        return [pw.Flag.ACCESSED in mm.tables.translate(at).flags for at in (AT, AT + HUGE)]

    for value, expected in (
        (1, [False, False]),
        (2, [False, True]),
        (3, [True, False]),
        (4, [True] * 2),
        (5, [True] * 2),
    ):
        mm.touch(AT, PAGE)
        mm.touch(AT + HUGE, PAGE)
        mm.clear_refs(value)
        assert accessed() == expected, value


@pytest.mark.parametrize(
    ("value", "code"), [(0, errno.EINVAL), (6, errno.EINVAL), (-1, errno.EINVAL), (1 << 31, errno.ERANGE)]
)
def test_numbers_that_are_refused(mm, value, code):
    with pytest.raises(pw.SystemCallError) as caught:
        mm.clear_refs(value)
    assert caught.value.errno == code


def test_by_default_nothing_is(new_tank):
    mm = new_tank().mm()
    mm.mmap(4 * PAGE, RW, FIXED, addr=AT)
    mm.write(AT, b"x")
    assert soft(mm) == []
    mm.clear_refs(4)
    assert pw.Flag.WRITE in mm.tables.translate(AT).flags


def test_a_machine_that_cannot_be():
    with pytest.raises(TypeError, match="soft_dirty is True or False"):
        pw.Machine(1 << 20, soft_dirty=1)
    with pytest.raises(ValueError, match="no soft-dirty pages"):
        pw.Machine(1 << 20, "arm64-4k", soft_dirty=True)
