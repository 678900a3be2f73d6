"""Shared huge pages: whose frames they are, what is left after a split, and when memory is short."""

import errno

import pytest

from pagewalk import abi
from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag
from pagewalk.mm import Machine
from tests.mm.fuzz import failing
from tests.mm.sizes import BLOCK, PAGE

RW = abi.PROT_READ | abi.PROT_WRITE
SHARED, PRIVATE = (kind | abi.MAP_FIXED for kind in (abi.MAP_SHARED, abi.MAP_PRIVATE))
START = 64 * BLOCK
MIB = 1 << 20


@pytest.fixture
def tank(new_tank):
    return new_tank()


@pytest.fixture
def file(tank):
    return tank.file(contents=b"page" * 1024 * 3)


@pytest.fixture
def mm(tank, file):
    mm = tank.mm()
    mm.mmap(BLOCK, RW, SHARED, addr=START, file=file)
    return mm


def is_huge(mm, addr):
    return mm.tables.upper_at(addr).is_leaf


def collapse(mm, addr=START):
    mm.madvise(addr, BLOCK, abi.MADV_COLLAPSE)


def test_the_file_has_a_block_then(tank, file, mm):
    assert tank.machine.usage()["file"] == 3 * PAGE
    collapse(mm)
    assert is_huge(mm, START)
    assert tank.machine.usage()["file"] == BLOCK
    assert len(file.pages) == BLOCK // PAGE
    assert mm.read(START + 2 * PAGE, 8) == b"pagepage"
    assert mm.read(START + 3 * PAGE, 4) == bytes(4)
    tank.check()


def test_no_table_is_set_aside(tank, mm):
    mm.read(START, 1)
    tables = tank.machine.usage()["table"]
    collapse(mm)
    assert tank.machine.usage()["table"] == tables - PAGE
    assert mm.tables.deposits == []


def test_a_cut_empties_the_entry(tank, file, mm):
    tank.machine.truncate(file, BLOCK)
    collapse(mm)
    mm.write(START + 350 * PAGE, b"x")
    mm.mprotect(START + 8 * PAGE, PAGE, abi.PROT_READ)
    assert mm.tables.upper_at(START).is_none
    assert mm.read(START + 350 * PAGE, 1) == b"x"
    tank.check()


def test_the_walk_finds_nothing_below_what_it_splits(tank, mm):
    """``split_huge_pmd`` of a file's page: the walk looks again, at an empty entry."""
    from pagewalk.walk import WalkOps, walk_page_range

    collapse(mm)
    holes, pages = [], []
    ops = WalkOps(
        pte_entry=lambda entry, addr, next_, walk: pages.append(addr),
        pte_hole=lambda addr, next_, depth, walk: holes.append((addr, next_)),
    )
    with mm.reading():
        walk_page_range(mm, START, START + BLOCK, ops)
    assert (holes, pages) == ([(START, START + BLOCK)], [])
    tank.check()


def test_what_is_beyond_the_end_goes_with_a_split(tank, file, mm):
    collapse(mm)
    mm.madvise(START + PAGE, PAGE, abi.MADV_COLD)
    assert sorted(file.pages) == [0, 1, 2]
    assert tank.machine.usage()["file"] == 3 * PAGE
    tank.check()


def test_a_hole_leaves_halves(tank, file, mm):
    tank.machine.truncate(file, BLOCK)
    collapse(mm)
    tank.machine.punch_hole(file, 100 * PAGE, 3 * PAGE)
    assert not set(range(100, 103)) & file.pages.keys()
    assert [len(file.folios.of(index)) for index in (0, 64, 96, 103, 104, 128, 256)] == [64, 32, 4, 1, 8, 128, 256]
    tank.check()


def test_a_private_write_copies_one_page(tank, file, mm):
    collapse(mm)
    mm.mmap(BLOCK, RW, PRIVATE, addr=START + BLOCK, file=file)
    mm.read(START + BLOCK, 1)
    assert is_huge(mm, START + BLOCK)
    mm.write(START + BLOCK, b"x")
    assert tank.machine.usage()["anon"] == PAGE
    assert mm.read(START, 1) == b"p"
    tank.check()


def test_a_fork_leaves_it_to_faults(tank, mm):
    collapse(mm)
    child = tank.fork(mm)
    assert child.tables.upper_at(START) is None or child.tables.upper_at(START).is_none
    child.write(START, b"x")
    assert is_huge(child, START)
    assert mm.read(START, 1) == b"x"
    tank.check()


def test_without_a_block_of_memory(tank, mm):
    mm.read(START, 1)
    with failing(tank.machine, lambda: True), pytest.raises(SystemCallError) as caught:
        collapse(mm)
    assert caught.value.errno == errno.ENOMEM
    assert mm.read(START, 4) == b"page"
    tank.check()


def test_all_of_it_comes_back(tank, file, mm):
    collapse(mm)
    tank.exit(mm)
    assert tank.machine.usage()["file"] == BLOCK
    tank.machine.truncate(file, 0)
    assert tank.machine.usage()["file"] == 0


def test_shared_memory_goes_with_its_last_mapping(new_tank):
    tank = new_tank()
    mm = tank.mm()
    mm.mmap(BLOCK, RW, SHARED | abi.MAP_ANONYMOUS, addr=START)
    mm.write(START, b"x")
    collapse(mm)
    mm.munmap(START, BLOCK)
    assert tank.machine.usage()["file"] == 0
    tank.check()


@pytest.mark.parametrize(
    ("policy", "advised", "huge"),
    [("never", True, False), ("advise", False, False), ("advise", True, True), ("always", False, True),
     ("within_size", False, True), ("force", False, True), ("deny", True, False)],
)  # fmt: skip
def test_by_policy(new_tank, policy, advised, huge):
    tank = new_tank(shmem_thp=policy)
    mm = tank.mm()
    mm.mmap(BLOCK, RW, SHARED | abi.MAP_ANONYMOUS, addr=START)
    mm.madvise(START, BLOCK, abi.MADV_HUGEPAGE if advised else abi.MADV_NORMAL)
    mm.read(START + PAGE, 1)
    assert is_huge(mm, START) is huge
    assert Flag.WRITE in mm.tables.translate(START + PAGE).flags
    assert tank.machine.usage()["file"] == (BLOCK if huge else PAGE)
    tank.check()


def test_deny_is_for_collapse_too():
    mm = Machine(16 * MIB, shmem_thp="deny").mm()
    mm.mmap(BLOCK, RW, SHARED | abi.MAP_ANONYMOUS, addr=START)
    mm.write(START, b"x")
    with pytest.raises(SystemCallError) as caught:
        collapse(mm)
    assert caught.value.errno == errno.EINVAL


def test_a_mount_has_a_policy_of_its_own():
    machine = Machine(16 * MIB)
    file = machine.file(contents=b"x", huge="always")
    assert machine.usage()["file"] == BLOCK
    mm = machine.mm()
    mm.mmap(BLOCK, RW, SHARED, addr=START, file=file)
    mm.write(START, b"y")
    assert is_huge(mm, START)


def test_what_is_no_policy():
    with pytest.raises(ValueError, match="shmem_thp"):
        Machine(16 * MIB, shmem_thp="sometimes")
    with pytest.raises(ValueError, match="huge"):
        Machine(16 * MIB).file(huge="deny")
