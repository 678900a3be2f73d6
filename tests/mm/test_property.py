"""Nothing is lost: after any sequence that ends in exit, the machine's RAM is used as it was before.

The sequences are those that the comparison with the running kernel takes; here memory fails on the way as well.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk import abi
from pagewalk.conform.scenarios.generate import generate
from pagewalk.errors import OutOfFrames, PagewalkError
from pagewalk.mm import Machine
from tests.conformance.strategy import scenarios
from tests.mm.fuzz import Tank, counted, failing, play

pytestmark = pytest.mark.slow

MIB = 1 << 20
BASE = 1 << 32
PAGE, HUGE = 4096, 2 * MIB
RW = abi.PROT_READ | abi.PROT_WRITE
POLICIES = ("always", "madvise", "never")


def new_tank(thp):
    return Tank(Machine(64 * MIB, thp=thp, swap=4 * MIB))


@settings(max_examples=60, deadline=None)
@given(scenarios(), st.sampled_from(POLICIES), st.sets(st.integers(1, 300), max_size=8))
def test_any_sequence(scenario, thp, fail_at):
    tank = new_tank(thp)
    play(tank, scenario, refuse=counted(fail_at))
    tank.check()
    tank.empty()


@pytest.mark.parametrize("seed", range(24))
def test_the_books_balance_after_every_step(seed):
    """References are the entries that map a frame, one more for the page cache; no frame is both free and mapped."""
    tank = new_tank(POLICIES[seed % 3])
    play(tank, generate(seed), after_step=tank.check)
    tank.empty()


@pytest.mark.parametrize("seed", range(100, 124))
def test_they_balance_with_every_tenth_allocation_failing(seed):
    tank = new_tank(POLICIES[seed % 3])
    play(tank, generate(seed), after_step=tank.check, refuse=counted(range(seed % 10 + 1, 1 << 16, 10)))
    tank.empty()


@pytest.mark.parametrize("seed", range(200, 216))
def test_in_a_machine_that_is_too_small(seed):
    """Here no failure is planted: the memory is really used up, large folios are broken up for want of frames."""
    tank = Tank(Machine(8 * MIB, thp=POLICIES[seed % 3], swap=MIB))
    play(tank, generate(seed, steps=60), after_step=tank.check)
    tank.empty()


class Pool:
    """A few hugetlb mappings under random use."""

    def __init__(self, tank):
        self.tank = tank
        tank.mm()

    def act(self, call, who, where, size, shared):
        mm = self.tank.mms[who % len(self.tank.mms)]
        addr = BASE + where * HUGE
        match call:
            case "mmap":
                kind = abi.MAP_SHARED if shared else abi.MAP_PRIVATE
                mm.mmap(size * HUGE, RW, kind | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB | abi.MAP_FIXED, addr=addr)
            case "munmap":
                mm.munmap(addr, size * HUGE)
            case "write":
                mm.write(addr, b"hugetlb")
            case "read":
                mm.read(addr, 8)
            case "dontneed":
                mm.madvise(addr, size * HUGE, abi.MADV_DONTNEED)
            case "mprotect":
                mm.mprotect(addr, size * HUGE, abi.PROT_READ if shared else RW)
            case "move":
                flags = abi.MREMAP_MAYMOVE | abi.MREMAP_FIXED
                mm.mremap(addr, size * HUGE, size * HUGE, flags, BASE + (where + 3) % 6 * HUGE)
            case "fork" if len(self.tank.mms) < 3:
                self.tank.fork(mm)
            case "exit" if len(self.tank.mms) > 1:
                self.tank.exit(mm)


CALLS = ("mmap", "munmap", "write", "write", "read", "dontneed", "mprotect", "move", "fork", "exit")
ACTS = st.tuples(
    st.sampled_from(CALLS), st.integers(0, 2), st.integers(0, 2), st.integers(1, 3), st.booleans()
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS, min_size=5, max_size=25), st.sets(st.integers(1, 60), max_size=4))
def test_any_use_of_hugetlb(acts, fail_at):
    tank = Tank(Machine(32 * MIB, hugetlb={HUGE: 4}))
    pool = Pool(tank)
    with failing(tank.machine, counted(fail_at)):
        for act in [("mmap", 0, 0, 3, acts[0][4]), *acts]:
            try:
                pool.act(*act)
            except (PagewalkError, OutOfFrames):
                continue
            tank.check()
            promised, there = tank.machine.promised(HUGE), len(tank.machine.hugetlb[HUGE])
            assert -len(tank.machine.restoring) <= promised <= there
    tank.empty()
    assert len(tank.machine.hugetlb[HUGE]) == 4
