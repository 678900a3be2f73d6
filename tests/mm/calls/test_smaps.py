"""smaps: shares, private and shared, dirty and clean, what counts nothing, and the sums."""

import pytest

import pagewalk as pw
from pagewalk import abi

PAGE, HUGE = 4096, 2 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
SHARED = abi.MAP_SHARED | abi.MAP_ANONYMOUS


@pytest.fixture
def tank(new_tank):
    return new_tank(hugetlb={HUGE: 2}, swap=1 << 20)


@pytest.fixture
def mm(tank):
    return tank.mm()


def told(mm, row=0):
    """What is not 0, but for the sizes of pages."""
    values = mm.smaps_by_vma()[row].values
    return {name: value for name, value in values.items() if value and name not in ("KernelPageSize", "MMUPageSize")}


def test_every_line_in_the_kernels_order(mm):
    mm.mmap(PAGE, RW)
    (row,) = mm.smaps_by_vma()
    assert list(row.values) == [
        "Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty",
        "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "KSM", "LazyFree", "AnonHugePages",
        "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
        "THPeligible",
    ]  # fmt: skip
    assert row.flags == ("rd", "wr", "mr", "mw", "me", "ac")


def test_the_key_is_told_where_there_are_keys(new_tank):
    mm = new_tank(pku=True).mm()
    mm.mmap(PAGE, abi.PROT_EXEC)
    assert mm.smaps_by_vma()[0].values["ProtectionKey"] == 1


def test_a_page_of_ones_own(mm):
    mm.write(mm.mmap(4 * PAGE, RW), b"x")
    one = dict.fromkeys(["Rss", "Pss", "Pss_Dirty", "Private_Dirty", "Referenced", "Anonymous"], PAGE)
    assert told(mm) == {"Size": 4 * PAGE, **one}


def test_zero_pages_and_guards_count_nothing(mm):
    at = mm.mmap(4 * PAGE, RW)
    mm.read(at, PAGE)
    mm.madvise(at + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
    assert told(mm) == {"Size": 4 * PAGE}
    assert "gu" in mm.smaps_by_vma()[0].flags
    assert mm.smaps()["Guard"] == PAGE


def test_shared_by_a_fork(tank, mm):
    at = mm.mmap(3 * PAGE, RW)
    mm.write(at, bytes(3 * PAGE))
    mm.mlock(at, 3 * PAGE)
    child = tank.fork(mm)
    values = mm.smaps_by_vma()[0].values
    assert (values["Pss"], values["Locked"], values["Shared_Dirty"]) == (3 * PAGE // 2, 3 * PAGE // 2, 3 * PAGE)
    assert "lo" in mm.smaps_by_vma()[0].flags
    assert "lo" not in child.smaps_by_vma()[0].flags
    tank.fork(child)
    assert mm.smaps_by_vma()[0].values["Pss"] == PAGE - 1  # three thirds, each rounded down


def test_a_third_is_summed_up_before_it_is_rounded(tank, mm):
    at = mm.mmap(3 * PAGE, RW)
    mm.touch(at, PAGE)
    for _ in range(2):
        tank.fork(mm)
    assert mm.smaps_by_vma()[0].values["Pss"] == PAGE // 3


def test_a_file_is_dirty_for_all_who_map_it(tank, mm):
    file = tank.file("f", contents=bytes(2 * PAGE))
    left, right = (mm.mmap(2 * PAGE, RW, abi.MAP_SHARED, file=file) for _ in range(2))
    mm.read(left, 2 * PAGE)
    mm.touch(right, PAGE)
    for row in mm.smaps_by_vma():
        assert row.values["Anonymous"] == 0
        assert (
            row.values["Rss"] == row.values["Shared_Dirty"] + row.values["Shared_Clean"] + row.values["Private_Dirty"]
        )


def test_huge_pages(mm):
    at = mm.mmap(HUGE, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=8 * HUGE)
    mm.madvise(at, HUGE, abi.MADV_HUGEPAGE)
    mm.read(at, 1)
    assert told(mm) == {"Size": HUGE, "THPeligible": 1}
    mm.write(at, b"x")
    assert told(mm)["AnonHugePages"] == told(mm)["Rss"] == HUGE
    mm.mprotect(at, PAGE, abi.PROT_READ)
    assert sum(row.values["Rss"] for row in mm.smaps_by_vma()) == HUGE
    assert mm.smaps()["AnonHugePages"] == 0


def test_hugetlb_is_apart(tank, mm):
    at = mm.mmap(2 * HUGE, RW, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB)
    mm.touch(at, HUGE)
    assert told(mm) == {"Size": 2 * HUGE, "Private_Hugetlb": HUGE}
    assert mm.smaps_by_vma()[0].values["KernelPageSize"] == HUGE
    tank.fork(mm)
    assert told(mm) == {"Size": 2 * HUGE, "Shared_Hugetlb": HUGE}


def test_swap(tank, mm):
    at = mm.mmap(2 * PAGE, RW)
    mm.touch(at, 2 * PAGE)
    mm.madvise(at, 2 * PAGE, abi.MADV_PAGEOUT)
    assert told(mm) == {"Size": 2 * PAGE, "Swap": 2 * PAGE, "SwapPss": 2 * PAGE}
    tank.fork(mm)
    assert told(mm) == {"Size": 2 * PAGE, "Swap": 2 * PAGE, "SwapPss": PAGE}


def test_lazily_free(mm):
    at = mm.mmap(2 * PAGE, RW)
    mm.touch(at, 2 * PAGE)
    mm.madvise(at, 2 * PAGE, abi.MADV_FREE)
    mm.write(at, b"x")
    assert (told(mm)["LazyFree"], told(mm)["Private_Dirty"]) == (PAGE, PAGE)


def test_sums(tank, mm):
    mm.touch(mm.mmap(3 * PAGE, RW), 3 * PAGE)
    mm.touch(mm.mmap(PAGE, RW, SHARED), PAGE)
    tank.fork(mm)
    rows, totals = mm.smaps_by_vma(), mm.smaps()
    for name in totals.keys() - {"Guard"}:
        assert totals[name] == sum(row.values[name] for row in rows)


def test_an_ended_process_has_none(tank, mm):
    tank.exit(mm)
    with pytest.raises(pw.SystemCallError, match="ESRCH"):
        mm.smaps_by_vma()
